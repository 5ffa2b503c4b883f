"""What all metrics share: their texts, adding up, and never an infinity or a NaN."""

import doctest
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnneval.metrics import ScoredTokens, Totals, all_metrics, finish, tally
from rnneval.metrics.calibration_error import COUNTS as CALIBRATION_COUNTS
from rnneval.metrics.calibration_error import NAMES as CALIBRATION_NAMES
from rnneval.pages import all_pages
from tests.metrics.build import added_up

IN_ORDER = (
    "cross_entropy",
    "perplexity",
    "bits_per_char",
    "bits_per_byte",
    "word_perplexity",
    "word_perplexity_eos",
    "accuracy",
    "accuracy_top5",
    "calibration_error",
)
SUMS = ("nats", "newlines", "top1", "top5", *CALIBRATION_NAMES, *CALIBRATION_COUNTS)


NUMBERS = st.floats(0, 30)
COUNTS = st.integers(0, 9)
TOKENS = st.lists(
    st.tuples(NUMBERS, st.floats(0.01, 1), COUNTS, COUNTS, COUNTS, COUNTS, COUNTS), min_size=1, max_size=30
)


def as_scored(rows) -> ScoredTokens:
    nats, confidence, *counts = zip(*rows, strict=True)
    rank, characters, size, words, newlines = (np.array(count, dtype=np.int64) for count in counts)
    return ScoredTokens(
        nats=np.array(nats), confidence=np.array(confidence), rank=rank,
        characters=characters, bytes=size, words=words, newlines=newlines,
    )  # fmt: skip


@pytest.mark.parametrize("each", [each for each in all_pages() if ">>> " in each.text], ids=lambda each: each.name)
def test_the_examples_of_a_page_are_right(each):
    example = doctest.DocTestParser().get_doctest(each.text, {}, each.name, None, 0)
    assert doctest.DocTestRunner(verbose=False).run(example).failed == 0


@given(TOKENS)
def test_terms_are_float64_one_a_token_and_equal_where_names_are_shared(rows):
    tokens = as_scored(rows)
    merged = tally(tokens)
    assert set(merged) == set(SUMS)
    for metric in all_metrics():
        for name, term in metric.tally(tokens).items():
            assert term.dtype == np.float64
            assert term.shape == (len(rows),)
            assert term.tolist() == merged[name].tolist()


@given(TOKENS, st.data())
def test_blocks_add_up_to_the_whole(rows, data):
    """One finish over added-up blocks is the score of the text, wherever the blocks are cut."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=3)))
    edges = [0, *cuts, len(rows)]
    pieces = [rows[start:end] for start, end in pairwise(edges) if end > start]
    parts = [added_up(as_scored(piece)) for piece in pieces]
    together = Totals(
        **{unit: sum(getattr(part, unit) for part in parts) for unit in ("tokens", "characters", "bytes", "words")},
        lossless=True,
        sums={name: sum(part.sums[name] for part in parts) for name in SUMS},
    )
    whole = finish(added_up(as_scored(rows)))
    assert finish(together).values == pytest.approx(dict(whole.values), rel=1e-9, abs=1e-12)
    assert dict(finish(together).missing) == dict(whole.missing)


ANY = st.floats(width=64)
ANY_TOTALS = st.builds(
    Totals,
    tokens=st.floats(0, 1e9, exclude_min=True),
    characters=ANY,
    bytes=ANY,
    words=ANY,
    lossless=st.booleans(),
    sums=st.fixed_dictionaries(dict.fromkeys(SUMS, ANY)),
)


@given(ANY_TOTALS)
def test_nothing_that_is_not_finite_ever_comes_out(drawn):
    scores = finish(drawn)
    assert all(math.isfinite(value) for value in scores.values.values())
    assert all(scores.missing.values())
    assert {*scores.values, *scores.missing} == set(IN_ORDER)
