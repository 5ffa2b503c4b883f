"""Clusters, the pieces of a text that count as one observation each, and the jackknife over them.

Losses of neighbouring tokens are correlated, and they drift with scene, speaker and article, with no end to the range
of it: blocks taken as independent give standard errors that are up to six times too small. So each document is one
observation. A text of a single document is cut into a few long batches, which outlast most of the drift (measured in
docs/statistics.md). Several documents that are too few for an interval are not cut: there is no interval.

A perplexity is compared by its logarithm, in nats: there +1 % is the same distance at any level, the error is
symmetric, and no loss is too large. The file of each metric says whether it has a logarithm and which way is worse.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from rnneval.metrics import Metric, Totals
from rnneval.records.run import Blocks

NATS = "nats"
"""The sum that every run has: total loss."""
UNITS = 4
"""Number of rows of units (tokens, characters, bytes, words) before the sums in the array of `columns_of`."""
ENOUGH_DOCUMENTS = 7.0
"""Effective number of documents that an interval needs: eight whose lengths differ by a third or so have it.

With normal means of documents the stated 5 % holds from 5 on, and is too cautious below (docs/statistics.md). Skewed
means ask for more, the more the fewer documents there are.
"""
BATCHES = 8
"""Batches of a contiguous text: t on so few groups stays valid whatever their variances (Bakirov and Székely 2005)."""
FLOOR_BLOCKS = 128
"""Blocks without which a batch does not hold two lengths of the drift, and there is no interval (32 kB)."""
DRIFT_BATCHES = 16
DRIFT_LIMIT = 1.5
"""Ratio of standard errors, 16 batches to blocks; a stationary series stays below 1.43 in 99 of 100 texts."""

Columns = NDArray[np.float64]
"""Sums of blocks, `(quantities, blocks)`: the first `UNITS` rows count units, then comes one row per sum."""
Statistic = Callable[[Columns], NDArray[np.float64]]
"""From sums `(quantities, n)` to values `(n,)`."""


class TooLittleTextError(ValueError):
    """Too little text for any interval; the message says how much there is and how much is needed."""


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """The division of the blocks into clusters, each of which is one observation."""

    kind: Literal["documents", "batches"]
    labels: NDArray[np.intp]
    """The cluster of each block, from 0: `(blocks,)`."""
    units: NDArray[np.float64]
    """Units (tokens, or bytes across tokenisations) in each cluster: `(clusters,)`."""
    block_bytes: int

    @property
    def count(self) -> int:
        """Number of clusters."""
        return self.units.size

    @property
    def effective(self) -> float:
        """Effective number of clusters, (Σn)² / Σn²: as many equal clusters would weigh as evenly as these."""
        return effective_number(self.units)

    @property
    def largest_share(self) -> float:
        """Share of the units that the largest cluster holds."""
        return float(self.units.max() / self.units.sum())

    @property
    def method(self) -> str:
        """The method, as records say it."""
        if self.kind == "documents":
            return f"t, {self.count} documents"
        return f"t, {self.count} batches of {self.block_bytes}-byte blocks"

    @property
    def claim(self) -> str:
        """Claim of an interval from these clusters: the text that it is about."""
        return "text like these documents" if self.kind == "documents" else "this passage"


def effective_number(units: NDArray[np.float64]) -> float:
    """Return (Σn)² / Σn².

    >>> effective_number(np.array([10.0, 10.0, 10.0]))
    3.0
    >>> round(effective_number(np.array([100.0, 1.0, 1.0])), 2)
    1.04
    """
    return float(units.sum() ** 2 / np.square(units).sum())


def clusters_of(document: NDArray[np.intp], units: NDArray[np.float64], block_bytes: int = 256) -> Clusters:
    """Choose the clusters: whole documents, or 8 batches of a text that is a single document.

    Several documents are never cut: parts of documents counted as independent miss the truth in 21 to 36 % of texts
    where 5 % is claimed.

    Args:
        document: The document of each block: `(blocks,)`.
        units: Tokens (or bytes) of each block, all above 0: `(blocks,)`.
        block_bytes: The nominal size of a block, for the method's name.

    Raises:
        TooLittleTextError: several documents with an effective number below 7, or one of fewer than 128 blocks.
    """
    labels = np.unique(document, return_inverse=True)[1].astype(np.intp).reshape(-1)
    of_documents = np.bincount(labels, weights=units).astype(np.float64)
    number = effective_number(of_documents) if units.size else 0.0
    if number >= ENOUGH_DOCUMENTS:
        return Clusters(kind="documents", labels=labels, units=of_documents, block_bytes=block_bytes)
    if of_documents.size > 1 or units.size < FLOOR_BLOCKS:
        raise TooLittleTextError(_too_little(units.size, of_documents, block_bytes))
    return batches(units, BATCHES, block_bytes)


def batches(units: NDArray[np.float64], count: int, block_bytes: int = 256) -> Clusters:
    """Cut the blocks into runs of consecutive ones, as even as `numpy.array_split` makes them; no block is dropped."""
    sizes = [part.size for part in np.array_split(units, count)]
    labels = np.repeat(np.arange(count, dtype=np.intp), sizes)
    return Clusters(
        kind="batches",
        labels=labels,
        units=np.bincount(labels, weights=units, minlength=count).astype(np.float64),
        block_bytes=block_bytes,
    )


def block_size(total_bytes: int, most: int = 4096) -> int:
    """Return the nominal size of the blocks of a text: 256 bytes, doubled until at most `most` blocks are needed.

    >>> block_size(100_000), block_size(100_000, 256)
    (256, 512)
    """
    size = 256
    while total_bytes / size > most:
        size *= 2
    return size


def _too_little(blocks: int, of_documents: NDArray[np.float64], block_bytes: int) -> str:
    kilobytes = FLOOR_BLOCKS * block_bytes // 1024
    count = of_documents.size
    seen = f"{blocks} {_plural('block', blocks)} of {block_bytes} bytes in {count} {_plural('document', count)}"
    passage = f"{FLOOR_BLOCKS} blocks ({kilobytes} kB)"
    if count < 2:
        return (
            f"{seen}: too little text for an interval, which needs {passage}, or 8 documents of about the same length"
        )
    largest = 100 * of_documents.max() / of_documents.sum()
    return (
        f"{seen}, the largest with {largest:.0f} % of the text, worth {effective_number(of_documents):.1f} of equal "
        f"length: too few documents for an interval, and they are not cut into parts; needed is a worth of "
        f"{ENOUGH_DOCUMENTS:.0f} (8 documents of about the same length), or one passage (--documents one) of {passage}"
    )


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def columns_of(blocks: Blocks, sum_names: tuple[str, ...]) -> Columns:
    """Return a record's blocks as an array: the units, then the sums that are named, `(quantities, blocks)`.

    Blocks without a scored token (a document of one token) are columns of zeros.
    """
    units = (blocks.tokens, blocks.characters, blocks.scored_bytes, blocks.words)
    return np.array([*units, *(blocks.sums[name] for name in sum_names)], dtype=np.float64)


def statistic_of(measured: Metric, sum_names: tuple[str, ...], *, lossless: bool) -> Statistic:
    """Return the function from sums `(quantities, n)`, in rows as of `columns_of`, to values on the scale `(n,)`."""

    def forward(tokens: float, characters: float, scored_bytes: float, words: float, *sums: float) -> float:
        return measured.forward(
            Totals(
                tokens=tokens,
                characters=characters,
                bytes=scored_bytes,
                words=words,
                lossless=lossless,
                sums=dict(zip(sum_names, sums, strict=True)),
            )
        )

    return lambda columns: np.array([forward(*column) for column in columns.T.tolist()])


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A statistic of the whole text, with its error by t on few clusters."""

    value: float
    se: float
    df: float
    without: NDArray[np.float64]
    """The statistic without each cluster in turn: `(clusters,)`."""

    def bound(self, p: float) -> float:
        """Return the value that lies above the truth with probability `p`: 0.95 for `high`, 0.05 for `low`."""
        return self.value + float(stdtrit(self.df, p)) * self.se if self.se else self.value


