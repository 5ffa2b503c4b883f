"""Histograms whose counts add up, and percentiles right to within one bin."""

import math

import numpy as np
from numpy.typing import NDArray

Edges = NDArray[np.float64]

BINS = 80


def edges_within(low: float, high: float) -> Edges:
    """Return equal bins between two bounds; values beyond them by rounding fall into the outer bins."""
    return np.linspace(low, high, BINS + 1)


def edges_without_bounds() -> Edges:
    """Return bins for values of any size: fine around zero and wider outwards (equal in asinh), up to ±1000."""
    reach = math.asinh(1_000.0)
    return np.sinh(np.linspace(-reach, reach, BINS + 1))


def counts(values: NDArray[np.floating], edges: Edges) -> NDArray[np.float64]:
    """Count values, of any shape, in bins [edge, next edge); `(bins,)`."""
    places = np.searchsorted(edges[1:-1], values.ravel(), side="right")
    return np.bincount(places, minlength=len(edges) - 1).astype(np.float64)


def percentile(counted: NDArray[np.float64], edges: Edges, share: float) -> float:
    """Return the middle of the bin in which a share of all values is reached.

    Example:
        >>> percentile(np.array([1.0, 2.0, 1.0]), np.array([0.0, 1.0, 2.0, 3.0]), 0.5)
        1.5
    """
    cumulated = np.cumsum(counted)
    place = int(np.searchsorted(cumulated, share * cumulated[-1], side="left"))
    place = min(place, len(counted) - 1)
    return float((edges[place] + edges[place + 1]) / 2)
