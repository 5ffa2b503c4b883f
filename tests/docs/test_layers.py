"""The study of depth: its page has the tables that its record gives, and its intervals are those of the gate."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from rnneval.gates.limits import allowances
from rnneval.gates.noninferiority import assess
from rnneval.gates.sides import Paired

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benchmarks"))

import layers_page  # noqa: E402 - found by the line above

RECORD = json.loads(layers_page.RECORD.read_text(encoding="utf-8"))


@pytest.mark.parametrize("table", [layers_page.losses, layers_page.differences, layers_page.wrong_stack])
def test_the_page_has_the_tables_that_the_record_gives(table):
    assert table(RECORD) in (ROOT / "docs" / "evidence" / "layers.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("pair", layers_page.COMPARISONS)
def test_a_comparison_is_that_of_the_gate(pair):
    units = np.array(RECORD["blocks"]["tokens"], dtype=np.float64)
    ends = np.array(RECORD["blocks"]["bytes"], dtype=np.int64)
    document = np.zeros(units.size, dtype=np.intp)
    baseline, candidate = (
        np.array([[*[units] * 4, run["nats"]] for run in layers_page.of_arm(RECORD, arm)]) for arm in pair
    )
    sides = Paired(
        baseline=baseline,
        candidate=candidate,
        sum_names=("nats",),
        lossless=True,
        units=units,
        document=document,
        start=np.concatenate([[0], ends[:-1]]),
        end=ends,
        block_bytes=256,
        left_out=0.0,
    )
    (perplexity,) = allowances({"perplexity": "0%"})
    tested = assess(perplexity, sides)
    answer = layers_page.answer(RECORD, *pair)
    assert answer.difference == pytest.approx(tested.value, abs=1e-12)
    assert (answer.se_text, answer.se_seeds) == pytest.approx((tested.se_text, tested.se_runs), rel=1e-6)
    assert answer.df == pytest.approx(tested.df, rel=1e-6)
