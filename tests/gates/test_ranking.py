import numpy as np
import pytest
from msgspec import structs

from rnneval import compare
from tests.gates.synthetic import SIGNATURE, ar_losses, make_run

LOSSES = ar_losses(128, seed=1)
RNG = np.random.default_rng(0)
MIDDLE = make_run(LOSSES, checkpoint="middle")
BEST = make_run(LOSSES - 0.05 + 0.01 * RNG.normal(size=128), checkpoint="best")
WORST = make_run(LOSSES + 0.05 + 0.01 * RNG.normal(size=128), checkpoint="worst")


def test_runs_are_sorted_best_first_with_the_paired_difference_to_the_best():
    ranking = compare([MIDDLE, WORST, BEST])
    assert [row.name for row in ranking.rows] == ["best", "middle", "worst"]
    assert ranking.rows[0].difference == 0.0
    nats = [np.array(run.blocks.sums["nats"]) for run in (BEST, WORST)]
    tokens = np.array(BEST.blocks.tokens)
    assert ranking.rows[2].difference == pytest.approx((nats[1] - nats[0]).sum() / tokens.sum())
    assert ranking.rows[2].parameters == 1000
    assert ranking.rows[2].tokens_per_second == 1000.0


@pytest.mark.parametrize(
    ("changes", "mark"),
    [
        ({"content": "another"}, "not comparable: text.sha256"),
        ({"valid": False}, "not valid"),
        ({"signature": SIGNATURE.replace("carry", "reset-100")}, "not comparable: signature.state"),
        ({"valid": False, "wiring": {"verdict": "fail", "reason": "crossed", "findings": []}}, "not valid: crossed"),
    ],
)
def test_what_is_wrong_with_a_run_is_marked(changes, mark):
    odd = make_run(LOSSES - 1, checkpoint="odd", **changes)
    ranking = compare([MIDDLE, odd, BEST])
    (row,) = [row for row in ranking.rows if row.name == "odd"]
    assert row.marks[0].startswith(mark)
    assert ranking.rows[-1].name == "odd"
    assert row.difference is None


def test_other_tokens_are_compared_by_bits():
    halves = make_run(LOSSES * 2, tokens=[128] * 128, signature=SIGNATURE.replace("char", "word"), checkpoint="words")
    ranking = compare([MIDDLE, halves])
    assert ranking.metric == "bits_per_char"
    assert all(row.difference is not None for row in ranking.rows)


def test_the_blocks_with_the_largest_change_are_named_largest_first():
    changed = LOSSES.copy()
    changed[[5, 77]] += [3.0, -5.0]
    ranking = compare([MIDDLE, make_run(changed, checkpoint="changed")])
    assert [(block.start, block.end) for block in ranking.blocks] == [(77 * 256, 78 * 256), (5 * 256, 6 * 256)]
    assert ranking.blocks[0].nats == pytest.approx(-5 * 256)


def test_a_step_function_has_no_number_of_parameters():
    step = structs.replace(WORST, checkpoint=structs.replace(WORST.checkpoint, format="step", parameters=0))
    assert [row.parameters for row in compare([MIDDLE, step]).rows] == [1000, None]
