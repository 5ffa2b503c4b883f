"""KL divergence of two predictions from their logits, exact where they differ by rounding alone."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnneval.arrays import Doubles

_SERIES = 0.02  # below this |d|, e^d − 1 − d is a series: the difference would lose digits
_FAR = 30.0  # logits that move by more: the logarithm of a softmax is exact enough, and no exponent overflows
_AT_ONCE = 1 << 16  # logits that are compared at once


class Compared(NamedTuple):
    """Two predictions at each of n positions, `(n,)` each."""

    kl: NDArray[np.floating[Any]]  # KL(reference ‖ candidate) in nats; ∞ or NaN if a logit is not finite
    nats: NDArray[np.floating[Any]]  # loss of the reference
    change: NDArray[np.floating[Any]]  # loss of the candidate − loss of the reference
    lost: NDArray[np.floating[Any]]  # margin of the reference's first choice over the candidate's; 0 if they agree


def compare_logits(reference: NDArray[Any], candidate: NDArray[Any], targets: NDArray[np.integer[Any]]) -> Compared:
    """Compare logits `(n, V)` of the tokens `(n,)`; all arithmetic is in float64.

    >>> compare_logits(np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]]), np.array([0])).kl.round(6).tolist()
    [0.143841]
    """
    size = max(1, _AT_ONCE // reference.shape[1])
    parts = [
        _compared(
            reference[start : start + size].astype(np.float64),
            candidate[start : start + size].astype(np.float64),
            targets[start : start + size],
        )
        for start in range(0, len(targets), size)
    ]
    return Compared(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _compared(reference: Doubles, candidate: Doubles, targets: NDArray[np.integer[Any]]) -> Compared:
    rows = np.arange(len(targets))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        log_p = _log_softmax(reference)
        p = np.exp(log_p)
        d = log_ratio(reference, candidate, log_p, p)
        top, other = reference.argmax(axis=1), candidate.argmax(axis=1)
        lost = log_p[rows, top] - log_p[rows, other]
        terms = np.where(p > 0, p * _excess(d), np.exp(d + log_p))
        terms[np.isneginf(reference)] = 0.0  # an id that is ruled out: its mass in the candidate is added below
        ruled_out = (
            np.where(np.isneginf(reference), np.exp(_log_softmax(candidate)), 0.0) if np.isinf(reference).any() else 0
        )
        return Compared((terms + ruled_out).sum(axis=1), -log_p[rows, targets], -d[rows, targets], lost)


def log_ratio(reference: Doubles, candidate: Doubles, log_p: Doubles, p: Doubles) -> Doubles:
    """Return d = log q − log p `(n, V)`, of which a small one has as many right digits as a large one.

    With δ, the change of the logits against that of the first choice, d = δ − log Σ p·e^δ, and the sum is near 1.
    """
    rows = np.arange(len(reference))
    delta = candidate - reference
    delta -= delta[rows, reference.argmax(axis=1)][:, None]
    d: Doubles = delta - np.log1p((p * np.expm1(np.minimum(delta, _FAR))).sum(axis=1))[:, None]
    far = ~(np.abs(delta).max(axis=1) <= _FAR)
    if far.any():
        d[far] = _log_softmax(candidate[far]) - log_p[far]
    return d


def _excess(d: Doubles) -> Doubles:
    """Return e^d − 1 − d, never below 0."""
    series = np.ones_like(d)
    for n in range(9, 2, -1):
        series = 1 + d / n * series
    return np.where(np.abs(d) < _SERIES, d * d / 2 * series, np.expm1(d) - d)


def _log_softmax(logits: Doubles) -> Doubles:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
