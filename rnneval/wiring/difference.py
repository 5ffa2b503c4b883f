"""The distance of two readings of the same ids, measured against what the context changes in the predictions.

A difference is divided by the *context spread* of the logits: how far a logit typically moves from position to
position. The size of the logits says nothing: a mask of −1e9, or a bias that was learned from frequencies, is large and
constant. Two readings that should agree may differ by the rounding of the model's own arithmetic, its *noise*, which is
measured by moving its numbers by one unit in the last place.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EPSILON = 2.0**-23  # the relative distance of neighbouring numbers of float32
HALF_TYPES = {"bfloat16": 2.0**-7, "float16": 2.0**-10}  # the same for the types of half precision
ASSUMED_NOISE = 1e-5
"""Least noise of a model whose weights cannot be moved: three times the largest that was seen in right models."""
_SMALLEST_TOLERANCE = 1e-5
_MOST_NOISE = 1e-4  # a tolerance above ten times this would hide faults
_TIMES_NOISE, _TIMES_HALF_NOISE = 10.0, 2.0
_LEAST_PROBABILITY = 1e-30
_ROUNDING = 4  # units in the last place that a sum may differ by when it is made in another order

Logits = NDArray[np.float64]  # (rows, positions, V)


def as_logits(outputs: Sequence[NDArray[np.generic]]) -> list[Logits]:
    """Return the outputs of calls, `(…, V)` each, as logits of float64; probabilities become their logarithms.

    They are probabilities if those of every call are: a few logits may add up to 1 by chance.

    Example:
        >>> [logits.round(3).tolist() for logits in as_logits([np.array([[0.25, 0.75]]), np.array([[0.5, 0.5]])])]
        [[[-1.386, -0.288]], [[-0.693, -0.693]]]
        >>> [logits.tolist() for logits in as_logits([np.array([[0, 1]]), np.array([[1, 2]])])]
        [[[0.0, 1.0]], [[1.0, 2.0]]]
    """
    logits = [output.astype(np.float64) for output in outputs]
    if all(map(_are_probabilities, logits)):
        return [np.log(np.maximum(each, _LEAST_PROBABILITY)) for each in logits]
    return logits


def _are_probabilities(numbers: NDArray[np.float64]) -> bool:
    return numbers.shape[-1] > 1 and bool((numbers >= 0).all()) and np.allclose(numbers.sum(axis=-1), 1, atol=1e-2)


def context_spread(logits: Logits) -> float:
    """Return how far a logit typically moves with the context, after the constants of each id are taken out.

    Ids that do not move (masked ones) do not count, and neither does what moves all ids alike. Where most logits stay
    as they are, as in a model that skips tokens, those that move count.

    Example:
        Two ids move by ± 1 in opposite directions; the third is masked:

        >>> logits = np.array([[[1.0, 4.0, -1e9], [3.0, 2.0, -1e9]]])
        >>> context_spread(logits), context_spread(logits + [0, 100, 0])
        (2.0, 2.0)
        >>> context_spread(np.zeros((1, 2, 3))), context_spread(np.array([[[0.0, 1.0]] * 4 + [[1.0, 0.0]]]))
        (0.0, 2.0)
    """
    moving = moving_ids(logits)
    if not moving.any():
        return 0.0
    flat = logits[..., moving].reshape(-1, int(moving.sum()))
    return 2 * float(_typical(np.abs(_centred(flat - np.median(flat, axis=0))).ravel()))


def moving_ids(logits: Logits) -> NDArray[np.bool_]:
    """Return the ids `(V,)` whose logits move with the context by more than the rounding of their level.

    Example:
        >>> moving_ids(np.array([[[1.0, 4.0, -1e9, -np.inf], [3.0, 2.0, -1e9, -np.inf]]])).tolist()
        [True, True, False, False]
    """
    flat = logits.reshape(-1, logits.shape[-1])
    finite = np.isfinite(flat).all(axis=0)
    flat = np.where(finite, flat, 0.0)
    level = np.median(flat, axis=0)
    moved: NDArray[np.bool_] = _typical(np.abs(flat - level)) > 8 * EPSILON * np.abs(level)
    return moved


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
        >>> masked = np.array([[[0.0, 1.0, -np.inf]]])
        >>> differences(masked, masked, 2.0).tolist(), differences(a, masked, 2.0).tolist()
        ([[0.0]], [[inf]])
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


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The largest difference at each position that is rounding, from the noise of the model.

    Example:
        >>> noise = np.array([1e-7, 2e-6, 1.5e-6, 5e-3])
        >>> limits = Limits.of_noise(noise)
        >>> round(limits.tolerance, 9), limits.judged.tolist()  # no position after much noise is judged
        (2e-05, [True, True, True, False])
        >>> limits.at.round(9).tolist()
        [2e-05, 2e-05, 2e-05, 0.05]
        >>> Limits.of_noise(noise, half="bfloat16").tolerance  # two times the noise, however large
        0.01
    """

    tolerance: float  # the limit of all positions that are judged
    at: NDArray[np.float64]
    """The limit of each position: a larger difference is a fault. After much noise, all of it counts."""
    effects: NDArray[np.float64]
    """The limit of each position above which a difference shows that something has an effect."""
    judged: NDArray[np.bool_]  # whether so little noise has added up before a position that equal logits can be told
    noise: float  # the largest noise

    @classmethod
    def of_noise(cls, noise: NDArray[np.float64], *, half: str = "") -> "Limits":
        """Return the limits for the noise of each position; `half` names the type of half precision, if there is one.

        The numbers of half precision are so far apart that every model would be too noisy: its limit is lower, and
        shows large faults alone.
        """
        grown = np.maximum.accumulate(noise)
        judged = np.full(len(grown), bool(half)) | (grown <= _MOST_NOISE)
        times = _TIMES_HALF_NOISE if half else _TIMES_NOISE
        tolerance = max(_SMALLEST_TOLERANCE, times * float(grown[judged].max(initial=0.0)))
        most = float(grown.max(initial=0.0))
        return cls(
            tolerance=tolerance,
            at=np.where(judged, tolerance, times * most),
            effects=np.maximum(tolerance, times * grown),
            judged=judged,
            noise=most,
        )
