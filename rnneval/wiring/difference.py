"""The distance of two readings of the same ids, measured against what the context changes in the predictions.

A difference is divided by the *context spread* of the logits: how far a logit typically moves from position to
position. The size of the logits says nothing: a mask of −1e9, or a bias that was learned from frequencies, is large and
constant. Two readings that should agree may differ by the rounding of the model's own arithmetic, its *noise*, which is
measured by moving its numbers by one unit in the last place.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnneval.records.wiring import TestResult

EPSILON = 2.0**-23  # the relative distance of neighbouring numbers of float32
HALF_TYPES = {"bfloat16": 2.0**-7, "float16": 2.0**-10}  # the same for the types of half precision
ASSUMED_NOISE = 1e-5
"""Least noise of a model whose weights cannot be moved: three times the largest that was seen in right models."""
_SMALLEST_TOLERANCE = 1e-5
_MOST_NOISE = 1e-4
_TIMES_NOISE, _TIMES_HALF_NOISE = 10.0, 2.0
MOST_TOLERANCE = _TIMES_NOISE * _MOST_NOISE
"""A larger one would hide faults."""
_LEAST_PROBABILITY = 1e-30
_ROUNDING = 4  # units in the last place that a sum may differ by when it is made in another order

Logits = NDArray[np.float64]  # (rows, positions, V)


def as_logits(outputs: Sequence[NDArray[np.generic]]) -> list[Logits]:
    """Return the outputs of calls, `(…, V)` each, as logits of float64; probabilities become their logarithms.

    They are probabilities if those of every call are: a few logits may add up to 1 by chance.

    Example:
        >>> as_logits([np.array([[0.25, 0.75]])])[0].round(3).tolist(), as_logits([np.array([[0, 2]])])[0].tolist()
        ([[-1.386, -0.288]], [[0.0, 2.0]])
    """
    logits = [output.astype(np.float64) for output in outputs]
    wide = all(each.shape[-1] > 1 and (each >= 0).all() for each in logits)
    if wide and all(np.allclose(each.sum(axis=-1), 1, atol=1e-2) for each in logits):
        return [np.log(np.maximum(each, _LEAST_PROBABILITY)) for each in logits]
    return logits


def context_spread(logits: Logits) -> float:
    """Return how far a logit typically moves with the context, after the constants of each id are taken out.

    Ids that do not move (masked ones) do not count, and neither does what moves all ids alike. Where most logits stay
    as they are, as in a model that skips tokens, those that move count.

    Example:
        >>> context_spread(np.array([[[1.0, 4.0, -1e9], [3.0, 2.0, -1e9]]])), context_spread(np.zeros((1, 2, 3)))
        (2.0, 0.0)
    """
    moving = moving_ids(logits)
    if not moving.any():
        return 0.0
    flat = logits[..., moving].reshape(-1, int(moving.sum()))
    return 2 * float(_typical(np.abs(_centred(flat - np.median(flat, axis=0))).ravel()))


def moving_ids(logits: Logits) -> NDArray[np.bool_]:
    """Return the ids `(V,)` whose logits move with the context by more than the rounding of their level."""
    flat = logits.reshape(-1, logits.shape[-1])
    finite = np.isfinite(flat).all(axis=0)
    flat = np.where(finite, flat, 0.0)
    level = np.median(flat, axis=0)
    return np.asarray(_typical(np.abs(flat - level)) > 8 * EPSILON * np.abs(level), np.bool_)


def _typical(movements: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median along the first axis; where it is 0, that of the movements that are not 0, or 0."""
    ordered = np.sort(movements, axis=0)
    still = (ordered == 0).sum(axis=0)
    among_moved = np.minimum((still + len(ordered)) // 2, len(ordered) - 1)
    typical = np.median(ordered, axis=0)
    return np.where(typical > 0, typical, np.take_along_axis(ordered, among_moved[None], axis=0)[0])


def differences(a: Logits, b: Logits, spread: float, *, epsilon: float = EPSILON) -> NDArray[np.float64]:
    """Return the largest difference of each row and position, in units of the context spread.

    Numbers that differ by rounding alone (four units in the last place of a type with this epsilon) count as equal, and
    so do the same infinities, the logits of ids that are ruled out. Other numbers that are not finite, and other
    shapes, differ infinitely.

    Example:
        >>> a, b = np.array([[[0.0, 1.0, 5.0]]]), np.array([[[0.0, 1.0, 6.0]]])
        >>> differences(a, b, 2.0).tolist(), differences(a, a + 3, 2.0).tolist()  # all ids alike: the same prediction
        ([[0.5]], [[0.0]])
    """
    if a.shape != b.shape:
        return np.full(b.shape[:2], np.inf)
    with np.errstate(invalid="ignore"):
        change = np.where(a == b, 0.0, a - b)
        finite = np.isfinite(change)
        change = np.where(finite, change, 0.0)
        counts = np.abs(change) > _ROUNDING * epsilon * np.maximum(np.abs(a), np.abs(b))
    largest = np.where(counts, np.abs(_centred(change)), 0.0).max(axis=-1, initial=0.0)
    relative = np.divide(largest, spread, out=np.where(largest > 0, np.inf, 0.0), where=spread > 0)
    return np.where(finite.all(axis=-1), relative, np.inf)


def _centred(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take the median over ids out: logits that all move alike make the same prediction."""
    if numbers.shape[-1] < 2:
        return numbers
    return numbers - np.median(numbers, axis=-1, keepdims=True)


class Limits(NamedTuple):
    """The largest difference that is rounding, from the noise of the model.

    Example:
        >>> Limits.of_noise(1e-7), Limits.of_noise(5e-3)
        (Limits(tolerance=1e-05, noise=1e-07, judged=True), Limits(tolerance=0.05, noise=0.005, judged=False))
    """

    tolerance: float  # a larger difference is a fault, or shows that something has an effect
    noise: float
    judged: bool  # whether there is so little noise that readings which differ by less can be said to agree

    @classmethod
    def of_noise(cls, noise: float, *, half: str = "") -> "Limits":
        """Return the limits for the largest noise; half precision shows large faults alone."""
        times = _TIMES_HALF_NOISE if half else _TIMES_NOISE
        return cls(max(_SMALLEST_TOLERANCE, times * noise), noise, bool(half) or noise <= _MOST_NOISE)


class Distance(NamedTuple):
    """The comparison of two readings of the same ids."""

    what: str  # which readings they are
    largest: float  # in units of the context spread; infinite where a number is not finite
    position: int | None  # the first position beyond the tolerance; None where they agree

    def __str__(self) -> str:
        size = f"{self.largest:.2g} of the context spread" if self.largest else "no difference"
        if self.position is None:
            return f"{self.what}: {size}"
        by = f"by up to {size}" if np.isfinite(self.largest) else "by no finite number"
        return f"{self.what}: they differ first at position {self.position}, {by}"


def result_of(detail: str, largest: float, limits: Limits, *, passed: bool) -> TestResult:
    """Return the result of a test; a difference that is not finite has no number."""
    return TestResult(
        verdict="pass" if passed else "fail",
        largest_difference=float(largest) if np.isfinite(largest) else None,
        tolerance=limits.tolerance,
        detail=detail,
    )
