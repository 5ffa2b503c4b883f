"""Norms of states and gradients, against numbers by hand and an independent loop."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rnneval.metrics import gradient_norms, state_norms

NUMBERS = st.floats(-1e3, 1e3, width=32)
STATES = arrays.arrays(np.float32, arrays.array_shapes(min_dims=2, max_dims=3, max_side=5), elements=NUMBERS)


def slow_norm(numbers) -> float:
    return math.sqrt(math.fsum(float(number) ** 2 for number in np.ravel(numbers)))


@pytest.mark.parametrize(
    ("states", "norms"),
    [
        ([[3.0, 4.0], [0.0, 0.0]], [5.0, 0.0]),
        ([[[1.0, 2.0, 2.0]], [[2.0, 3.0, 6.0]]], [[3.0], [7.0]]),
        ([[3, 4]], [5.0]),
        (np.array([[300.0, 400.0]], np.float16), [500.0]),  # its square, 250,000, is no float16
    ],
)
def test_state_norms_by_hand(states, norms):
    found = state_norms(states)
    assert found.dtype == np.float64
    assert found.tolist() == norms


@given(STATES)
def test_state_norms_equal_a_loop(states):
    found = state_norms(states)
    assert found.shape == states.shape[:-1]
    for place in np.ndindex(found.shape):
        assert found[place] == pytest.approx(slow_norm(states[place]), rel=1e-5, abs=1e-20)


@pytest.mark.parametrize("nothing", [[], np.zeros((0, 4)), np.zeros((3, 0)), 1.0])
def test_no_states_raise(nothing):
    with pytest.raises(ValueError, match="must have the shape"):
        state_norms(nothing)


def test_gradient_norms_by_hand():
    # Two layers: 3 and 4 make 5; with the 12 of the other, 13.
    norms = gradient_norms({"a[1].gru.kernel": [[3.0]], "a[1].gru.bias": [4.0], "d/e/kernel": [0.0, 12.0], "s": [0.0]})
    assert norms.variables == {"a[1].gru.kernel": 3.0, "a[1].gru.bias": 4.0, "d/e/kernel": 12.0, "s": 0.0}
    assert norms.layers == {"a[1].gru": 5.0, "d/e": 12.0}
    assert gradient_norms(each for each in ([3.0], None, [4.0])).variables == {"0": 3.0, "1": 0.0, "2": 4.0}
    with pytest.raises(ValueError, match="there is no gradient"):
        gradient_norms([])
    assert norms.total == 13.0


@given(st.lists(arrays.arrays(np.float32, arrays.array_shapes(max_dims=3, max_side=4), elements=NUMBERS), min_size=1))
def test_the_total_is_the_norm_of_all_numbers(gradients):
    norms = gradient_norms(gradients)
    assert norms.total == pytest.approx(slow_norm(np.concatenate([each.ravel() for each in gradients])), rel=1e-12)
    assert list(norms.variables.values()) == pytest.approx([slow_norm(each) for each in gradients], rel=1e-12)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_is_seen_in_all_its_norms(bad):
    norms = gradient_norms({"gru.kernel": [1.0, bad], "gru.bias": [1.0], "dense.kernel": [1.0]})
    assert not any(map(math.isfinite, (norms.variables["gru.kernel"], norms.layers["gru"], norms.total)))
    assert norms.layers["dense"] == 1.0
