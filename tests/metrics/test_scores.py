"""What is special of each score, with an answer known by hand or from an independent loop."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnneval.metrics import UnavailableError, by_name
from tests.metrics.build import added_up, scored, totals

METRICS = by_name()


def score(name, totals):
    return METRICS[name].finish(totals)


# Losses


def test_bits_do_not_depend_on_how_the_text_is_cut():
    # p("ab") = 1/8 whole, or 1/2 · 1/4 character by character: the same text, the same bits.
    characters = added_up(scored([math.log(2), math.log(4)], characters=[1, 1]))
    pieces = added_up(scored([math.log(8)], characters=[2]))
    assert score("bits_per_char", characters) == pytest.approx(1.5, rel=1e-14)
    assert score("bits_per_char", pieces) == pytest.approx(1.5, rel=1e-14)


@pytest.mark.parametrize("name", ["bits_per_char", "bits_per_byte"])
def test_tokens_that_do_not_give_the_text_back_have_no_bits(name):
    with pytest.raises(UnavailableError, match="do not give the text back"):
        score(name, totals(nats=1.0, lossless=False))


def test_a_character_model_and_a_word_model_of_one_distribution_agree():
    # "ab c": p(ab) = 1/8, p(c) = 1/2; by characters a 1/2, b 1/4, space 1, c 1/2. Both: (4 bits) / 2 words.
    by_characters = scored([math.log(2), math.log(4), 0.0, math.log(2)], words=[1, 0, 0, 1])
    by_words = scored([math.log(8), math.log(2)], words=[1, 1])
    for text in (by_characters, by_words):
        assert score("word_perplexity", added_up(text)) == pytest.approx(4, rel=1e-14)


# Choices


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


@given(st.lists(st.tuples(st.floats(0.001, 1), st.booleans()), min_size=1, max_size=40))
def test_the_calibration_error_equals_the_printed_formula(drawn):
    confidences = [confidence for confidence, _ in drawn]
    correct = [right for _, right in drawn]
    text = scored([1.0] * len(drawn), confidence=confidences, rank=[0 if right else 1 for right in correct])
    assert score("calibration_error", added_up(text)) == pytest.approx(slow_ece(confidences, correct), abs=1e-12)
