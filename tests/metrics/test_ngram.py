"""n-grams by sorting against a float64 implementation with dictionaries, which shares no code with them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnneval.metrics.baselines.ngram import TokenText, copied, losses_by_order
from rnneval.options import LARGEST_ORDER
from tests.metrics.slow_ngrams import slow_losses

LETTERS = 4


def tokens(*documents):
    lengths = [len(document) for document in documents]
    ids = [id_ for document in documents for id_ in document]
    return TokenText(np.array(ids, np.int32), np.cumsum([0, *lengths[:-1]]))


ids = st.integers(0, LETTERS - 1)
documents = st.lists(st.lists(ids, min_size=1, max_size=60), min_size=1, max_size=4)


@settings(max_examples=30, deadline=None)
@given(documents, documents, st.integers(1, 5))
def test_every_order_equals_the_dictionaries(fitted, scored, order):
    found = list(losses_by_order(tokens(*fitted), tokens(*scored), vocabulary_size=LETTERS, max_order=order))
    assert [each.order for each in found] == list(range(1, order + 1))
    expected = slow_losses(fitted, scored, LETTERS, order)
    np.testing.assert_allclose(found[-1].nats, expected, rtol=1e-12, atol=1e-12)


def zipf(length, size, seed):
    """Text whose counts of counts are all there: a chain of skewed draws."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, size + 1)
    rows = np.array([rng.permutation(share) for _ in range(size)])
    found = [0]
    for draw in rng.random(length - 1):
        row = np.cumsum(rows[found[-1]] / rows[found[-1]].sum())
        found.append(int(np.searchsorted(row, draw)))
    return found


@pytest.mark.parametrize("order", [1, 3, LARGEST_ORDER])
def test_probabilities_add_up_to_one(order):
    size = 31
    fitted = [zipf(2000, 30, 0), zipf(500, 30, 3)]
    rng = np.random.default_rng(order)
    seen = [fitted[0][at : at + order] for at in rng.integers(0, 1900, 5)]
    unseen = rng.integers(0, size, (5, order)).tolist()  # also of the id that never occurs, and at the end of the text
    contexts = [*seen, *unseen, [size - 1] * order, fitted[0][-order:], []]
    scored = tokens(*([*context, word] for context in contexts for word in range(size)))
    *_, each = losses_by_order(tokens(*fitted), scored, vocabulary_size=size, max_order=order)
    ends = np.append(scored.document_starts[1:], len(scored.ids)) - 1
    sums = np.exp(-each.nats[ends]).reshape(len(contexts), size).sum(axis=1)
    np.testing.assert_allclose(sums, 1, rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "kind", "probability"),
    [
        ("aaabbcd", "single", (3 - 0.5) / 7 + 4 * 0.5 / 7 / 5),  # n1 = 2, n2 = 1: Y = 2 / 4; n4 = 0
        ("aaabb", "absolute", (3 - 0.5) / 5 + 2 * 0.5 / 5 / 3),  # n1 = 0
        ("abcd", "absolute", (1 - 0.5) / 4 + 4 * 0.5 / 4 / 5),  # n2 = 0
        # n1 = 3, n2 = 2, n3 = 1, n4 = 1: Y = 3/7; D3 = 3 − 4 Y = 9/7, D2 = 2 − 3/2 Y = 19/14, D1 = Y
        ("aaaabbbccddefg", "modified", (4 - 9 / 7) / 14 + (2 * 9 / 7 + 2 * 19 / 14 + 3 * 3 / 7) / 14 / 8),
        # n1 = 1, n2 = 1, n3 = 3, n4 = 1: D2 = 2 − 3 · 3/3 < 0, so one discount Y = 1/3
        ("aaaabbbcccdddeef", "single", (4 - 1 / 3) / 16 + 6 / 3 / 16 / 7),
    ],
)  # fmt: skip
def test_discounts_by_hand(text, kind, probability):
    fitted, size = tokens([ord(c) - ord("a") for c in text]), len(set(text)) + 1
    each = next(losses_by_order(fitted, tokens([0]), vocabulary_size=size))
    assert each.discounts == (kind,)
    assert np.exp(-each.nats[0]) == pytest.approx(probability, rel=1e-14)


def test_ngrams_are_not_counted_across_documents():
    # Of order 2: in one document ab is seen, in two it is not, and then b after a is as likely as in order 1.
    apart = tokens([0], [1])
    *_, each = losses_by_order(apart, tokens([0, 1]), vocabulary_size=2, max_order=2)
    assert np.exp(-each.nats[1]) == pytest.approx(1 / 2)


def test_runs_that_stand_in_both_texts_are_found():
    rng = np.random.default_rng(0)
    fitted = rng.integers(0, 50, 5000)
    scored = np.concatenate([rng.integers(0, 50, 100), fitted[1000:1040], rng.integers(0, 50, 60)])
    found = copied(tokens(fitted), tokens(scored), vocabulary_size=50)
    assert np.flatnonzero(found).tolist() == list(range(131, 140))
    assert not copied(tokens(fitted), tokens(scored[:120], scored[120:]), vocabulary_size=50).any()
    assert not copied(tokens(fitted[:1020], fitted[1020:]), tokens(scored), vocabulary_size=50).any()
    assert not copied(tokens([1, 2]), tokens([1]), vocabulary_size=50).any()
