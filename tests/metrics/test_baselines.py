import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnneval.metrics import UnavailableError, baselines
from rnneval.metrics.baselines import all_baselines, nats_per_token
from rnneval.pages import page

TEXTS = st.text("abcd", min_size=1, max_size=50)


def counts(text: str) -> np.ndarray:
    return np.array([text.count(character) for character in "abcd"])


def slow_unigram(scored: str, fit: str) -> float:
    """Token by token, with probabilities and not logarithms of counts."""
    seen = Counter(fit)
    return math.fsum(-math.log((seen[token] + 1) / (len(fit) + 4)) for token in scored) / len(scored)


def test_the_files_of_the_folder_are_the_baselines():
    files = sorted(Path(baselines.__file__).parent.glob("[!_]*.py"), key=lambda file: file.stem)
    assert (
        [baseline.name for baseline in all_baselines()]
        == [file.stem for file in files if file.stem != "ngram"]  # a page and functions
        == sorted({"uniform", "unigram"})
    )
    for file in files:
        text = page(file.stem).text
        assert "## Formula" in text
        assert "## References" in text
        assert "**Unit:** nats a token" in text


def test_guessing_among_65_characters():
    # Known of tinyshakespeare: 4.174 nats.
    assert nats_per_token(np.ones(65, dtype=np.int64)) == {"uniform": pytest.approx(math.log(65), rel=1e-15)}


def test_without_a_text_to_learn_from_there_is_no_unigram():
    assert set(nats_per_token(np.array([1, 1]))) == {"uniform"}
    assert set(nats_per_token(np.array([1, 1]), np.array([1, 0]))) == {"uniform", "unigram"}


def test_unigram_by_hand():
    # Fit on aa of {a, b}: p = 3/4, 1/4. Score aaab: (3 ln 4/3 + ln 4) / 4.
    expected = (3 * math.log(4 / 3) + math.log(4)) / 4
    assert nats_per_token(np.array([3, 1]), np.array([2, 0]))["unigram"] == pytest.approx(expected, rel=1e-14)


def test_without_adding_one_an_unseen_token_would_cost_infinitely_much():
    assert math.isfinite(nats_per_token(np.array([0, 1]), np.array([10**9, 0]))["unigram"])


def test_it_learns_from_the_fitted_text_and_not_from_the_scored_one():
    fitted_on_others = nats_per_token(np.array([4, 0]), np.array([0, 8]))["unigram"]
    fitted_on_itself = nats_per_token(np.array([4, 0]), np.array([4, 0]))["unigram"]
    assert fitted_on_others == pytest.approx(math.log(10), rel=1e-14)
    assert fitted_on_itself == pytest.approx(math.log(6 / 5), rel=1e-14)


@given(TEXTS, TEXTS)
def test_unigram_equals_a_loop_over_the_text(scored, fit):
    found = nats_per_token(counts(scored), counts(fit))
    assert found["unigram"] == pytest.approx(slow_unigram(scored, fit), rel=1e-12)
    assert found["uniform"] == pytest.approx(math.log(4), rel=1e-15)


@given(st.integers(1, 50))
def test_a_flat_text_makes_the_unigram_guess(times):
    found = nats_per_token(np.array([3, 0, 1, 9]), np.full(4, times))
    assert found["unigram"] == pytest.approx(found["uniform"], rel=1e-12)


def test_nothing_scored_or_nothing_to_learn_from_raises():
    with pytest.raises(UnavailableError, match="no token was scored"):
        nats_per_token(np.zeros(3, dtype=np.int64))
    with pytest.raises(UnavailableError, match="no text to learn"):
        nats_per_token(np.array([1, 2]), np.array([0, 0]))


@pytest.mark.parametrize("fit", [np.array([1, 2, 3]), np.array([[1, 2]]), np.array([3, -1])])
def test_counts_that_no_text_has_are_refused(fit):
    with pytest.raises(ValueError, match=r"one shape \(V,\)"):
        nats_per_token(np.array([1, 2]), fit)
