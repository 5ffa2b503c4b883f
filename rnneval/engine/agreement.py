"""When two readings of a span agree: states kept from the first one, and the rule by which they are compared.

A small difference may persist (an identity recurrence), grow (an unstable direction) or add up over rows, and a bound
on the state is no bound on the loss. So readings agree only at two boundaries in a row, with a difference that does not
grow, and with losses that agree too.

*Boundary* k is the end of the k-th segment of a span; `(D,)` is a whole state, all its parts in one vector.
"""

from collections.abc import KeysView, Mapping, Sequence
from dataclasses import dataclass
from math import inf, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.backends.protocol import Predicted, Vectors

LOSS_TOLERANCE = 1e-5
"""Largest difference of the losses of any token of the last segment, in nats."""
_NOISE = 1e-7  # of float32: a tolerance of 0 is reached there
_GROWING = 3
"""Boundaries of growth in a row after which a span is read to its end."""
_BYTES = 32 << 20
_FEWEST, _MOST = 8, 32  # fewest and most of the first boundaries of each span that are kept, whatever a state weighs


@dataclass(kw_only=True)
class Agreement:
    """Comparison of two readings of a span, boundary by boundary."""

    tolerance: float
    difference: float = np.inf
    """Largest difference at the last boundary, in units of 1 + |s|."""
    agreed: int = 0
    """Boundaries in a row that agreed."""
    growing: int = 0
    """Boundaries in a row at which the difference grew."""
    met: int | None = None
    """Tokens up to the first boundary since which states have agreed, whatever the losses; None while they differ."""

    @property
    def settled(self) -> bool:
        """True once the kept results stand from here on."""
        return self.agreed >= 2

    @property
    def hopeless(self) -> bool:
        """True once the difference only grows: the span is read to its end without further comparison."""
        return self.growing >= _GROWING

    def compare(self, state: Vectors, kept: Vectors, predicted: Predicted, before: Predicted, tokens: int = 0) -> None:
        """Compare states `(D,)` and losses `(n,)` at the end of a segment, `tokens` after the start of the span."""
        difference = scaled_difference(state, kept)
        if not difference <= self.tolerance:
            self.met = None
        elif self.met is None:
            self.met = tokens
        near = difference <= self.tolerance and losses_agree(predicted, before, self.tolerance)
        not_growing = difference <= max(self.difference, self.tolerance / 4)
        self.agreed = self.agreed + 1 if near and (not_growing or self.agreed == 0) else 0
        self.growing = self.growing + 1 if difference > self.difference > self.tolerance else 0
        self.difference = difference


class Boundaries:
    """States at the ends of segments: the first of each span, and beyond them pairs at every 2ⁿ and 3 · 2ⁿ.

    Memory is bounded: it grows with the logarithm of a span's length only. A reading that agrees at a boundary which is
    not kept agrees at the next pair too, so it repeats more and is right all the same.
    """

    def __init__(self, spans: Sequence[int], state: Vectors, weight: int = 1) -> None:
        """Take the spans whose states are kept, and a state, `(D,)`, for its size and type.

        `weight` counts, in states, all that is kept for each boundary, here and by a watch: memory is bounded for all.
        """
        self._place = {span: place for place, span in enumerate(spans)}
        self._first = min(_MOST, max(_FEWEST, _BYTES // max(1, len(spans) * state.nbytes * weight)))
        self._like = state
        self._kept: dict[int, Vectors] = {}
        """The states at each kept boundary: `(spans, D)`."""
        self._held: dict[int, set[int]] = {}
        """The spans that have a state at each kept boundary."""

    @property
    def spans(self) -> KeysView[int]:
        """The spans whose states are kept."""
        return self._place.keys()

    def put(self, span: int, boundary: int, state: Vectors) -> None:
        """Keep the state `(D,)` of a span at a boundary, if both are among those that are kept."""
        if span not in self._place or not self.keeps(boundary):
            return
        if boundary not in self._kept:
            self._kept[boundary] = np.empty((len(self._place), len(self._like)), self._like.dtype)
            self._held[boundary] = set()
        self._kept[boundary][self._place[span]] = state
        self._held[boundary].add(span)

    def get(self, span: int, boundary: int) -> Vectors | None:
        """Return the state of a span at a boundary, or None if it was not kept."""
        if span not in self._held.get(boundary, ()):
            return None
        return np.array(self._kept[boundary][self._place[span]])

    def group_of(self, boundary: int) -> int:
        """Return the last kept boundary before this one, where the group of its segment begins."""
        before = boundary - 1
        if self.keeps(before):
            return before
        return max(self._first, _mark(before) + 1)  # between pairs: the second of the pair below

    def keeps(self, boundary: int) -> bool:
        """Return whether the state at a boundary is kept."""
        return boundary <= self._first or boundary - _mark(boundary) <= 1


def scaled_difference(state: Vectors, kept: Vectors) -> float:
    """Return the largest |Δ| / (1 + |s|) over units; infinite where a number of one reading alone is not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        differences = np.abs(state - kept) / (1 + np.abs(kept))
    return _largest(differences, both_lost=~np.isfinite(state) & ~np.isfinite(kept))


def segments_to_go(differences: Mapping[int, float], tolerance: float) -> float:
    """Return the segments until a difference is below the tolerance, at the rate at which it last fell.

    The rate is that of the second half of the boundaries: slow units are what is left then. Infinite where it does not
    fall; 0 where there are fewer than two differences, or none is left.

    Example:
        >>> segments_to_go({1: 1.0, 2: 0.1, 3: 0.05, 4: 0.01}, 1e-4)
        4.0
    """
    if len(differences) < 2:
        return 0.0
    last, half = max(differences), min(differences, key=lambda boundary: abs(2 * boundary - max(differences)))
    if not 0 < differences[last] < differences[half] < inf:
        return inf if differences[last] else 0.0
    rate = log(differences[half] / differences[last]) / (last - half)
    return max(0.0, round(log(differences[last] / max(tolerance, _NOISE)) / rate, 6))


def losses_agree(predicted: Predicted, before: Predicted, tolerance: float) -> bool:
    """Return whether every loss of a segment agrees within 1e-5 nats; exactly where the tolerance is 0."""
    allowed = LOSS_TOLERANCE if tolerance > 0 else 0.0
    return loss_difference(predicted, before) <= allowed


def loss_difference(predicted: Predicted, before: Predicted) -> float:
    """Return the largest difference of two readings' losses; infinite where one reading's alone is not finite."""
    with np.errstate(invalid="ignore"):
        differences = np.abs(predicted.nats.astype(np.float64) - before.nats)
    return _largest(differences, both_lost=~np.isfinite(predicted.nats) & ~np.isfinite(before.nats))


def _largest(differences: NDArray[Any], *, both_lost: NDArray[np.bool_]) -> float:
    """Return the largest difference; numbers that are not finite in both readings agree."""
    largest = float(np.max(np.where(both_lost, 0.0, differences), initial=0.0))
    return largest if np.isfinite(largest) else np.inf


def _mark(boundary: int) -> int:
    """Return the last 2ⁿ or 3 · 2ⁿ up to a boundary of at least 1."""
    power = 1 << (boundary.bit_length() - 1)
    half_more = power + power // 2
    return half_more if boundary >= half_more else power
