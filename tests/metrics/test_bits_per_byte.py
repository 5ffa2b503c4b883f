import math

import pytest

from rnneval.metrics import UnavailableError
from rnneval.metrics.bits_per_byte import METRIC
from rnneval.metrics.bits_per_char import METRIC as BITS_PER_CHAR


def test_by_hand(totals):
    # é is two bytes; with probability 1/16 it costs four bits.
    assert METRIC.finish(totals(tokens=1, characters=1, bytes=2, nats=math.log(16))) == pytest.approx(2, rel=1e-14)


def test_of_ascii_it_equals_bits_a_character_and_of_nothing_else(totals):
    ascii_text = totals(tokens=3, characters=5, bytes=5, nats=4.0)
    assert METRIC.finish(ascii_text) == BITS_PER_CHAR.finish(ascii_text)
    cyrillic = totals(tokens=3, characters=5, bytes=10, nats=4.0)
    assert 2 * METRIC.finish(cyrillic) == pytest.approx(BITS_PER_CHAR.finish(cyrillic))


def test_random_bytes_cost_eight_bits(totals):
    assert METRIC.finish(totals(tokens=100, bytes=100, nats=100 * math.log(256))) == pytest.approx(8, rel=1e-14)


def test_tokens_that_do_not_give_the_text_back_have_none(totals):
    with pytest.raises(UnavailableError, match="do not give the text back"):
        METRIC.finish(totals(nats=1.0, lossless=False))


def test_no_byte_scored_raises(totals):
    with pytest.raises(UnavailableError, match="no byte was scored"):
        METRIC.finish(totals(tokens=1, bytes=0, nats=1.0))
