"""Damaged checkpoints of every format: refused in one line, or another whole model; nothing runs, hangs or crashes."""

from collections import Counter

import pytest

from tests.damage.checkpoints import subjects
from tests.damage.opening import FINE, opener

SEEDS = [range(4), pytest.param(range(4, 25), marks=pytest.mark.grid)]
"""Of eight formats: 32, and 200 with the grid."""
NAMES = (
    "keras", "keras h5", "weights h5", "keras 2 h5", "keras 2 weights",
    "tf checkpoint", "saved model", "tf1 checkpoint",
)  # fmt: skip


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    with opener(folder) as made:
        yield made, folder


def test_every_format_is_there(worker):
    assert tuple(subjects(worker[1])) == NAMES


@pytest.mark.parametrize("seeds", SEEDS, ids="{0.start}-{0.stop}".format)
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_checkpoint_is_refused_or_another_whole_model(worker, name, seeds):
    opening, folder = worker
    subject = subjects(folder)[name]
    files = subject.files(folder)
    found = [opening.outcome(subject, files, seed) for seed in seeds]
    faults = [outcome for outcome in found if outcome.outcome not in FINE]
    assert not faults, "\n\n".join(f"{fault}\n{fault.trace}" for fault in faults)
    assert Counter(outcome.outcome for outcome in found)["refused"] >= len(seeds) // 4
