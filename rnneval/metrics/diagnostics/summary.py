"""The summary of one state of one layer over a text, from its sums and its covariance: `rnneval/pages/states.md`."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnneval.arrays import Doubles, Singles
from rnneval.metrics.diagnostics.sums import PEAKS, SCALARS
from rnneval.records.run import StateSummary

SATURATED = 0.97
LIMITS = {"h": SATURATED, "c": math.atanh(SATURATED)}
"""|h| and |c| beyond which a unit is saturated: tanh keeps h within ±1, and h is read from tanh(c)."""
DEAD = 1e-6
TWIN = 0.999  # |r| above which two units count as one


class Covariance:
    """A covariance over samples that come in chunks, merged as Chan, Golub and LeVeque (1983) merge variances."""

    def __init__(self, units: int) -> None:
        """Start without samples of so many units."""
        self.samples = 0
        self._mean = np.zeros(units)
        self._products = np.zeros((units, units))

    def add(self, chunk: NDArray[np.floating]) -> None:
        """Add samples `(n, units)`."""
        if not len(chunk):
            return
        near = chunk.mean(axis=0)  # in the chunk's own precision; its error is corrected below
        centred = chunk - near
        off = centred.sum(axis=0, dtype=np.float64) / len(chunk)
        mean = near.astype(np.float64) + off
        total = self.samples + len(chunk)
        moved = mean - self._mean
        self._products += centred.T @ centred
        self._products -= np.outer(off, off) * len(chunk)
        self._products += np.outer(moved, moved) * (self.samples * len(chunk) / total)
        self._mean += moved * (len(chunk) / total)
        self.samples = total

    def matrix(self) -> Doubles:
        """Return the covariance `(units, units)`, divided by the number of samples."""
        return self._products / max(1, self.samples)


def participation_ratio(covariance: Doubles) -> float:
    """Return (Σλ)² / Σλ² of the eigenvalues of a covariance; 0 if no unit varies.

    Example:
        >>> participation_ratio(np.eye(5)), participation_ratio(np.ones((5, 5)))
        (5.0, 1.0)
    """
    scale = float(np.abs(covariance).max(initial=0.0))
    if not scale > 0:
        return 0.0
    scaled = covariance / scale
    return float(np.trace(scaled) ** 2 / (scaled**2).sum())


def twins(covariance: Doubles, alive: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which units have a twin, `(units,)`: another unit with |r| above 0.999; dead units have none.

    Example:
        >>> twins(np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [0.0, 0.0, 1.0]]), np.array([True, True, True])).tolist()
        [True, True, False]
    """
    variance = np.diag(covariance)
    found = np.zeros(len(variance), np.bool_)
    at = np.flatnonzero(alive & (variance > 0))
    for rows in np.array_split(at, max(1, len(at) // 256)):  # a few rows at a time: no second matrix of all units
        r = np.abs(covariance[np.ix_(rows, at)]) / np.sqrt(np.outer(variance[rows], variance[at]))
        r[rows[:, None] == at[None, :]] = 0.0
        found[rows] = (r > TWIN).any(axis=1)
    return found


@dataclass(frozen=True, kw_only=True)
class Collected:
    """Sums, peaks and covariance of one state over a text."""

    additive: Doubles  # `(9 + 2 units,)`: the sums named in `SCALARS`, then by unit Σ(h − shift) and Σ(h − shift)²
    peaks: Doubles  # `(3,)`: the maxima named in `PEAKS`
    shift: Singles  # `(units,)`: a number near each unit's mean, which keeps the rounding of its variance small
    covariance: Covariance | None  # None where there are too many units to compare them
    longest: int  # positions of the longest document: its tokens but for the last, which is not read
    every: int  # distance between the positions from which `saturated`, `dead`, `mean` and `speed` are computed
    bounded: bool  # whether the state is bounded, so that `saturated` has a meaning
    call: int = 1  # tokens of the calls at whose ends alone it is known; 1 where it is known after every token

    @property
    def _of_units(self) -> Doubles:
        """Mean (h − shift) and mean (h − shift)² over the sampled positions, `(2, units)`."""
        return np.asarray(self.additive[len(SCALARS) :].reshape(2, -1) / self.additive[SCALARS.index("sampled")])

    @property
    def variances(self) -> Doubles:
        """Each unit's variance over the sampled positions, `(units,)`."""
        mean, square = self._of_units
        return np.asarray(np.maximum(square - mean**2, 0.0))

    @property
    def means(self) -> Doubles:
        """Each unit's mean over the sampled positions, `(units,)`."""
        return np.asarray(self.shift + self._of_units[0])


def summary(collected: Collected) -> StateSummary | None:
    """Return the summary; None if no position was seen, or a state was not finite."""
    scalar = dict(zip(SCALARS, collected.additive.tolist(), strict=False))
    peak = dict(zip(PEAKS, collected.peaks.tolist(), strict=True))
    n, sampled, units = scalar["positions"], scalar["sampled"], len(collected.shift)
    if not sampled > 0 or not np.isfinite(collected.additive).all() or not np.isfinite(collected.peaks).all():
        return None
    matrix = None if collected.covariance is None else collected.covariance.matrix()
    dead = collected.variances < DEAD
    norm, spread = scalar["norm"] / n, scalar["tt"] - scalar["t"] ** 2 / n
    growth = 0.0  # the least-squares slope of the norm on t, times the number of tokens of the longest document
    if spread > 0:
        slope = (scalar["t_norm"] - scalar["t"] * scalar["norm"] / n) / spread
        growth = slope * max(0, collected.longest - 1)
    return StateSummary(
        norm_mean=norm,
        norm_max=peak["norm"],
        rms=float(np.sqrt(scalar["square"] / (n * units))),
        mean=float(collected.means.mean()),
        lowest=-peak["minus_lowest"],
        highest=peak["highest"],
        saturated=scalar["saturated"] / (sampled * units) if collected.bounded else None,
        dead=float(dead.mean()),
        duplicated=None if matrix is None else float(twins(matrix, ~dead).mean()),
        participation_ratio=None if matrix is None else participation_ratio(matrix),
        speed=scalar["speed"] / sampled,
        drift=growth / norm if norm > 0 else 0.0,
        every=collected.every if collected.every > 1 else None,
        call=collected.call if collected.call > 1 else None,
    )
