"""Intervals by the jackknife over clusters, the pieces of a text that count as one observation each.

Losses drift with scene, speaker and article: blocks taken as independent give standard errors up to six times too
small. So each document is one observation. A single document is divided into a few long batches, which outlast most of
the drift; several documents that are too few for an interval are not: their parts, counted as independent, miss the
truth in 21 to 36 % of texts where 5 % is claimed (docs/evidence/statistics.md). A perplexity is compared by its
logarithm: there +1 % is the same at any level.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from rnneval.arrays import Doubles
from rnneval.metrics import Metric, Totals, UnavailableError, all_metrics
from rnneval.records.run import Blocks, Interval, Score, Warning  # noqa: A004 - the record's own word

NATS = "nats"  # the sum that every run has: total loss
UNITS = 4  # number of rows of units (tokens, characters, bytes, words) before the sums in the array of `columns_of`
ENOUGH_DOCUMENTS = 7.0
"""Effective number of documents that an interval needs: eight whose lengths differ by a third or so have it."""
BATCHES = 8
"""Batches of a contiguous text: t on so few groups stays valid whatever their variances (Bakirov and Székely 2005)."""
FLOOR_BLOCKS = 128
"""Fewer blocks (32 kB) give no interval: a batch would be shorter than twice the length of the drift."""
DRIFT_BATCHES = 16
DRIFT_LIMIT = 1.5
"""Ratio of standard errors, 16 batches to blocks; a stationary series stays below 1.43 in 99 of 100 texts."""

Columns = Doubles
"""Sums of blocks, `(quantities, blocks)`: the first `UNITS` rows count units, then comes one row per sum."""
Statistic = Callable[[Columns], Doubles]  # from sums `(quantities, n)` to values `(n,)`
DRIFTS = "losses drift along this text: {} this passage; hold out pieces from all over the text, or whole documents"


class TooLittleTextError(ValueError):
    """Too little text for any interval; the message says how much there is and how much is needed."""


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """The division of the blocks into clusters, each of which is one observation."""

    kind: Literal["documents", "batches"]
    labels: NDArray[np.intp]  # the cluster of each block, from 0: `(blocks,)`
    units: Doubles  # units (tokens, or bytes across tokenisations) in each cluster: `(clusters,)`
    block_bytes: int

    @property
    def count(self) -> int:
        """Number of clusters."""
        return self.units.size

    @property
    def effective(self) -> float:
        """Effective number of clusters: as many equal clusters would weigh as evenly as these."""
        return effective_number(self.units)

    @property
    def method(self) -> str:
        """The method, as records say it."""
        of_blocks = f" of {self.block_bytes}-byte blocks" if self.kind == "batches" else ""
        return f"t, {self.count} {self.kind}{of_blocks}"

    @property
    def claim(self) -> str:
        """The text that an interval from these clusters is about."""
        return "text like these documents" if self.kind == "documents" else "this passage"


def effective_number(units: Doubles) -> float:
    """Return (Σn)² / Σn²: 3 for three equal clusters, 1.04 for 100, 1 and 1."""
    return float(units.sum() ** 2 / np.square(units).sum())


def clusters_of(document: NDArray[np.intp], units: Doubles, block_bytes: int = 256) -> Clusters:
    """Choose the clusters: whole documents, or 8 batches of a text that is a single document.

    `document` and `units`, its tokens or bytes above 0, are those of each block, `(blocks,)`.
    """
    labels = np.unique(document, return_inverse=True)[1].astype(np.intp).reshape(-1)
    of_documents = np.bincount(labels, weights=units).astype(np.float64)
    count, number = of_documents.size, effective_number(of_documents) if units.size else 0.0
    if number >= ENOUGH_DOCUMENTS:
        return Clusters(kind="documents", labels=labels, units=of_documents, block_bytes=block_bytes)
    if count <= 1 and units.size >= FLOOR_BLOCKS:
        return batches(units, BATCHES, block_bytes)
    size = f"{units.size} block{'s' * (units.size != 1)} of {block_bytes} bytes in {count} document{'s' * (count != 1)}"
    least = f"{FLOOR_BLOCKS} blocks ({FLOOR_BLOCKS * block_bytes // 1024} kB)"
    eight = "8 documents of about the same length"
    if count < 2:
        raise TooLittleTextError(f"{size}: too little text for an interval, which needs {least}, or {eight}")
    largest = 100 * of_documents.max() / of_documents.sum()
    raise TooLittleTextError(
        f"{size}, the largest with {largest:.0f} % of the text, worth {number:.1f} of equal length: too few documents "
        f"for an interval, and they are not cut into parts; needed is a worth of {ENOUGH_DOCUMENTS:.0f} ({eight}), or "
        f"one passage (--documents one) of {least}"
    )


def batches(units: Doubles, count: int, block_bytes: int = 256) -> Clusters:
    """Divide the blocks into runs of consecutive ones, as even as `numpy.array_split` makes them; none is dropped."""
    sizes = [part.size for part in np.array_split(units, count)]
    labels = np.repeat(np.arange(count, dtype=np.intp), sizes)
    of_batches = np.bincount(labels, weights=units, minlength=count).astype(np.float64)
    return Clusters(kind="batches", labels=labels, units=of_batches, block_bytes=block_bytes)


def block_size(total_bytes: int) -> int:
    """Return the nominal size of the blocks of a text: 256 bytes, doubled until 4,096 blocks suffice."""
    size = 256
    while total_bytes > 4096 * size:
        size *= 2
    return size


def columns_of(blocks: Blocks, sum_names: tuple[str, ...]) -> Columns:
    """Return a record's blocks as an array: the units, then the sums that are named, `(quantities, blocks)`."""
    units = (blocks.tokens, blocks.characters, blocks.scored_bytes, blocks.words)
    return np.array([*units, *(blocks.sums[name] for name in sum_names)], dtype=np.float64)


