"""The jackknife over clusters: a value, its standard error, and what each cluster does to it.

With equal clusters and a ratio of sums this is the t-test on the clusters' means, exactly. With unequal ones, the
degrees of freedom come from the effective number of clusters (docs/statistics.md has the measurements).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from rnneval.gates.clusters import DRIFT_BATCHES, DRIFT_LIMIT, Clusters, Columns, Statistic, batches


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A statistic of the whole text, with its error by t on few clusters."""

    value: float
    se: float
    df: float
    without: NDArray[np.float64]
    """The statistic without each cluster in turn: `(clusters,)`."""

    def bound(self, p: float) -> float:
        """Give the value that lies above the truth with probability `p`: 0.95 for `high`, 0.05 for `low`."""
        return self.value + float(stdtrit(self.df, p)) * self.se if self.se else self.value


def ratio(columns: Columns) -> NDArray[np.float64]:
    """Give Σ first row / Σ second row: the statistic of every score that is a mean over units."""
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
    """Give the ratio of the standard error from 16 batches to that from blocks taken as independent.

    Near 1 where blocks do not depend on each other; 0 where there are too few blocks to see, or no error at all.
    """
    if units.size < 2 * DRIFT_BATCHES:
        return 0.0
    alone = batches(units, units.size)
    independent = jackknife(statistic, columns, alone).se
    return jackknife(statistic, columns, batches(units, DRIFT_BATCHES)).se / independent if independent else 0.0


def drifts(statistic: Statistic, columns: Columns, units: NDArray[np.float64]) -> bool:
    """Tell whether the losses drift along the text, so that an interval holds for this passage only."""
    return drift(statistic, columns, units) > DRIFT_LIMIT
