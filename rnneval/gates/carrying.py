"""Distance to which carrying a state helps: the change from a reset state to a carried one along a document.

Both readings score the same tokens, so that a drift of the text itself cancels. The blocks, in the order of their
distance from the start of their document, are divided into equal pieces. The mean change of a piece has an interval by
the jackknife over its batches, and one by the autocorrelation of the whole text: a slow drift of mean 0 looks like a
change in every piece. The wider bounds count. The intervals of all pieces hold together with a probability of 95 %
(Bonferroni).

Where carrying costs more in the end, the place at which the change turns from below 0 to above 0 has an interval of its
own: the places at which a nondecreasing change that turns there fits nearly as well as the best one (M. Banerjee, J. A.
Wellner: Likelihood ratio tests for monotone functions. The Annals of Statistics 29, 2001).
"""

from typing import Literal

import msgspec
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import median_filter
from scipy.special import ndtri

from rnneval.arrays import Doubles, Ints
from rnneval.gates.clusters import BATCHES, NATS, Columns, TooLittleTextError, batches, clusters_of, jackknife, ratio
from rnneval.records.run import Blocks, HowFar, Score

_FEWEST = 4 * BATCHES  # blocks of a piece: a batch has four
_MOST = 16  # pieces: more would make each interval wider
_PROBABILITY = 0.95
_JOINED = 16  # parts into which the blocks are joined where the noise is measured that AR(1) does not explain
_MEDIAN_OF_SQUARES = 0.4549  # of a standard normal number
_TURNS = 2.286  # 95 % quantile of the likelihood ratio of Banerjee and Wellner

CarryingVerdict = Literal["holds", "collapses", "inconclusive"]


def how_far(reset: Blocks, carried: Blocks, trained_at: int | None = None) -> HowFar | None:
    """Return how far carrying helps, from the sums of two readings of the same tokens; None if the text is too short.

    Carrying *helps* in a piece if its whole interval is below 0, and *costs* if it is above 0.
    """
    tokens = np.array(carried.tokens, np.float64)
    starts = np.cumsum(tokens) - tokens
    document = np.array(carried.document, np.intp)
    distance = starts - starts[np.searchsorted(document, document)]  # a block's document begins at the first with it
    order = np.argsort(distance, kind="stable")
    order = order[tokens[order] > 0]
    nats, weights = [np.array(each.sums[NATS])[order] for each in (carried, reset)], tokens[order]
    far = of_changes(nats[0] - nats[1], weights, distance[order].astype(np.int64))
    if far is None:
        return None
    pieces = zip(*(np.array_split(each, len(far.distance)) for each in (nats[1], weights)), strict=True)
    losses = tuple(float(sums.sum() / counts.sum()) for sums, counts in pieces)
    return msgspec.structs.replace(far, trained_at=trained_at, reset=losses)


