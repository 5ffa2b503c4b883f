"""One reading of a span: how far it has come, its comparison with the reading before it, and the states kept for that.

A span is read first from the initial state of the model, and later again from better states, until both readings agree.
A small difference of states may persist (an identity recurrence), grow (an unstable direction) or add up over spans,
and a bound on the state is no bound on the loss. So readings agree only at two kept boundaries in a row, with a
difference that does not grow, and with losses that agree too. `(D,)` is a whole state, all its parts in one vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rnneval.models.protocol import Predicted, Vectors
from rnneval.models.state import numbers_of

LOSS_TOLERANCE = 1e-5  # largest difference of losses in the last segment, in units of 1 nat + their mean
_GROWING = 3  # boundaries of growth in a row after which a span is read to its end
_BYTES = 32 << 20  # of the states at the first boundaries, if the fewest of each span fit
_FEWEST, _MOST = 8, 32  # fewest and most of the first boundaries of each span that are kept, whatever a state weighs

ReadingKind = Literal["first", "again", "audit", "aside"]
"""A reading `again` ends when it agrees with the one before; `audit` goes on to the end; `aside` replaces nothing."""


@dataclass(kw_only=True, eq=False)
class SpanReading:
    """One reading of a span; its numbers of the comparison are those of kept boundaries."""

    span: int
    at: int  # position of the next input token
    stop: int  # position after the last input token: the last token that is predicted
    state: Vectors  # the state before the next input token, `(D,)`
    kind: ReadingKind = "first"
    tolerance: float = 0.0  # largest difference of states that agree, in units of 1 + |s|

    boundary: int = 0  # segments read so far
    tokens: int = 0  # predictions made so far
    difference: float | None = None  # largest difference of states at the last boundary, in units of 1 + |s|
    agreements: int = 0  # boundaries in a row that agreed
    growths: int = 0  # boundaries in a row at which the difference grew
    forgetting: int | None = None  # tokens up to the first boundary since which states have agreed, whatever the losses
    loss_difference: float = 0.0  # of an audit: the largest after the states had agreed, in nats
    state_differences: dict[int, float] = field(default_factory=dict)  # of an audit: by boundary

    @property
    def settled(self) -> bool:
        """True once the results of the earlier reading stand from here on, its last state included."""
        return self.agreements >= 2

    @property
    def ended(self) -> bool:
        """True at the end of the span, and before it where the rest of the earlier reading stands."""
        return self.at == self.stop or (self.kind == "again" and self.settled)

    def compare(self, earlier: Vectors | None, predicted: Predicted, earlier_predicted: Predicted) -> None:
        """Compare state and losses `(n,)` at a boundary with those of the earlier reading; None: no state was kept.

        states are compared ─┬─ agree at two in a row, no further apart at the second ── settled: an audit goes on
                             └─ grow apart at three in a row ─────────────────────────── never compared again
        """
        difference = None if earlier is None else scaled_difference(self.state, earlier)
        if self.kind == "audit" and difference is not None:
            self.state_differences[self.boundary] = difference
        if self.settled:
            self.loss_difference = max(self.loss_difference, _loss_difference(predicted, earlier_predicted))
        elif difference is not None and self.growths < _GROWING:
            last = inf if self.difference is None else self.difference
            states_agree = difference <= self.tolerance
            self.forgetting = (self.forgetting or self.tokens) if states_agree else None
            finite = earlier_predicted.nats[np.isfinite(earlier_predicted.nats)].astype(np.float64)
            mean = float(finite.mean()) if finite.size else 0.0
            allowed = LOSS_TOLERANCE * (1 + mean) if self.tolerance > 0 else 0.0
            agree = states_agree and _loss_difference(predicted, earlier_predicted) <= allowed
            growing = difference > max(last, self.tolerance / 4)  # less is rounding, which comes and goes
            self.agreements = self.agreements + 1 if agree and not (growing and self.agreements) else 0
            self.growths = self.growths + 1 if difference > last > self.tolerance else 0
            self.difference = difference


class KeptStates:
    """States at the first boundaries of each span, and beyond them at pairs of boundaries from every 2ⁿ and 3 · 2ⁿ.

    Memory grows with the logarithm of a span's length only. A reading that agrees at a boundary which is
    not kept agrees at the next pair too, so it repeats more and is right all the same.
    """

    def __init__(self, spans: Sequence[int], state: Vectors, weight: int = 0, *, first: int | None = None) -> None:
        """Take the spans whose states are kept, and a state for its size.

        `weight` counts, in states, what a watch keeps for each boundary. `first` is how many of the first boundaries
        are kept; by default as many as fit into the memory.
        """
        self._spans = frozenset(spans)
        size = len(spans) * state.nbytes * (1 + weight)
        self.first = first or min(_MOST, max(_FEWEST, _BYTES // max(1, size)))
        self._states: dict[tuple[int, int], Vectors] = {}  # states by span and boundary

    def put(self, span: int, boundary: int, state: Vectors) -> None:
        """Keep the state of a span at a boundary, if both are among those that are kept."""
        if span in self._spans and self._keeps(boundary):
            self._states[span, boundary] = state.copy()

    def get(self, span: int, boundary: int) -> Vectors | None:
        """Return the state of a span at a boundary, or None if it was not kept."""
        return self._states.get((span, boundary))

    def states_of(self, span: int) -> dict[int, Vectors]:
        """Return all states of a span that are kept, by boundary."""
        return {boundary: state for (of, boundary), state in self._states.items() if of == span}

    def last_kept_before(self, span: int, boundary: int) -> int | None:
        """Return the last kept boundary before this one; None for a span whose states are not kept."""
        before = boundary - 1
        if span not in self._spans:
            return None
        # Between pairs it is the second of the pair below.
        return before if self._keeps(before) else max(self.first, _mark(before) + 1)

    def _keeps(self, boundary: int) -> bool:
        return boundary <= self.first or boundary - _mark(boundary) <= 1


def _mark(boundary: int) -> int:
    """Return the last 2ⁿ or 3 · 2ⁿ up to a boundary of at least 1."""
    power = 1 << (boundary.bit_length() - 1)
    half_more = power + power // 2
    return half_more if boundary >= half_more else power


def scaled_difference(state: Vectors, earlier: Vectors) -> float:
    """Return the largest |Δ| / (1 + |s|) over units; infinite where a number of one reading alone is not finite."""
    state, earlier = numbers_of(state), numbers_of(earlier)
    with np.errstate(invalid="ignore", over="ignore"):
        return _largest(np.abs(state - earlier) / (1 + np.abs(earlier)), state, earlier)


def _loss_difference(predicted: Predicted, earlier: Predicted) -> float:
    """Return the largest difference of two readings' losses; infinite where one reading's alone is not finite."""
    with np.errstate(invalid="ignore"):
        return _largest(np.abs(predicted.nats.astype(np.float64) - earlier.nats), predicted.nats, earlier.nats)


def _largest(differences: NDArray[Any], one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the largest difference; numbers that are not finite in both readings agree."""
    both_lost = ~np.isfinite(one) & ~np.isfinite(other)
    largest = float(np.max(np.where(both_lost, 0.0, differences), initial=0.0))
    return largest if np.isfinite(largest) else inf
