"""Statistics that tell a fault of the state from one of weights or arithmetic.

A wrong weight changes every position of a call alike. A state that is handed over wrong changes most what follows the
hand-over, and is forgotten within the call.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.arrays import Doubles, Ints
from rnneval.gates.clusters import Columns, Statistic, batches, jackknife, over_clusters
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


def divergence(columns: TokenColumns, mean: Score, byte: int) -> KlSummary:
    """Return mean, quantiles and extremes of KL, in llama.cpp's words and order."""
    kl = columns.kl
    values = np.percentile(kl, QUANTILES)
    return KlSummary(
        mean=mean.value,
        low=None if mean.low is None else max(mean.low, 0.0),
        high=mean.high,
        quantiles={f"{per_cent:g}": float(value) for per_cent, value in zip(QUANTILES, values, strict=True)},
        largest=float(kl.max()),
        at=columns.token_at(int(kl.argmax())),
        byte=byte,
        smallest=float(kl.min()),
    )


def place_in_call(columns: TokenColumns, segment: int) -> Ints:
    """Return the place of each prediction in its call, from 0; −1 in the first call of a document."""
    position = columns.position
    place = position % segment
    place[position < segment] = -1
    return place


def ends_of_call(segment: int) -> tuple[int, int]:
    """Return the number of positions at the start of a call that are compared, and the first of its last quarter."""
    return min(START, segment // 2), segment - max(1, segment // 4)


def block_sums(values: NDArray[Any], block: Ints, blocks: int) -> Doubles:
    """Return the sum of values in each block."""
    return np.asarray(np.bincount(block, weights=values, minlength=blocks), np.float64)


def start_over_end(columns: TokenColumns, segment: int, block: Ints, blocks: Blocks, rounding: float) -> Ratio:
    """Return mean KL at the start of the candidate's calls over that at their end."""
    place, (start, end) = place_in_call(columns, segment), ends_of_call(segment)
    parts = [(place >= 0) & (place < start), place >= end]
    count = len(blocks.bytes)
    sums = [block_sums(values, block, count) for part in parts for values in (columns.kl * part, part)]
    estimate, _ = over_clusters(blocks, np.array(sums), _log_ratio(rounding))
    if estimate is None:
        return Ratio(value=math.exp(_log_ratio(rounding)(np.array(sums).sum(axis=1, keepdims=True))[0]))
    return Ratio(value=math.exp(estimate.value), low=_exp(estimate.bound(0.025)), high=_exp(estimate.bound(0.975)))


def _log_ratio(rounding: float) -> Statistic:
    """Return the statistic ln(mean / other mean) of four sums; what is less than rounding is not told apart."""

    def value(sums: Columns) -> Doubles:
        first, count, second, other = sums
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.log(first / count + rounding) - np.log(second / other + rounding))

    return value


def _exp(value: float) -> float:
    return math.exp(max(min(value, 700.0), -700.0))


def ratio_of_groups(first: NDArray[np.floating], second: NDArray[np.floating], rounding: float, groups: int) -> Ratio:
    """Return mean KL of one series over that of another, by the jackknife over runs of both, `(n,)` each."""
    sums = np.zeros((4, 2 * groups))
    for row, series in ((0, first), (2, second)):
        for at, part in enumerate(np.array_split(series.astype(np.float64), groups)):
            sums[row : row + 2, at + groups * (row // 2)] = part.sum(), len(part)
    estimate = jackknife(_log_ratio(rounding), sums, batches(np.ones(2 * groups), 2 * groups))
    return Ratio(value=_exp(estimate.value), low=_exp(estimate.bound(0.025)), high=_exp(estimate.bound(0.975)))


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
    return _binned(columns.kl, np.arange(total), edges, [(each.kl, np.arange(len(each.kl))) for each in floor])


def along_call(columns: TokenColumns, segment: int, floor: Sequence[TokenColumns]) -> ByPosition | None:
    """Return mean KL by position in a call of the candidate, from its second call on; None if there is none."""
    place = place_in_call(columns, segment)
    if segment == 1 or not (place >= 0).any():
        return None
    edges = np.unique(np.linspace(0, segment, min(segment, _BINS_OF_CALL) + 1).astype(np.int64))
    edges = edges[: np.searchsorted(edges, place.max(), side="right") + 1]
    return _binned(columns.kl, place, edges, [(each.kl, place_in_call(each, segment)) for each in floor])


def _binned(
    kl: NDArray[np.floating], at: Ints, edges: Ints, floor: Sequence[tuple[NDArray[np.floating], Ints]]
) -> ByPosition:
    """Return means by bin; where a reading of the floor has no position, its mean over all stands."""

    def means(values: NDArray[np.floating], places: Ints, default: float) -> Doubles:
        bins = np.searchsorted(edges, places, side="right")  # 0 lies before the first edge, and the last bin behind all
        counts, sums = (np.bincount(bins, each, len(edges) + 1)[1:-1] for each in (None, values))
        return np.where(counts > 0, sums / np.maximum(counts, 1), default)

    of_floor = [means(values, places, float(values.mean())) for values, places in floor] or [np.zeros(len(edges) - 1)]
    return ByPosition(
        edges=tuple(edges.tolist()),
        mean_kl=tuple(means(kl, at, 0.0).tolist()),
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
    found: list[tuple[int, float]] = []
    for window in np.argsort(-means, kind="stable"):
        start = int(window) * _WINDOW
        if len(found) == _WORST or means[window] <= least:
            break
        if all(abs(start - other) > 4 * _WINDOW for other, _ in found):  # what follows is of the same place
            before = max(start - _WINDOW, 0)
            high = np.flatnonzero(kl[before : start + _WINDOW] > 0.05 * kl[before : start + _WINDOW].max())
            found.append((before + int(high[0]), float(means[window])))
    return found


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