def of_changes(change: Doubles, tokens: Doubles, distance: Ints) -> HowFar | None:
    """Return how far carrying helps, from carried − reset in nats, tokens and distance of blocks, `(n,)`."""
    count = min(_MOST, change.size // _FEWEST)
    if count < 2:
        return None
    pieces = np.array_split(np.arange(change.size), count)
    level, correlation = _autoregression(change / tokens)
    means, low, high = zip(*(_mean(change[k], tokens[k], level[k], correlation, count) for k in pieces), strict=True)
    first = [int(distance[each[0]]) for each in pieces]
    end = int(distance[-1] + tokens[-1])
    not_costing = [k for k, bound in enumerate(low) if not bound > 0]
    since = not_costing[-1] + 1 if not_costing else 0  # the piece from which on all cost
    helping = [k for k in range(since) if high[k] < 0]
    helps_to = ([*first[1:], end])[helping[-1]] if helping else None
    verdict: CarryingVerdict = "inconclusive"
    if since < count:
        verdict = "collapses"
    elif high[-1] < 0:
        verdict = "holds"
    ends = np.append(distance, end)
    return HowFar(
        verdict=verdict,
        helps_to=helps_to,
        costs_from=first[since] if since < count else None,
        turns_at=_turn(change, tokens, ends, level, correlation) if verdict == "collapses" else None,
        distance=tuple(first),
        end=end,
        change=means,
        low=low,
        high=high,
    )


def _mean(
    change: Doubles, tokens: Doubles, level: Doubles, correlation: float, pieces: int
) -> tuple[float, float, float]:
    """Return the mean change of a piece, one of several, and its interval.

    The variance of a mean of m values of AR(1) is γ₀/m · ((1 + ρ)/(1 − ρ) − 2ρ (1 − ρᵐ) / (m (1 − ρ)²)).
    """
    p = (1 - _PROBABILITY) / 2 / pieces
    estimate = jackknife(ratio, np.stack([change, tokens]), batches(tokens, BATCHES))
    rest, count = 1 - correlation, change.size
    times = (1 + correlation) / rest - 2 * correlation * (1 - correlation**count) / (count * rest**2)
    variance = level * 3 / (rest * (3 - correlation))  # γ₀
    drift = float(np.sqrt(tokens**2 @ variance * times) / tokens.sum() * ndtri(1 - p))
    value = estimate.value
    return value, min(estimate.bound(p), value - drift), max(estimate.bound(1 - p), value + drift)


def _turn(change: Doubles, tokens: Doubles, ends: Ints, level: Doubles, correlation: float) -> Score:
    """Return at how many tokens a change turns from below 0 to above 0, with its interval.

    `ends`, `(n + 1,)`, are the distances at which the blocks begin, and the end. The change is taken to be
    nondecreasing, and its noise to be normal; at a jump the interval holds the truth more often than in 95 %.
    """
    fitted = _fitted(change, tokens) + _fitted(-change[::-1], tokens[::-1])[::-1]
    best = int(fitted.argmax())
    noise = _excess(change / tokens, level, correlation) * level[max(best - 1, 0)]
    near = np.flatnonzero(fitted[best] - fitted <= _TURNS * tokens.mean() * noise)
    # The change may turn within a block, and then fits at either end of it.
    chosen = best, max(near[0] - 1, 0), min(near[-1] + 1, change.size)
    value, low, high = (float(ends[k]) for k in chosen)
    return Score(value=value, unit="tokens", low=low, high=high)


def _fitted(nats: Doubles, weights: Doubles) -> Doubles:
    """Return the squares that the best nondecreasing fit explains in the first 0, 1, … n blocks, `(n + 1,)`.

    The fit is at most 0. Neighbours that decrease are pooled, and each level has the mean of its pool.
    """
    pools: list[tuple[float, float, float]] = []  # nats and weight of each, and the squares explained up to it
    explained = [0.0]
    for total, weight in zip(nats.tolist(), weights.tolist(), strict=True):
        while pools and pools[-1][0] * weight >= total * pools[-1][1]:
            before = pools.pop()
            total, weight = total + before[0], weight + before[1]  # noqa: PLW2901
        explained.append((pools[-1][2] if pools else 0.0) + min(total, 0) ** 2 / weight)
        pools.append((total, weight, explained[-1]))
    return np.array(explained)


def _autoregression(change: Doubles) -> tuple[Doubles, float]:
    """Return the level of the noise of a change near each block, `(n,)`, and the correlation of neighbours.

    Both are measured on second differences, which hold no trend. Those of single blocks give the level. Those at
    several lags give the autocorrelation, as if it were AR(1): P. Hall, I. Van Keilegom: Using difference-based methods
    for inference in nonparametric regression with time series errors. JRSS B 65, 2003.
    """
    smooth = median_filter(_squares(change, 1, 1), change.size // 4, mode="reflect") / _MEDIAN_OF_SQUARES
    level = np.pad(smooth, 1, mode="edge")  # a second difference is that of its middle block
    lags = [lag for lag in (1, 2, 4, 8, 16) if lag <= change.size // 8]
    correlations = np.linspace(0, 0.99, 100)
    at_lags = correlations[:, None] ** lags
    unlike = np.log([_relative(change, level, 1, lag) for lag in lags] / ((1 - at_lags) * (3 - at_lags)))
    return level, float(correlations[unlike.var(axis=1).argmin()])


def _excess(change: Doubles, level: Doubles, correlation: float) -> float:
    """Return how many times the long-run variance of a change is the level of its noise.

    It is that of joined blocks where the autocorrelation is filtered out (prewhitening: D. W. K. Andrews,
    J. C. Monahan: An improved heteroskedasticity and autocorrelation consistent covariance matrix estimator.
    Econometrica 60, 1992).
    """
    joined = change.size // _JOINED
    white = change[1:] - correlation * change[:-1]
    return _relative(white, level, joined, joined) / (1 - correlation) ** 2


def _relative(series: Doubles, level: Doubles, joined: int, lag: int) -> float:
    """Return the variance of a series by its second differences, as a multiple of a level along it."""
    squares = _squares(series, joined, lag)
    start = (level.size - squares.size) // 2
    return float(np.median(squares / level[start : start + squares.size])) / _MEDIAN_OF_SQUARES


def _squares(series: Doubles, joined: int, lag: int) -> Doubles:
    """Return squared second differences at a lag, of means of joined neighbours: of white noise its variance."""
    means: Doubles = sliding_window_view(series, joined).mean(axis=1)
    differences = means[: -2 * lag] - 2 * means[lag:-lag] + means[2 * lag :]
    return np.square(differences) * joined / 6 + np.finfo(float).eps  # no noise at all is no division by 0


def growth(document: Ints, distance: Doubles, norms: Doubles) -> Score | None:
    """Return by what factor a norm grows in a thousand tokens: the least-squares slope of its logarithm on distance.

    Positions, `(n,)`, are in the order of the text. The clusters of the interval are documents, or 8 batches of one.
    """
    some = norms > 0
    if np.count_nonzero(some) < _FEWEST:
        return None
    x, y, one = (distance[some] - distance[some].mean()) / 1000, np.log(norms[some]), np.ones(np.count_nonzero(some))
    try:
        several = document[0] != document[-1]
        clusters = clusters_of(document[some], one) if several else batches(one, BATCHES)
    except TooLittleTextError:
        return None
    slope = jackknife(_slope, np.stack([one, x, y, x * y, x * x]), clusters)
    value, low, high = (float(np.exp(slope.bound(p))) for p in (0.5, 0.025, 0.975))
    return Score(value=value, unit="× in 1,000 tokens", low=low, high=high)


def _slope(columns: Columns) -> Doubles:
    """Return the least-squares slope from n, Σx, Σy, Σxy and Σx², `(5, clusters)`."""
    n, x, y, xy, xx = columns
    return np.asarray((n * xy - x * y) / (n * xx - x * x))
