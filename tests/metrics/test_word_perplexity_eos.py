import math

import pytest

from rnneval.metrics import UnavailableError
from rnneval.metrics.perplexity import METRIC as PERPLEXITY
from rnneval.metrics.word_perplexity import METRIC as WITHOUT
from rnneval.metrics.word_perplexity_eos import METRIC


def test_by_hand(totals):
    # Three words and one end of line that cost eight bits.
    line = totals(tokens=4, words=3, newlines=1, nats=8 * math.log(2))
    assert METRIC.finish(line) == pytest.approx(4, rel=1e-14)


def test_a_word_model_with_ends_of_lines_has_its_perplexity(scored, added_up):
    # "the cat\nsat\n" as the cat <eos> sat <eos>
    text = added_up(scored([1.0, 2.0, 3.0, 4.0, 5.0], words=[1, 1, 0, 1, 0], newlines=[0, 0, 1, 0, 1]))
    assert METRIC.finish(text) == PERPLEXITY.finish(text) == pytest.approx(math.exp(3))


def test_wikitext_2_counts(totals):
    # The counts of WikiText-2's test text: AWD-LSTM's 65.8 counts the ends of lines, without them it would be 71.0.
    text = totals(words=241_211, newlines=4_358, nats=245_569 * math.log(65.8))
    assert METRIC.finish(text) == pytest.approx(65.8, rel=1e-12)
    assert WITHOUT.finish(text) == pytest.approx(70.97, abs=0.005)


def test_empty_lines_count_each(scored, added_up):
    # One word, then one token that is three line feeds: four units for 4 nats.
    assert METRIC.finish(added_up(scored([1.0, 3.0], words=[1, 0], newlines=[0, 3]))) == pytest.approx(math.e)


def test_it_stays_where_tokens_do_not_give_the_text_back(totals):
    assert METRIC.finish(totals(newlines=0, nats=0.0, lossless=False)) == 1.0


def test_neither_word_nor_end_of_line_raises(totals):
    with pytest.raises(UnavailableError, match="no word or end of line was scored"):
        METRIC.finish(totals(words=0, newlines=0, nats=1.0))
