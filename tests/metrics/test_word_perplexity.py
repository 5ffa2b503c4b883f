import math

import pytest

from rnneval.metrics import UnavailableError
from rnneval.metrics.word_perplexity import METRIC


def test_by_hand(totals):
    # Two words in eight characters of half a bit: two bits a word.
    assert METRIC.finish(totals(tokens=8, words=2, nats=4 * math.log(2))) == pytest.approx(4, rel=1e-14)


def test_a_character_model_and_a_word_model_of_one_distribution_agree(scored, added_up):
    # "ab c": p(ab) = 1/8, p(c) = 1/2; by characters a 1/2, b 1/4, space 1, c 1/2. Both: (4 bits) / 2 words.
    by_characters = scored([math.log(2), math.log(4), 0.0, math.log(2)], words=[1, 0, 0, 1])
    by_words = scored([math.log(8), math.log(2)], words=[1, 1])
    assert METRIC.finish(added_up(by_characters)) == pytest.approx(4, rel=1e-14)
    assert METRIC.finish(added_up(by_words)) == pytest.approx(4, rel=1e-14)


def test_a_word_model_that_loses_white_space_keeps_it(totals):
    assert METRIC.finish(totals(tokens=2, nats=2 * math.log(3), lossless=False)) == pytest.approx(3, rel=1e-14)


def test_newlines_are_no_words(totals):
    assert METRIC.finish(totals(tokens=4, words=2, newlines=2, nats=2 * math.log(3))) == pytest.approx(3, rel=1e-14)


def test_no_word_scored_raises(totals):
    with pytest.raises(UnavailableError, match="no word was scored"):
        METRIC.finish(totals(words=0, nats=1.0))


def test_larger_than_any_float_has_no_value(totals):
    # 2,000 characters of half a nat without white space are one word of 1,000 nats.
    with pytest.raises(UnavailableError, match="larger than any float"):
        METRIC.finish(totals(tokens=2000, words=1, nats=1000.0))
