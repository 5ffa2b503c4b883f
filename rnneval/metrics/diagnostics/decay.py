"""Decay of the gradient of one token's loss by the number of tokens back."""

import numpy as np
from numpy.typing import NDArray

from rnneval.records.run import ThroughTime

GONE = 0.01  # the share of its first norm below which a gradient counts as gone


def decay_of(norms: NDArray[np.float64]) -> ThroughTime | None:
    """Summarise norms `(anchors, lags)`, lag 0 first, by lag; None where no lag has a gradient to compare with."""
    acting = np.flatnonzero((norms > 0).all(axis=0))
    if not np.isfinite(norms).all() or not len(acting):
        return None
    base = int(acting[0])
    ratio = norms / norms[:, base, None]
    low, median, high = np.percentile(ratio, [2.5, 50, 97.5], axis=0)
    below = median < GONE
    gone = int(np.flatnonzero(~below)[-1]) + 1 if below[-1] else None
    last = gone if gone is not None else len(median) - 1
    steps = max(1, last - base)
    return ThroughTime(
        median=tuple(median.tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        band=0.95,
        base=base,
        decay=float(median[last] ** (1 / steps)) if last > base else 1.0,
        gone=gone,
    )
