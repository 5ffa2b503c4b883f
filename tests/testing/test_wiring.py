"""`assert_state_wiring` in a test suite: silent, or the matrix and the findings."""

import pytest

from rnneval.models.step import from_step
from rnneval.testing import assert_state_wiring
from tests.models.step.models import LinearAttention, V
from tests.wiring.corpus import origin, right_cells


def test_a_right_model_passes():
    model = LinearAttention()
    assert_state_wiring(from_step(model.step, model.initial_state, vocab_size=V))


def test_a_wrong_model_fails_with_matrix_and_finding():
    with pytest.raises(AssertionError) as failure:
        assert_state_wiring(origin.question())
    text = str(failure.value)
    assert "state wiring of QuestionModel" in text
    assert "into ↓   from →" in text
    assert "✗ 0–3" in text
    assert "error shared-state" in text


def test_no_verdict_fails_unless_it_is_allowed():
    with pytest.raises(AssertionError, match="inconclusive"):
        assert_state_wiring(right_cells.ByHand())
    assert_state_wiring(right_cells.ByHand(), allow_inconclusive=True)
