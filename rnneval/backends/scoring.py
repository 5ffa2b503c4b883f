"""Score targets under logits in NumPy: loss in nats, top-1 confidence, rank."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.backends.protocol import Predicted

_SLICE = 1 << 17  # logits of a slice: they stay in a core's own cache while all passes go over them


def score_logits(logits: NDArray[Any], targets: NDArray[np.integer[Any]]) -> Predicted:
    """Score targets `(rows, time)` under logits `(rows, time, V)`.

    The loss is the log-softmax of the logits, never the log of a softmax. The rank is the number of ids before the
    target: those with a higher logit, and of equal ones those with a lower id, as in argmax. Arithmetic is in float64
    for float64 logits, else in float32.

    Example:
        >>> scored = score_logits(np.log([[[1.0, 2.0, 1.0]]]), np.array([[2]]))
        >>> scored.nats.round(4).tolist(), scored.confidence.tolist(), scored.rank.tolist()
        ([[1.3863]], [[0.5]], [[2]])
    """
    shape, width = logits.shape[:-1], logits.shape[-1]
    flat, wanted = logits.reshape(-1, width), targets.reshape(-1)
    nats: NDArray[Any] = np.empty(len(flat), np.float64 if logits.dtype == np.float64 else np.float32)
    confidence, rank = np.empty(len(flat), np.float32), np.empty(len(flat), np.int32)
    size = max(1, _SLICE // width)
    for start in range(0, len(flat), size):
        part = slice(start, start + size)
        nats[part], confidence[part], rank[part] = _scored(flat[part].astype(nats.dtype, copy=False), wanted[part])
    return Predicted(nats.reshape(shape), confidence.reshape(shape), rank.reshape(shape))


def _scored(logits: NDArray[Any], targets: NDArray[np.integer[Any]]) -> tuple[NDArray[Any], ...]:
    """Score targets `(n,)` under logits `(n, V)`."""
    target = np.take_along_axis(logits, targets[:, None], axis=1)
    top = logits.max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # ∞ − ∞, of a model that diverged: its loss is NaN, and is reported
        shifted = logits - top
    log_sum = np.log(np.exp(shifted, out=shifted).sum(axis=1))  # Σ ≥ 1: its logarithm is ≥ 0
    rank = _counted(logits > target)
    tied = _counted(logits >= target) > rank + 1  # rare, so only then looked at
    if tied.any():
        earlier = np.arange(logits.shape[1]) < targets[tied, None]
        rank[tied] += _counted((logits[tied] == target[tied]) & earlier)
    with np.errstate(invalid="ignore"):
        nats = (top - target)[:, 0] + log_sum
    return nats, np.exp(-log_sum), rank


def _counted(places: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Count the true values of each row, twice as fast as `np.count_nonzero`."""
    counts: NDArray[np.int32] = places.view(np.uint8).sum(axis=1, dtype=np.int32)
    return counts
