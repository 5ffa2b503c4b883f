"""When two runs of a row count as one: boundaries made up by hand."""

import numpy as np
import pytest

from rnneval.evaluate.stitch import Agreement, Boundaries, loss_difference, scaled_difference, segments_to_go
from rnneval.models.protocol import Predicted


def predicted(nats):
    nats = np.atleast_1d(np.float32(nats))
    return Predicted(nats, np.zeros_like(nats), np.zeros(len(nats), np.int32))


def looked(*differences: float, tolerance: float = 1e-5, loss: float = 0.0) -> list[bool]:
    """Whether the row had settled after each boundary, for states that differ by so much."""
    agreement, settled = Agreement(tolerance=tolerance), []
    for difference in differences:
        agreement.compare(np.array([difference]), np.zeros(1), predicted(1.0 + loss), predicted(1.0))
        settled.append(agreement.settled)
    return settled


def test_two_boundaries_in_a_row_settle():
    assert looked(1e-2, 1e-6, 1e-7) == [False, False, True]
    assert looked(1e-6, 1e-2, 1e-6) == [False, False, False]


def test_a_difference_that_grows_within_the_tolerance_does_not_settle():
    assert looked(4e-6, 9e-6) == [False, False]
    assert looked(1e-8, 2e-8) == [False, True]  # the noise of float32 is not growth


def test_forgetting_goes_by_the_state_alone():
    agreement = Agreement(tolerance=1e-5)
    for tokens, difference, loss in ((16, 1e-6, 0), (32, 1e-2, 0), (48, 1e-6, 1e-3), (64, 1e-7, 0), (80, 1e-7, 0)):
        agreement.compare(np.array([difference]), np.zeros(1), predicted(1.0 + loss), predicted(1.0), tokens)
    assert (agreement.settled, agreement.met) == (True, 48)


def test_losses_must_agree_too():
    assert looked(1e-7, 1e-7, loss=1e-3) == [False, False]


def test_three_growing_boundaries_are_hopeless():
    agreement = Agreement(tolerance=1e-5)
    for difference in (0.1, 0.2, 0.3, 0.4):
        agreement.compare(np.array([difference]), np.zeros(1), predicted(1.0), predicted(1.0))
    assert agreement.hopeless


def test_tolerance_zero_wants_equality():
    assert looked(0.0, 0.0, tolerance=0) == [False, True]
    assert looked(1e-9, 1e-9, tolerance=0) == [False, False]
    assert looked(0.0, 0.0, tolerance=0, loss=1e-6) == [False, False]


def test_differences_are_in_units_of_the_state():
    assert scaled_difference(np.array([100.0, 0.0]), np.array([99.0, 0.5])) == pytest.approx(0.5 / 1.5)
    assert scaled_difference(np.array([np.nan]), np.array([0.0])) == np.inf


@pytest.mark.parametrize(
    ("differences", "tolerance", "segments"),
    [
        ({}, 1e-5, 0),
        ({1: 0.1, 2: 0.5}, 1e-5, np.inf),
        ({1: 0.1, 2: 0.0}, 1e-5, 0),
        ({4: 1e-2, 8: 1e-3}, 1e-5, 8),
        ({1: 1.0, 4: 1e-2, 8: 1e-3}, 1e-5, 8),  # the first half says nothing of slow units
        ({4: 1e-2, 8: 1e-3}, 0, 16),
        ({4: 1e-2, 8: 1e-6}, 1e-5, 0),
    ],
)
def test_segments_to_go(differences, tolerance, segments):
    assert segments_to_go(differences, tolerance) == pytest.approx(segments)


def test_what_is_lost_in_both_runs_agrees():
    assert scaled_difference(np.array([np.nan, 1.0]), np.array([np.inf, 1.0])) == 0
    assert loss_difference(predicted([np.nan, 1.0]), predicted([np.nan, 1.5])) == 0.5
    assert loss_difference(predicted(np.nan), predicted(1.0)) == np.inf


def test_boundaries_keep_the_first_ones_and_pairs_beyond_them():
    large = np.zeros(4)
    kept = Boundaries([7], large, weight=2**30)
    for boundary in range(1, 40):
        kept.put(7, boundary, large + boundary)
    assert [b for b in range(1, 40) if kept.get(7, b) is not None] == [*range(1, 10), 12, 13, 16, 17, 24, 25, 32, 33]
    assert (kept.get(7, 33) == 33).all()
    assert kept.get(8, 1) is None


def test_what_is_kept_is_a_copy():
    state = np.array([1.0])
    kept = Boundaries([0], state)
    kept.put(0, 1, state)
    state[0] = 2
    before = kept.get(0, 1)
    kept.put(0, 1, state)
    assert (before, kept.get(0, 1)) == ([1.0], [2.0])


def test_a_group_of_segments_begins_at_the_last_boundary_that_is_kept():
    large = np.zeros(4)
    kept = Boundaries([0], large, weight=2**30)
    for boundary in range(1, 70):
        kept.put(0, boundary, large)
    for boundary in range(1, 70):
        held = [b for b in range(1, boundary) if kept.get(0, b) is not None]
        assert kept.group_of(boundary) == max(held, default=0)
