"""Statistics that tell a fault of the state from one of weights or arithmetic.

A wrong weight changes every position of a call alike. A state that is handed over wrong changes most what follows the
hand-over, and is forgotten within the call.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rnneval.arrays import Doubles, Ints
from rnneval.gates.clusters import Columns, Estimate, Statistic, batches, jackknife, over_clusters
from rnneval.parity.reading import TokenColumns
from rnneval.records.parity import ByPosition, KlSummary, Ratio
from rnneval.records.run import Blocks, Score

QUANTILES = (99.9, 99.0, 95.0, 90.0, 50.0, 10.0, 5.0, 1.0, 0.1)
START = 8  # positions of a call that show a wrong state most; shorter calls are compared with restarts
_BINS = 48  # bins along a text, of equal width on a logarithmic scale
_BINS_OF_CALL = 64
_WINDOW = 8  # tokens of a worst place
_WORST = 16
_FAR_ABOVE = 200.0  # a worst place has so many times the median
_EXACT = 4  # tokens by which places may lie beside multiples of a period
_FEWEST = 4  # places that show a period
_EIGHTHS = 8


def divergence(kl: NDArray[np.floating], mean: Score, *, at: int, byte: int) -> KlSummary:
    """Return mean, quantiles and extremes of KL, in llama.cpp's words and order; the largest is at this token."""
    values = np.percentile(kl, QUANTILES)
    return KlSummary(
        mean=mean.value,
        low=None if mean.low is None else max(mean.low, 0.0),
        high=mean.high,
        quantiles={f"{per_cent:g}": float(value) for per_cent, value in zip(QUANTILES, values, strict=True)},
        largest=float(kl.max()),
        at=at,
        byte=byte,
        smallest=float(kl.min()),
    )


def places_in_calls(columns: TokenColumns, segment: int) -> Iterator[tuple[NDArray[np.float32], Ints, int]]:
    """Yield KL and place in a call of predictions in pieces, without first calls, and the first of the predictions."""
    for piece, position in columns.pieces():
        later = int(np.searchsorted(position, segment))
        if later < len(position):
            yield columns.kl[piece][later:], position[later:] % segment, piece.start + later


def ends_of_call(segment: int) -> tuple[int, int]:
    """Return the number of positions at the start of a call that are compared, and the first of its last quarter."""
    return min(START, segment // 2), segment - max(1, segment // 4)


def start_over_end(columns: TokenColumns, segment: int, blocks: Blocks, rounding: float) -> Ratio:
    """Return mean KL at the start of the candidate's calls over that at their end."""
    (start, end), ends = ends_of_call(segment), np.cumsum(blocks.tokens)
    sums = np.zeros((4, len(ends)))
    for kl, place, first in places_in_calls(columns, segment):
        block = np.searchsorted(ends, np.arange(first, first + len(kl)), side="right")
        for row, part in ((0, place < start), (2, place >= end)):
            sums[row] += np.bincount(block[part], kl[part], len(ends))
            sums[row + 1] += np.bincount(block[part], minlength=len(ends))
    estimate, _ = over_clusters(blocks, sums, _log_ratio(rounding))
    if estimate is None:
        return Ratio(value=math.exp(_log_ratio(rounding)(sums.sum(axis=1, keepdims=True))[0]))
    return _ratio(estimate)


def _log_ratio(rounding: float) -> Statistic:
    """Return the statistic ln(mean / other mean) of four sums; what is less than rounding is not told apart."""

    def value(sums: Columns) -> Doubles:
        first, count, second, other = sums
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.log(first / count + rounding) - np.log(second / other + rounding))

    return value


def _ratio(log: Estimate) -> Ratio:
    """Return a ratio from the estimate of its logarithm; what no float holds is cut."""
    bounds = np.clip([log.value, log.bound(0.025), log.bound(0.975)], -700, 700)
    return Ratio(**dict(zip(("value", "low", "high"), np.exp(bounds).tolist(), strict=True)))