def statistic_of(measured: Metric, sum_names: tuple[str, ...], *, lossless: bool) -> Statistic:
    """Return the function from sums `(quantities, n)`, in rows as of `columns_of`, to values on the scale `(n,)`."""

    def value(*column: float) -> float:
        units = dict(zip(("tokens", "characters", "bytes", "words"), column, strict=False))
        named = dict(zip(sum_names, column[UNITS:], strict=True))
        return measured.forward(Totals(**units, lossless=lossless, sums=named))

    return lambda columns: np.array([value(*column) for column in columns.T.tolist()])


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A statistic of the whole text, with its error by t on few clusters."""

    value: float = 0.0
    se: float = 0.0  # standard error, 0 if there is none: without it the value is what it is
    df: float = 0.0  # degrees of freedom of the standard error

    def bound(self, p: float) -> float:
        """Return the value that lies above the truth with probability `p`: 0.95 for `high`, 0.05 for `low`."""
        return self.value + float(stdtrit(self.df, p)) * self.se if self.se else self.value


def ratio(columns: Columns) -> Doubles:
    """Return first row / second row: the statistic of every score that is a mean over units."""
    return np.asarray(columns[0] / columns[1])


def jackknife(statistic: Statistic, columns: Columns, clusters: Clusters) -> Estimate:
    """Estimate a statistic and its standard error by leaving out one cluster after the other.

    SE² = (q − 1)/q · Σ (δ₍ⱼ₎ − mean δ₍·₎)², ν = q_e − 1, for q clusters, whose effective number is q_e.

    Three clusters of one unit with sums 1, 2, 6: the mean is 3, its standard error √(7/3).

    >>> three = Clusters(kind="documents", labels=np.arange(3), units=np.ones(3), block_bytes=256)
    >>> estimate = jackknife(ratio, np.array([[1.0, 2.0, 6.0], [1.0, 1.0, 1.0]]), three)
    >>> estimate.value, round(estimate.se**2, 6), estimate.df
    (3.0, 2.333333, 2.0)
    """
    count = clusters.count
    of_clusters = np.stack([np.bincount(clusters.labels, weights=row, minlength=count) for row in columns])
    total = of_clusters.sum(axis=1, keepdims=True)
    values = statistic(np.concatenate([total, total - of_clusters], axis=1))
    spread = float(np.square(values[1:] - values[1:].mean()).sum())
    return Estimate(value=float(values[0]), se=math.sqrt((count - 1) / count * spread), df=clusters.effective - 1)


def drifts(losses: Columns) -> bool:
    """Return whether losses (nats and units of each block, `(2, blocks)`) drift along a text, as far as it shows."""
    units = losses[1]
    if units.size < 2 * DRIFT_BATCHES:
        return False
    independent = jackknife(ratio, losses, batches(units, units.size)).se
    return independent > 0 and jackknife(ratio, losses, batches(units, DRIFT_BATCHES)).se > DRIFT_LIMIT * independent


class ScoreIntervals(NamedTuple):
    """The intervals of all scores that have one, how they were made, and what a reader should know."""

    bounds: Mapping[str, tuple[float, float]]  # low and high by metric; empty where there is too little text
    interval: Interval | None  # the part of the record that tells how intervals were made; None if there is no interval
    warnings: tuple[Warning, ...]  # `too-little-text`: no interval, and why; `drift`: it holds for this passage only


def score_intervals(blocks: Blocks, *, lossless: bool) -> ScoreIntervals:
    """Return low and high of every score that can be computed from the sums of the blocks."""
    names = tuple(sorted(blocks.sums))
    try:
        columns, clusters = _clustered(blocks, columns_of(blocks, names))
    except TooLittleTextError as reason:
        warning = Warning(code="too-little-text", message=f"no intervals: {reason}")
        return ScoreIntervals(bounds={}, interval=None, warnings=(warning,))
    bounds: dict[str, tuple[float, float]] = {}
    for measured in all_metrics():
        with suppress(UnavailableError):
            estimate = jackknife(statistic_of(measured, names, lossless=lossless), columns, clusters)
            if (ends := bounds_of(measured, estimate)) is not None:
                bounds[measured.name] = ends
    drifting = clusters.kind == "batches" and NATS in names and drifts(columns[[UNITS + names.index(NATS), 0]])
    warning = Warning(code="drift", message=DRIFTS.format("the intervals hold for"))
    count, df = clusters.count, clusters.effective - 1
    interval = Interval(method=clusters.method, clusters=count, df=df, claim=clusters.claim)
    return ScoreIntervals(bounds=bounds, interval=interval, warnings=(warning,) if drifting else ())


def _clustered(blocks: Blocks, columns: Columns) -> tuple[Columns, Clusters]:
    """Return the columns of the blocks that have a scored token, and their clusters."""
    scored = np.array(blocks.tokens) > 0
    document, units = np.array(blocks.document, dtype=np.intp)[scored], np.array(blocks.tokens, np.float64)[scored]
    return columns[:, scored], clusters_of(document, units, block_size(blocks.bytes[-1] if blocks.bytes else 0))


def bounds_of(measured: Metric, estimate: Estimate) -> tuple[float, float] | None:
    """Return the 95 % interval in the metric's unit, if any: from 0 to a one-sided bound if it is biased upwards."""
    if measured.biased_upwards:
        low, high = 0.0, measured.back(estimate.bound(0.95))
    else:
        low, high = measured.back(estimate.bound(0.025)), measured.back(estimate.bound(0.975))
    if measured.unit == "share":
        low, high = max(low, 0.0), min(high, 1.0)
    return (low, high) if np.isfinite([low, high]).all() else None


def change_of_loss(baseline: Blocks, candidate: Blocks) -> Score:
    """Return the paired change of the loss, candidate − baseline, of two readings of the same tokens, all finite."""
    return mean_of(baseline, np.subtract(candidate.sums[NATS], baseline.sums[NATS]), "nats a token")


def mean_of(blocks: Blocks, sums: ArrayLike, unit: str) -> Score:
    """Return the mean over tokens of what has these sums in the blocks, with its interval where there is one."""
    columns = np.array([sums, blocks.tokens], dtype=np.float64)
    estimate, _ = over_clusters(blocks, columns, ratio)
    if estimate is None:
        return Score(value=float(ratio(columns.sum(axis=1))), unit=unit)
    return Score(value=estimate.value, unit=unit, low=estimate.bound(0.025), high=estimate.bound(0.975))


def over_clusters(blocks: Blocks, columns: Columns, statistic: Statistic) -> tuple[Estimate | None, Clusters | None]:
    """Estimate a statistic of sums `(quantities, blocks)` over the clusters of a text; None if it has too little."""
    try:
        scored, clusters = _clustered(blocks, columns)
    except TooLittleTextError:
        return None, None
    return jackknife(statistic, scored, clusters), clusters
