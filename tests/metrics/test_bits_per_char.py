import math

import pytest

from rnneval.metrics import UnavailableError
from rnneval.metrics.bits_per_char import METRIC


def test_by_hand(totals):
    # One token of four characters with probability 1/16: four bits over four characters.
    assert METRIC.finish(totals(tokens=1, characters=4, nats=math.log(16))) == pytest.approx(1, rel=1e-14)


def test_a_character_model_has_log2_of_its_perplexity(totals):
    assert METRIC.finish(totals(tokens=7, characters=7, nats=7 * math.log(65))) == pytest.approx(math.log2(65))


def test_it_does_not_depend_on_how_the_text_is_cut(scored, added_up):
    # p("ab") = 1/8 whole, or 1/2 · 1/4 character by character: the same text, the same bits.
    characters = scored([math.log(2), math.log(4)], characters=[1, 1])
    pieces = scored([math.log(8)], characters=[2])
    assert METRIC.finish(added_up(characters)) == pytest.approx(1.5, rel=1e-14)
    assert METRIC.finish(added_up(pieces)) == pytest.approx(1.5, rel=1e-14)


def test_bits_a_token_are_another_number(totals):
    assert METRIC.finish(totals(tokens=1, characters=4, nats=math.log(16))) != pytest.approx(math.log2(16))


def test_tokens_that_do_not_give_the_text_back_have_none(totals):
    with pytest.raises(UnavailableError, match="do not give the text back"):
        METRIC.finish(totals(nats=1.0, lossless=False))


def test_no_character_scored_raises(totals):
    # One token that stands for nothing, such as an end-of-text id.
    with pytest.raises(UnavailableError, match="no character was scored"):
        METRIC.finish(totals(tokens=1, characters=0, nats=1.0))
