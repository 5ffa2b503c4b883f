import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnneval.metrics.baselines import nats_per_token

TEXTS = st.text("abcd", min_size=1, max_size=50)


def counts(text: str) -> np.ndarray:
    return np.array([text.count(character) for character in "abcd"])


def slow_unigram(scored: str, fit: str) -> float:
    """Token by token, with probabilities and not logarithms of counts."""
    seen = Counter(fit)
    return math.fsum(-math.log((seen[token] + 1) / (len(fit) + 4)) for token in scored) / len(scored)


def test_it_learns_from_the_fitted_text_and_not_from_the_scored_one():
    found = [nats_per_token(np.array([4, 0]), np.array(fit))["unigram"] for fit in ([0, 8], [4, 0])]
    assert found == [pytest.approx(math.log(10), rel=1e-14), pytest.approx(math.log(6 / 5), rel=1e-14)]


@given(TEXTS, TEXTS)
def test_both_equal_a_loop_over_the_text(scored, fit):
    found = nats_per_token(counts(scored), counts(fit))
    assert found["unigram"] == pytest.approx(slow_unigram(scored, fit), rel=1e-12)
    assert found["uniform"] == pytest.approx(math.log(4), rel=1e-15)
