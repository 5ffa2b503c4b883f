import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnneval.metrics import UnavailableError
from rnneval.metrics.calibration_error import BINS, COUNTS, METRIC, NAMES, bin_of


def slow_ece(confidences: list[float], correct: list[bool]) -> float:
    """Guo et al. 2017, equation 3, bin by bin as it is printed."""
    total = 0.0
    for m in range(1, 16):
        inside = [i for i, c in enumerate(confidences) if (m - 1) / 15 < c <= m / 15]
        if inside:
            acc = sum(correct[i] for i in inside) / len(inside)
            conf = sum(confidences[i] for i in inside) / len(inside)
            total += len(inside) / len(confidences) * abs(acc - conf)
    return total


def test_by_hand(scored, added_up):
    # Two bins: (0.73, 0.8] holds 0.75 twice with one right, gap 0.25; (0.2, 0.27] holds 0.25 twice, wrong, gap 0.25.
    text = scored([1.0] * 4, confidence=[0.75, 0.75, 0.25, 0.25], rank=[0, 1, 1, 1])
    assert METRIC.finish(added_up(text)) == 0.25


def test_over_and_under_confidence_cancel_within_a_bin_and_not_between_bins(scored, added_up):
    same_bin = scored([1.0] * 2, confidence=[0.5, 0.5], rank=[0, 1])
    assert METRIC.finish(added_up(same_bin)) == 0.0
    two_bins = scored([1.0] * 2, confidence=[0.25, 0.75], rank=[0, 1])
    assert METRIC.finish(added_up(two_bins)) == 0.75


def test_bins_weigh_by_their_tokens(scored, added_up):
    # Nine tokens without a gap, one with 0.5: 0.05. Bins weighed alike (ACE) would give 0.25.
    text = scored([1.0] * 10, confidence=[1.0] * 9 + [0.5], rank=[0] * 10)
    assert METRIC.finish(added_up(text)) == pytest.approx(0.05, rel=1e-14)


def test_there_are_fifteen_bins_and_not_ten(scored, added_up):
    # 0.61 and 0.69 share one of ten bins (gaps cancel: 0.04) and lie apart in fifteen, whose edge is 10/15.
    text = scored([1.0] * 2, confidence=[0.61, 0.69], rank=[0, 1])
    assert METRIC.finish(added_up(text)) == pytest.approx((0.39 + 0.69) / 2, rel=1e-14)


def test_bins_are_closed_on_the_right():
    edges = np.arange(1, BINS + 1) / BINS
    assert bin_of(edges).tolist() == list(range(15))
    assert bin_of(np.nextafter(edges[:-1], 1)).tolist() == list(range(1, 15))


def test_rounding_beyond_the_ends_stays_in_the_outer_bins():
    assert bin_of(np.array([-1e-9, 0.0, 1.0, 1.0000001])).tolist() == [0, 0, 14, 14]


def test_each_token_is_in_one_bin(scored):
    terms = METRIC.tally(scored([1.0] * 3, confidence=[0.05, 0.5, 0.95], rank=[1, 1, 1]))
    assert tuple(terms) == NAMES + COUNTS
    assert tuple(f"calibration_gap_{index:02}" for index in range(15)) == NAMES
    assert tuple(f"calibration_count_{index:02}" for index in range(15)) == COUNTS
    gaps, counts = np.array([terms[name] for name in NAMES]), np.array([terms[name] for name in COUNTS])
    assert np.argwhere(gaps.T).tolist() == np.argwhere(counts.T).tolist() == [[0, 0], [1, 7], [2, 14]]
    assert counts.max(axis=0).tolist() == [1, 1, 1]


@given(st.lists(st.tuples(st.floats(0.001, 1), st.booleans()), min_size=1, max_size=40))
def test_equals_the_printed_formula(scored, added_up, drawn):
    confidences = [confidence for confidence, _ in drawn]
    correct = [right for _, right in drawn]
    text = scored([1.0] * len(drawn), confidence=confidences, rank=[0 if right else 1 for right in correct])
    assert METRIC.finish(added_up(text)) == pytest.approx(slow_ece(confidences, correct), abs=1e-12)


@pytest.mark.parametrize("confidence", [math.nan, math.inf])
def test_a_confidence_that_is_not_finite_has_no_value(scored, added_up, confidence):
    with pytest.raises(UnavailableError, match="not finite"):
        METRIC.finish(added_up(scored([1.0, 1.0], confidence=[confidence, 0.5])))


def test_nothing_scored_raises(totals):
    with pytest.raises(UnavailableError, match="no token was scored"):
        METRIC.finish(totals(tokens=0, **dict.fromkeys(NAMES, 0.0)))