def ratio(columns: Columns) -> NDArray[np.float64]:
    """Return first row / second row: the statistic of every score that is a mean over units."""
    return np.asarray(columns[0] / columns[1])


def jackknife(statistic: Statistic, columns: Columns, clusters: Clusters) -> Estimate:
    """Estimate a statistic and its standard error by leaving out one cluster after the other.

    SE² = (q − 1)/q · Σ (δ₍ⱼ₎ − mean δ₍·₎)², ν = q_e − 1.

    Three clusters of one unit with sums 1, 2, 6: the mean is 3, its standard error √(7/3).

    >>> three = Clusters(kind="documents", labels=np.arange(3), units=np.ones(3), block_bytes=256)
    >>> estimate = jackknife(ratio, np.array([[1.0, 2.0, 6.0], [1.0, 1.0, 1.0]]), three)
    >>> estimate.value, round(estimate.se**2, 6), estimate.df
    (3.0, 2.333333, 2.0)

    Args:
        statistic: From sums `(quantities, n)` to values `(n,)`.
        columns: The sums of each block: `(quantities, blocks)`.
        clusters: Which blocks are left out together.
    """
    count = clusters.count
    of_clusters = np.stack([np.bincount(clusters.labels, weights=row, minlength=count) for row in columns])
    total = of_clusters.sum(axis=1, keepdims=True)
    values = statistic(np.concatenate([total, total - of_clusters], axis=1))
    without = values[1:]
    spread = float(np.square(without - without.mean()).sum())
    return Estimate(
        value=float(values[0]),
        se=float(np.sqrt((count - 1) / count * spread)),
        df=clusters.effective - 1,
        without=without,
    )


def drift(statistic: Statistic, columns: Columns, units: NDArray[np.float64]) -> float:
    """Return the ratio of the standard error from 16 batches to that from blocks taken as independent.

    Near 1 where blocks do not depend on each other; 0 where there are too few blocks to see, or no error at all.
    """
    if units.size < 2 * DRIFT_BATCHES:
        return 0.0
    alone = batches(units, units.size)
    independent = jackknife(statistic, columns, alone).se
    return jackknife(statistic, columns, batches(units, DRIFT_BATCHES)).se / independent if independent else 0.0


def drifts(statistic: Statistic, columns: Columns, units: NDArray[np.float64]) -> bool:
    """Return whether the losses drift along the text, so that an interval holds for this passage only."""
    return drift(statistic, columns, units) > DRIFT_LIMIT
