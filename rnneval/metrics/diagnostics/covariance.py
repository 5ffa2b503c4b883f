"""The covariance of a state's units, from samples: how many directions it uses, and which units say the same.

The *participation ratio* is (Σλ)² / Σλ² of the eigenvalues λ of the covariance: from 1 (one direction) to the number of
units (all alike). It needs no eigenvalues: Σλ is the trace, and Σλ² the sum of all squared entries. Not the same as the
effective rank of O. Roy and M. Vetterli (EUSIPCO 2007), which is the exponential of an entropy. Source: P. Gao et al.:
A theory of multineuronal dimensionality, dynamics and measurement. bioRxiv 214262, 2017, equation 5.

A unit is *duplicated* where another one's correlation with it is beyond |r| > 0.999.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

TWIN = 0.999
"""|r| above which two units count as one."""


class Covariance:
    """A covariance over samples that come in chunks; merged as Chan, Golub and LeVeque (1983) merge variances."""

    def __init__(self, units: int, gram: Callable[[Any], Any] | None = None) -> None:
        """Begin with nothing.

        Args:
            units: How many.
            gram: Gives Xᵀ·X of `(n, units)`; NumPy's own by default, whose threads spin where others work.
        """
        self._gram = gram or (lambda chunk: chunk.T @ chunk)
        self.samples = 0
        self._mean = np.zeros(units)
        self._products = np.zeros((units, units))

    def add(self, chunk: NDArray[np.floating]) -> None:
        """Take samples `(n, units)`."""
        if not len(chunk):
            return
        near = chunk.mean(axis=0)  # in the chunk's own precision: what it is off by is put right below
        centred = chunk - near
        off = centred.sum(axis=0, dtype=np.float64) / len(chunk)
        mean = near.astype(np.float64) + off
        total = self.samples + len(chunk)
        moved = mean - self._mean
        self._products += self._gram(centred)
        self._products -= np.outer(off, off) * len(chunk)
        self._products += np.outer(moved, moved) * (self.samples * len(chunk) / total)
        self._mean += moved * (len(chunk) / total)
        self.samples = total

    def matrix(self) -> Doubles:
        """Give the covariance `(units, units)`, divided by the number of samples."""
        return self._products / max(1, self.samples)


def participation_ratio(covariance: Doubles) -> float:
    """Give (Σλ)² / Σλ²; 0 where nothing varies.

    Example:
        >>> participation_ratio(np.eye(5)), participation_ratio(np.ones((5, 5)))
        (5.0, 1.0)
    """
    scale = float(np.abs(covariance).max(initial=0.0))
    if not scale > 0:
        return 0.0
    scaled = covariance / scale
    return float(np.trace(scaled) ** 2 / (scaled**2).sum())


def twins(covariance: Doubles, alive: NDArray[np.bool_], threshold: float = TWIN) -> NDArray[np.bool_]:
    """Tell which units have a twin: another unit with |r| above the threshold; dead units have none.

    Example:
        >>> twins(np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [0.0, 0.0, 1.0]]), np.array([True, True, True])).tolist()
        [True, True, False]
    """
    variance = np.diag(covariance)
    usable = alive & (variance > 0)
    found = np.zeros(len(variance), np.bool_)
    at = np.flatnonzero(usable)
    for rows in np.array_split(at, max(1, len(at) // 256)):  # a few rows at a time: no second matrix of all units
        r = np.abs(covariance[np.ix_(rows, at)]) / np.sqrt(np.outer(variance[rows], variance[at]))
        r[rows[:, None] == at[None, :]] = 0.0
        found[rows] = (r > threshold).any(axis=1)
    return found
