"""Score targets under logits in NumPy: loss in nats, top-1 confidence, rank."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.models.protocol import Predicted

_SLICE = 1 << 17  # logits of a slice: they stay in a core's own cache while all passes go over them
_NARROW = 128  # logits of a token: at most so many are reduced faster when tokens lie side by side, copy included


def score_logits(logits: NDArray[Any], targets: NDArray[np.integer[Any]]) -> Predicted:
    """Score targets `(rows, time)` under logits `(rows, time, V)`; arithmetic is in float64 for float64, else float32.

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
    with np.errstate(invalid="ignore"):  # ∞ − ∞, of a model that diverged: its loss is NaN, and is reported
        for start in range(0, len(flat), size):
            part = slice(start, start + size)
            nats[part], confidence[part], rank[part] = score_in_place(flat[part].astype(nats.dtype), wanted[part])
    return Predicted(nats.reshape(shape), confidence.reshape(shape), rank.reshape(shape))


def score_in_place(logits: NDArray[Any], targets: NDArray[np.integer[Any]]) -> Predicted:
    """Score targets `(n,)` under logits `(n, V)`, which may be overwritten.

    The loss is the log-softmax of the logits, never the log of a softmax. The rank is the number of ids before the
    target: those with a higher logit, and of equal ones those with a lower id, as in argmax.
    """
    narrow = logits.shape[1] <= _NARROW
    if narrow:
        logits = np.asfortranarray(logits)
    top, target = logits.max(axis=1), logits[np.arange(len(targets)), targets]
    rank = _row_sums(logits > target[:, None])
    equal = logits == target[:, None]
    if np.count_nonzero(equal) > len(targets):  # ties are rare
        equal &= np.arange(logits.shape[1]) < targets[:, None]
        rank += _row_sums(equal)
    logits -= top[:, None]
    powers = np.exp(logits, out=logits)
    # A product with ones sums long rows several times as fast as `sum`. Σ ≥ 1: its logarithm is ≥ 0.
    log_sum = np.log(powers.sum(axis=1) if narrow else powers @ np.ones(powers.shape[1], powers.dtype))
    return Predicted((top - target) + log_sum, np.exp(-log_sum).astype(np.float32), rank)


def _row_sums(marks: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Count the marks in each row; small types are summed faster, and twice as fast as by `np.count_nonzero`."""
    small = np.uint16 if marks.shape[1] < 1 << 16 else np.uint32
    counts: NDArray[np.int32] = marks.view(np.uint8).sum(axis=1, dtype=small).astype(np.int32)
    return counts
