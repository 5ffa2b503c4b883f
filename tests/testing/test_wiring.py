"""`assert_state_wiring` in a test suite: silent, or the findings."""

import pytest

from rnneval.models.step import from_step
from rnneval.testing import assert_state_wiring
from tests.models.step.models import LinearAttention, V
from tests.wiring.corpus import right_cells


def attention(**options):
    model = LinearAttention(**options)
    return from_step(model.step, model.initial_state, vocab_size=V)


def test_a_right_model_passes():
    assert_state_wiring(attention())


def test_a_wrong_model_fails_with_its_finding():
    with pytest.raises(AssertionError) as failure:
        assert_state_wiring(attention(fault="leak"))
    text = str(failure.value)
    assert "state wiring of " in text
    assert "error future-leak" in text


def test_no_verdict_fails_unless_it_is_allowed():
    model = right_cells.ByHand()
    with pytest.raises(AssertionError, match="inconclusive"):
        assert_state_wiring(model)
    assert_state_wiring(model, allow_inconclusive=True)
