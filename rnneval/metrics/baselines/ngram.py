"""Baselines that count: the training text's n-grams, smoothed by interpolated modified Kneser–Ney."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnneval.arrays import Doubles, Ints
from rnneval.metrics._base import UnavailableError
from rnneval.options import LARGEST_ORDER

MOST_TOKENS = 12_000_000  # tokens of the fitted and of the scored text that fit into 2 GB of memory and two minutes
COPIED_TOKENS = 32  # length of a run of tokens that two texts hardly share by chance; a power of 2

Numbers = NDArray[np.int32]  # number of the n-gram that ends at each token, `(n,)`; −1 where there is none


class TokenText(NamedTuple):
    """A text as ids."""

    ids: NDArray[Any]  # whole numbers from 0, `(n,)`
    document_starts: NDArray[Any]  # first token of each document, `(documents,)`: rising, from 0


@dataclass(frozen=True, kw_only=True, eq=False)
class OrderLosses:
    """The losses of one order."""

    order: int
    nats: Doubles  # loss of each token of the scored text, `(n,)`
    discounts: tuple[str, ...]  # those of each order from 1 to this one: `modified`, `single` or `absolute`


class _Level(NamedTuple):
    """The n-grams of one order in the fitted text, numbered from 0 in the order of their keys."""

    keys: Ints  # number of the context times the number of ids, plus the last id; sorted, `(n-grams,)`
    counts: Ints
    shorter: Numbers  # number of each n-gram without its first token, one order below


def losses_by_order(
    fitted: TokenText, scored: TokenText, *, vocabulary_size: int, max_order: int = LARGEST_ORDER
) -> Iterator[OrderLosses]:
    """Yield the losses of order 1, 2, …; an order costs nothing until it is asked for.

    Every token of the scored text has a loss, the first of a document by order 1. It is an `UnavailableError` if a text
    is empty or has more than `MOST_TOKENS` tokens.
    """
    _check(fitted, scored)
    ends, places = np.zeros(len(fitted.ids), np.int32), np.zeros(len(scored.ids), np.int32)
    contexts, lower = 1, np.full(len(scored.ids), 1 / vocabulary_size)
    kinds: tuple[str, ...] = ()
    before: tuple[_Level, Numbers, Numbers, int] | None = None
    for order in range(1, max_order + 1):
        reach = min(order - 1, 1)  # the context of order 1 is empty: the only one, which also precedes a document
        after = _shifted(places, scored.document_starts, reach)
        level, ends = _numbered(fitted, ends, fitted.ids, vocabulary_size, reach)
        places = _places(level.keys, after, scored.ids, vocabulary_size)
        if before is not None:  # the order below is complete now: its n-grams are known with what stands before them
            follows = np.bincount(level.shorter, minlength=len(before[0].keys))
            lower, kind = _interpolated(before, follows, lower, vocabulary_size)
            kinds = (*kinds, kind)
        before = level, after, places, contexts
        likely, kind = _interpolated(before, level.counts, lower, vocabulary_size)
        yield OrderLosses(order=order, nats=-np.log(likely), discounts=(*kinds, kind))
        contexts = len(level.keys)


def copied(
    fitted: TokenText, scored: TokenText, *, vocabulary_size: int, length: int = COPIED_TOKENS
) -> NDArray[np.bool_]:
    """Return which tokens of the scored text end a run of `length` tokens that stands in the fitted text, `(n,)`.

    Runs of 2, 4, 8, … tokens are numbered one after the other, each as two of half the length, a power of 2.

    >>> one = np.array([0])
    >>> fitted, scored = TokenText(np.array([3, 1, 2]), one), TokenText(np.array([0, 1, 2]), one)
    >>> copied(fitted, scored, vocabulary_size=4, length=2).tolist()
    [False, False, True]
    """
    _check(fitted, scored)
    ends, places = fitted.ids.astype(np.int32), scored.ids.astype(np.int32)
    different, reach = vocabulary_size, 1
    while reach < length:
        after = _shifted(places, scored.document_starts, reach)
        level, ends = _numbered(fitted, ends, ends, different, reach)
        places = _places(level.keys, after, places, different)
        different, reach = len(level.keys), 2 * reach
    return np.asarray(places >= 0)


def _check(*texts: TokenText) -> None:
    for count in (len(text.ids) for text in texts):
        if not count:
            raise UnavailableError("there is no text to count n-grams in")
        if count > MOST_TOKENS:
            raise UnavailableError(f"n-grams are counted in up to {MOST_TOKENS:,} tokens, the text has {count:,}")


def _shifted(numbers: Numbers, document_starts: NDArray[Any], reach: int) -> Numbers:
    """Return the number that stands `reach` tokens before each token; −1 beyond the beginning of its document."""
    shifted = np.full_like(numbers, -1)
    shifted[reach:] = numbers[: max(0, len(numbers) - reach)]
    starts = np.asarray(document_starts, np.int64)
    early = (starts[:, None] + np.arange(reach)).ravel()
    stops = np.append(starts[1:], len(numbers)).repeat(reach)
    shifted[early[early < stops]] = -1
    return shifted


def _numbered(
    fitted: TokenText, before: Numbers, last: NDArray[Any], different: int, reach: int
) -> tuple[_Level, Numbers]:
    """Sort the pairs of a context and what follows it; return the different ones and the number of each token's pair.

    `before` is the number of the context that ends at each token, `last` one of `different` values that follows it, and
    `reach` the distance between their ends.
    """
    context = _shifted(before, fitted.document_starts, reach)
    valid = np.flatnonzero((context >= 0) & (last >= 0)).astype(np.int32)
    keys = context[valid].astype(np.int64) * different + last[valid]
    del context
    by_key = np.argsort(keys)
    keys, valid = keys[by_key], valid[by_key]
    del by_key
    opens = np.append(True, keys[1:] != keys[:-1])[: len(keys)]
    first = np.flatnonzero(opens)
    ends = np.full(len(before), -1, np.int32)
    ends[valid] = np.cumsum(opens, dtype=np.int32) - 1
    return _Level(keys[first], np.diff(first, append=len(keys)), before[valid[first]]), ends


def _places(keys: Ints, context: Numbers, last: NDArray[Any], different: int) -> Numbers:
    """Return the number of the pair that ends at each token of another text; −1 if it is not among the keys."""
    places = np.full(len(context), -1, np.int32)
    known = np.flatnonzero((context >= 0) & (last >= 0))
    if len(keys):
        wanted = context[known].astype(np.int64) * different + last[known]
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        places[known] = np.where(keys[at] == wanted, at, -1)
    return places


def _interpolated(
    level: tuple[_Level, Numbers, Numbers, int], counts: Ints, lower: Doubles, vocabulary_size: int
) -> tuple[Doubles, str]:
    """Return the probability of each scored token from the counts of one order and the probabilities below it.

    `level` holds the n-grams, the number of each scored token's context and n-gram, and the number of contexts;
    `counts` that of each n-gram, 0 if nothing stands before it; `lower` the probability of each token one order below.
    """
    ngrams, context, place, contexts = level
    kind, discount = _discounts(counts)
    of_context = (ngrams.keys // vocabulary_size).astype(np.int32)
    totals = np.bincount(of_context, weights=counts, minlength=contexts)
    freed = np.bincount(of_context, weights=discount[np.minimum(counts, 3)], minlength=contexts)
    known = np.flatnonzero(context >= 0)
    known = known[totals[context[known]] > 0]
    seen = known[place[known] >= 0]
    likely = lower.copy()
    likely[known] *= freed[context[known]]
    count = counts[place[seen]]
    likely[seen] += count - discount[np.minimum(count, 3)]
    likely[known] /= totals[context[known]]
    return likely, kind


def _discounts(counts: Ints) -> tuple[str, Doubles]:
    """Return the kind of discounts, and the discount of a count of 0, 1, 2, and 3 or more."""
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == k)) for k in (1, 2, 3, 4))
    if not n1 or not n2:
        return "absolute", np.array([0.0, 0.5, 0.5, 0.5])
    y = n1 / (n1 + 2 * n2)
    if n3 and n4:
        modified = np.array([0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
        if (modified[1:] > 0).all():
            return "modified", modified
    return "single", np.array([0.0, y, y, y])