def ratio_of_groups(first: NDArray[np.floating], second: NDArray[np.floating], rounding: float, groups: int) -> Ratio:
    """Return mean KL of one series over that of another, by the jackknife over runs of both, `(n,)` each."""
    sums = np.zeros((4, 2 * groups))
    for row, series in ((0, first), (2, second)):
        for at, part in enumerate(np.array_split(series.astype(np.float64), groups)):
            sums[row : row + 2, at + groups * (row // 2)] = part.sum(), len(part)
    return _ratio(jackknife(_log_ratio(rounding), sums, batches(np.ones(2 * groups), 2 * groups)))


def growth(columns: TokenColumns, rounding: float) -> Ratio | None:
    """Return mean KL of the last eighth of the text over that of the first; None of a short text."""
    size = len(columns.kl) // _EIGHTHS
    if size < _EIGHTHS * _WINDOW:
        return None
    return ratio_of_groups(columns.kl[-size:], columns.kl[:size], rounding, _EIGHTHS)


def along_text(columns: TokenColumns, floor: Sequence[TokenColumns]) -> ByPosition:
    """Return mean KL by position along the text, in bins of equal width on a logarithmic scale."""
    total = len(columns.kl)
    edges = np.unique(np.round(np.geomspace(1, total + 1, _BINS)).astype(np.int64)) - 1

    def sums(each: TokenColumns) -> tuple[Doubles, Doubles]:
        stops = np.minimum(edges, len(each.kl))
        parts = (each.kl[start:stop].sum(dtype=np.float64) for start, stop in pairwise(stops.tolist()))
        return np.array([*parts]), np.diff(stops).astype(np.float64)

    return _binned(edges, sums, columns, floor)


def along_call(columns: TokenColumns, segment: int, floor: Sequence[TokenColumns]) -> ByPosition | None:
    """Return mean KL by position in a call of the candidate, from its second call on; None if there is none."""
    longest = int(columns.lengths.max())
    if segment == 1 or longest <= segment:
        return None
    edges = np.unique(np.linspace(0, segment, min(segment, _BINS_OF_CALL) + 1).astype(np.int64))
    last = min(longest - segment, segment) - 1
    edges = edges[: np.searchsorted(edges, last, side="right") + 1]

    def sums(each: TokenColumns) -> tuple[Doubles, Doubles]:
        totals = np.zeros((2, len(edges) - 1))
        for kl, place, _ in places_in_calls(each, segment):
            bins = np.searchsorted(edges, place, side="right") - 1
            totals += [np.bincount(bins, values, len(edges))[:-1] for values in (kl, np.ones(len(kl)))]
        return totals[0], totals[1]

    return _binned(edges, sums, columns, floor)


def _binned(
    edges: Ints,
    sums: Callable[[TokenColumns], tuple[Doubles, Doubles]],
    columns: TokenColumns,
    floor: Sequence[TokenColumns],
) -> ByPosition:
    """Return means by bin; where a reading of the floor has no position, its mean over all stands."""

    def means(each: TokenColumns, default: float) -> Doubles:
        totals, counts = sums(each)
        return np.where(counts > 0, totals / np.maximum(counts, 1), default)

    of_floor = [means(each, float(each.kl.mean())) for each in floor] or [np.zeros(len(edges) - 1)]
    return ByPosition(
        edges=tuple(edges.tolist()),
        mean_kl=tuple(means(columns, 0.0).tolist()),
        floor_low=tuple(np.min(of_floor, axis=0).tolist()),
        floor_high=tuple(np.max(of_floor, axis=0).tolist()),
    )


def worst_places(kl: NDArray[np.floating], limit: float) -> list[tuple[int, float]]:
    """Return the starts of the eight tokens with the largest mean KL, and these means, the largest first.

    >>> values = np.zeros(1000)
    >>> values[[320, 640]] = 5.0, 3.0
    >>> worst_places(values, 1e-9)
    [(320, 0.625), (640, 0.375)]
    """
    count = len(kl) // _WINDOW
    means = kl[: count * _WINDOW].reshape(count, _WINDOW).mean(axis=1, dtype=np.float64)
    least = max(_FAR_ABOVE * float(np.median(means)), limit) if count else limit
    places: list[tuple[int, float]] = []
    for window in np.argsort(-means, kind="stable"):
        start = int(window) * _WINDOW
        if len(places) == _WORST or means[window] <= least:
            break
        if all(abs(start - other) > 4 * _WINDOW for other, _ in places):  # what follows is of the same place
            before = max(start - _WINDOW, 0)
            high = np.flatnonzero(kl[before : start + _WINDOW] > 0.05 * kl[before : start + _WINDOW].max())
            places.append((before + int(high[0]), float(means[window])))
    return places


def period_of(starts: Sequence[int]) -> int | None:
    """Return the distance of which the distances of all places are multiples; None if there is none.

    >>> period_of([1024, 3072, 4096, 9216, 2051]), period_of([10, 500, 2017, 3333])
    (1024, None)
    """
    places = np.sort(np.asarray(starts))
    if len(places) < _FEWEST:
        return None
    gaps = np.diff(places)
    for period in sorted({int(gap / times) for gap in gaps for times in (1, 2, 3)}, reverse=True):
        if period < 8 * _EXACT:
            break
        numbers = np.round((places - places[0]) / period)
        if len(set(numbers.tolist())) < len(places):
            continue
        exact = float(((places - places[0]) * numbers).sum() / np.square(numbers).sum())
        if np.abs(places - places[0] - numbers * exact).max() <= _EXACT:
            return round(exact)
    return None
