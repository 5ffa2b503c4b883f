"""The measure of the wiring check, on numbers whose differences are known by hand."""

import numpy as np
import pytest

from rnneval.wiring.difference import EPSILON, Limits, as_logits, context_spread, differences

CONTEXT = np.array([[[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0]]])  # two positions: ids 0 and 1 move by ± 1, id 2 stays


@pytest.mark.parametrize("constant", [0.0, -100.0, -1e9, -np.inf])
@pytest.mark.parametrize("masked", [[False, False, True], [True, False, True]])
def test_a_constant_of_an_id_changes_no_spread_and_no_difference(constant, masked):
    mask = np.where(masked, constant, 0.0)
    wanted = 2.0  # by 1 to each side, also where one id alone is left
    assert context_spread(CONTEXT + mask) == pytest.approx(wanted)
    seen = CONTEXT.copy()
    seen[0, 1, 1] += 0.5
    assert differences(CONTEXT + mask, seen + mask, 2.0)[0] == pytest.approx([0.0, 0.25])


def test_a_probability_counts_as_its_logarithm():
    odds = np.exp(CONTEXT) / np.exp(CONTEXT).sum(axis=-1, keepdims=True)
    assert context_spread(*as_logits([odds])) == pytest.approx(context_spread(CONTEXT))
    assert np.isfinite(as_logits([np.array([[[1.0, 0.0]]])])).all()


def test_rounding_of_a_large_logit_is_no_difference():
    a = CONTEXT + np.array([0, 0, 1e9])
    b = a + np.array([0, 0, 3 * EPSILON * 1e9])
    assert differences(a, b, 2.0).max() == 0
    assert differences(a, b + np.array([0, 0, 2 * EPSILON * 1e9]), 2.0).min() > 100


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_differs_infinitely(broken):
    seen = CONTEXT.copy()
    seen[0, 1, 2] = broken
    assert differences(CONTEXT, seen, 2.0).tolist() == [[0.0, np.inf]]
    assert differences(CONTEXT, CONTEXT[:, :1], 2.0).tolist() == [[np.inf]]


@pytest.mark.parametrize(("noise", "tolerance", "judged"), [(0, 1e-5, True), (5e-5, 5e-4, True), (2e-4, 2e-3, False)])
def test_the_tolerance_is_ten_times_the_noise_and_much_noise_hides_faults(noise, tolerance, judged):
    limits = Limits.of_noise(noise)
    assert (limits.tolerance, limits.judged) == (pytest.approx(tolerance), judged)
