"""Exact loss of one carried stream, at the speed of many spans that are read at the same time.

The text is cut into *spans*, consecutive tokens of one document, which are read side by side, each from the model's
initial state. Then every span that should have gone on from the one before is re-evaluated from the last state of that
one, but only until its state agrees with the one of the earlier reading: from there on the earlier results stand. A
span that ends without agreement has another last state, so the span after it is re-evaluated too, until nothing
changes. After k passes the first k + 1 spans of a document are right, so this ends for every model; a model that
forgets needs one pass.

A small difference of states may persist (an identity recurrence), grow (an unstable direction) or add up over rows, and
a bound on the state is no bound on the loss. So readings agree only at two *boundaries* (ends of segments, the tokens
of one step) in a row, with a difference that does not grow, and with losses that agree too.

`Stitching` decides what is read again, and does not know who reads: `rnneval.evaluate.rows` reads spans as rows of one
process, and `rnneval.evaluate.chunks` reads chunks of a text on workers, which use rows again. `(D,)` is a whole state,
all its parts in one vector.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, log
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rnneval.evaluate.plan import Spans
from rnneval.models.protocol import Predicted, Shape, Vectors
from rnneval.models.state import numbers_of

TOLERANCE = 1e-5
LOSS_TOLERANCE = 1e-5  # largest difference of losses in the last segment, in units of 1 nat + their mean
_NOISE = 1e-7  # of float32: a tolerance of 0 is reached there
_GROWING = 3  # boundaries of growth in a row after which a span is read to its end
_CONCLUSIVE = 4  # boundaries: a shorter span that does not agree may only have been too short
_BYTES = 32 << 20  # of the states at the first boundaries, if the fewest of each span fit
_FEWEST, _MOST = 8, 32  # fewest and most of the first boundaries of each span that are kept, whatever a state weighs
# Up to this many passes over all stale spans together cost less than settling one span after another. If a model needs
# more, a span is only re-evaluated when the span before it is settled.
_PASSES = 4
# Passes over all stale spans go on only while each leaves at most this share of the state difference at the ends of
# spans: 0.05⁴ ≈ 1e-5 is left after four.
_LEFT = 0.05
_NUDGE, _FRAGILE = 1e-6, 100
_NUDGED = 8  # spans: on one of them alone a change may happen to die out


ReadingKind = Literal["first", "again", "audit", "aside"]
"""A reading `again` ends when it agrees with the one before; `audit` goes on to the end; `aside` replaces nothing."""


@dataclass(kw_only=True, eq=False)
class SpanReading:
    """One reading of a span: how far it has come, and how it compares with the reading before it."""

    span: int
    at: int  # position of the next input token
    stop: int  # position after the last input token: the last token that is predicted
    state: Vectors  # the state before the next input token, `(D,)`
    kind: ReadingKind = "first"
    tolerance: float = 0.0  # largest difference of states that agree, in units of 1 + |s|

    boundary: int = 0  # segments read so far
    tokens: int = 0  # predictions made so far
    difference: float = inf  # largest difference of states at the last boundary, in units of 1 + |s|
    agreed: int = 0  # kept boundaries in a row that agreed
    growing: int = 0  # kept boundaries in a row at which the difference grew
    met: int | None = None  # tokens up to the first boundary since which states have agreed, whatever the losses
    loss_difference: float = 0.0  # of an audit: the largest after the states had agreed, in nats
    state_differences: dict[int, float] = field(default_factory=dict)  # of an audit: by boundary

    @property
    def settled(self) -> bool:
        """True once the results of the earlier reading stand from here on, its last state included."""
        return self.agreed >= 2

    def compare(self, kept: Vectors | None, predicted: Predicted, before: Predicted) -> None:
        """Compare state and losses `(n,)` at a boundary with those of the earlier reading; None: no state was kept."""
        if self.kind == "audit" and kept is not None:
            self.state_differences[self.boundary] = scaled_difference(self.state, kept)
        if self.settled:
            self.loss_difference = max(self.loss_difference, _loss_difference(predicted, before))
        elif kept is not None and self.growing < _GROWING:
            difference = scaled_difference(self.state, kept)
            agree = difference <= self.tolerance
            self.met = (self.met or self.tokens) if agree else None
            allowed = LOSS_TOLERANCE * (1 + _mean_loss(before)) if self.tolerance > 0 else 0.0
            near = agree and _loss_difference(predicted, before) <= allowed
            not_growing = difference <= max(self.difference, self.tolerance / 4)
            self.agreed = self.agreed + 1 if near and (not_growing or self.agreed == 0) else 0
            self.growing = self.growing + 1 if difference > self.difference > self.tolerance else 0
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
        self._kept: dict[tuple[int, int], Vectors] = {}  # states by span and boundary

    def put(self, span: int, boundary: int, state: Vectors) -> None:
        """Keep the state of a span at a boundary, if both are among those that are kept."""
        if span in self._spans and self._keeps(boundary):
            self._kept[span, boundary] = state.copy()

    def get(self, span: int, boundary: int) -> Vectors | None:
        """Return the state of a span at a boundary, or None if it was not kept."""
        return self._kept.get((span, boundary))

    def states_of(self, span: int) -> dict[int, Vectors]:
        """Return all states of a span that are kept, by boundary."""
        return {boundary: state for (of, boundary), state in self._kept.items() if of == span}

    def group_of(self, span: int, boundary: int) -> int | None:
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


def _loss_difference(predicted: Predicted, before: Predicted) -> float:
    """Return the largest difference of two readings' losses; infinite where one reading's alone is not finite."""
    with np.errstate(invalid="ignore"):
        return _largest(np.abs(predicted.nats.astype(np.float64) - before.nats), predicted.nats, before.nats)


def _mean_loss(predicted: Predicted) -> float:
    """Return the mean of the finite losses, in nats; 0 if there is none."""
    finite = predicted.nats[np.isfinite(predicted.nats)].astype(np.float64)
    return float(finite.mean()) if finite.size else 0.0


def _largest(differences: NDArray[Any], one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the largest difference; numbers that are not finite in both readings agree."""
    both_lost = ~np.isfinite(one) & ~np.isfinite(other)
    largest = float(np.max(np.where(both_lost, 0.0, differences), initial=0.0))
    return largest if np.isfinite(largest) else inf


def _segments_to_go(differences: Mapping[int, float], tolerance: float) -> float:
    """Return the segments until a difference is below the tolerance, at the rate at which it last fell.

    The rate is that of the second half of the boundaries: slow units are what is left then. Infinite where it does not
    fall; 0 where there are fewer than two differences, or none is left.
    """
    if len(differences) < 2:
        return 0.0
    last, half = max(differences), min(differences, key=lambda boundary: abs(2 * boundary - max(differences)))
    if not 0 < differences[last] < differences[half] < inf:
        return inf if differences[last] else 0.0
    rate = log(differences[half] / differences[last]) / (last - half)
    return max(0.0, round(log(differences[last] / max(tolerance, _NOISE)) / rate, 6))


@dataclass(kw_only=True)
class Stitched:
    """Settings and statistics of reading a text, as the record has them."""

    shape: Shape
    tolerance: float  # as asked for, or twice the noise floor of the arithmetic where that is higher
    passes: int = 1  # readings of the text, the first one included
    tokens_rerun: int = 0
    largest_state_difference: float | None = None
    """The largest that was accepted as agreement, in units of 1 + |s|, where s is the state of the earlier reading."""
    audited_loss_difference: float | None = None
    """The largest on the audited span after its states had agreed; None if no span was audited, or it never agreed."""
    forgetting: dict[Any, int | None] = field(default_factory=dict)
    """By span, or (chunk, span): tokens after which both readings were seen to agree; None if they never did.

    A span too short to tell is left out.
    """
    fragile: bool = False  # whether a change of 1e-6 in the state grew: the one-stream number depends on rounding
    workers: int | None = None  # processes that read the text; None: this process read it in one piece
    chunks: int | None = None  # number of chunks of the text; each is one task of a worker

    def include(self, chunk: int, inner: "Stitched") -> None:
        """Add the statistics of the spans of one chunk; passes and tolerance are not added."""
        self.tokens_rerun += inner.tokens_rerun
        self.fragile = self.fragile or inner.fragile
        for name in ("largest_state_difference", "audited_loss_difference"):
            both = (getattr(self, name), getattr(inner, name))
            setattr(self, name, max((value for value in both if value is not None), default=None))
        for span, tokens in inner.forgetting.items():
            self.forgetting.setdefault((chunk, span), tokens)


Read = Callable[[deque[SpanReading]], Iterator[SpanReading]]
"""Makes readings, in any order, and yields each at its end; meanwhile others may be added.

A reading that changes nothing keeps the very object of its last state, by which `Stitching` knows it.
"""


class Stitching:
    """Decides which span is read from which state until nothing changes.

    A new last state counts from the next pass on, whichever reading ends first; so results do not depend on the order
    in which readings end. States are compared by identity here: a span is *stale* if the last state of the span before
    it is another object than the one from which it was last read.
    """

    def __init__(
        self,
        read: Read,
        spans: Spans,
        shape: Shape,
        start: Vectors,
        tolerance: float,
        *,
        audited: int | None = None,
        first: Vectors | None = None,
    ) -> None:
        """Take what makes readings, the spans, the shape of a step, and the model's initial state `(D,)`.

        The audited span is re-evaluated to its end within the first pass. It shows the noise floor of the arithmetic,
        and whether passes over all spans at once will pay. The first span begins from `first`, if it is given.
        """
        self._read, self._spans, self._shape, self._audited = read, spans, shape, audited
        self._start, self._first = start, start if first is None else first
        self._continuing: list[int] = np.flatnonzero(spans.continues).tolist()
        self._needed = {*(span - 1 for span in self._continuing), len(spans) - 1}  # spans whose last state is kept
        self._last: dict[int, Vectors] = {}  # last states of needed spans, of the pass before or the first reading
        self._later: dict[int, Vectors] = {}  # last states that are new in this pass: they count from the next one on
        self._read_from: dict[int, Vectors] = {}  # the state, out of `_last`, from which each span was last read again
        self._at_once = True  # whether all stale spans are re-evaluated in one pass
        self.result = Stitched(shape=shape, tolerance=tolerance)

    def run(self, *, look_for_growth: bool = False) -> Stitched:
        """Read everything, re-evaluate what has to be, and return the statistics; at the end, look for growth."""
        self._first_pass()
        before = 1.0  # median difference of states at the ends of spans between two passes; at first, its order of size
        while stale := self._stale():
            self.result.passes += 1
            self._later = {}
            for ended in self._read(deque(self._again(span, "again") for span in stale)):
                self._take(ended)
            # What is left of the differences at the ends of spans says whether another pass over all will pay.
            differences = [scaled_difference(state, self._last[span]) for span, state in self._later.items()]
            left = float(np.median([difference for difference in differences if difference > 0] or [0.0]))
            self._at_once = self._at_once and left <= _LEFT * before
            before = left
            self._last |= self._later
        if look_for_growth:
            self._look_for_growth()
        return self.result

    def last(self) -> Vectors:
        """Return the state after the last span, `(D,)`."""
        return self._last[len(self._spans) - 1]

    def _look_for_growth(self) -> None:
        """Read spans that never forgot their start again, from it and from one changed by about 1e-6 in each unit.

        Where their distance grows a hundredfold, the result depends on rounding.
        """
        never = [span for span, tokens in self.result.forgetting.items() if tokens is None]
        some = never[: min(_NUDGED, self._shape.rows)]
        starts = [self._last[span - 1] for span in some]
        noise, near = np.random.default_rng(0), [state.copy() for state in starts]
        for state in map(numbers_of, near):
            state[:] = state + noise.standard_normal(len(state)) * _NUDGE * (1 + np.abs(state))
        readings = [self._reading(span, state, "aside") for span, state in zip(some * 2, [*starts, *near], strict=True)]
        for ended in self._read(deque(readings)):
            self.result.tokens_rerun += ended.tokens
        pairs = zip(starts, near, readings, readings[len(some) :], strict=False)
        self.result.fragile = any(
            scaled_difference(far.state, end.state) > _FRAGILE * scaled_difference(nudged, start)
            for start, nudged, end, far in pairs
        )

    def _first_pass(self) -> None:
        """Read every span from the initial state, the longest first, so that no row is left with a long one alone."""
        unread = set(range(len(self._spans)))
        order = np.argsort(-self._spans.lengths, kind="stable").tolist()
        waiting = deque(self._reading(span, self._start if span else self._first) for span in order)
        halves = set() if self._audited is None else {self._audited - 1, self._audited}
        for ended in self._read(waiting):
            if ended.kind == "audit":
                self._take(ended)
                continue
            unread.discard(ended.span)
            self._keep_last(ended, self._last)
            if self._audited is not None and ended.span in halves and not halves & unread:
                waiting.append(self._again(self._audited, "audit"))
        self._last |= self._later

    def _reading(self, span: int, state: Vectors, kind: ReadingKind = "first") -> SpanReading:
        start, stop = int(self._spans.starts[span]), int(self._spans.stops[span])
        return SpanReading(span=span, at=start, stop=stop, state=state, kind=kind, tolerance=self.result.tolerance)

    def _again(self, span: int, kind: ReadingKind) -> SpanReading:
        start = self._read_from[span] = self._last[span - 1]
        return self._reading(span, start, kind)

    def _take(self, ended: SpanReading) -> None:
        """Take a re-evaluation that has ended.

        At the end of the audited span, where the states have merged, their difference is the noise floor: float32
        products differ between rows of a batch, and a tolerance below it would never be met.
        """
        result = self.result
        result.tokens_rerun += ended.tokens
        if ended.settled:
            result.forgetting.setdefault(ended.span, ended.met)
            result.largest_state_difference = max(result.largest_state_difference or 0.0, ended.difference)
        elif ended.boundary >= _CONCLUSIVE:
            result.forgetting.setdefault(ended.span, None)
        self._keep_last(ended, self._later)
        if ended.kind != "audit":
            return
        if ended.settled:
            result.audited_loss_difference = ended.loss_difference
        else:
            longest = int(self._spans.lengths.max(initial=0)) / self._shape.segment  # in segments
            self._at_once = _segments_to_go(ended.state_differences, result.tolerance) <= _PASSES * longest
        floor = max([*ended.state_differences.values()][len(ended.state_differences) // 2 :], default=0.0)
        if 0 < result.tolerance < 2 * floor <= 10 * TOLERANCE:
            result.tolerance = 2 * floor

    def _keep_last(self, ended: SpanReading, last: dict[int, Vectors]) -> None:
        if not ended.settled and ended.span in self._needed:
            last[ended.span] = ended.state

    def _stale(self) -> list[int]:
        """Return the spans to re-evaluate now: all stale ones, or only those behind a span that is settled."""
        stale = [span for span in self._continuing if self._read_from.get(span) is not self._last[span - 1]]
        if self._at_once:
            return stale
        unsettled = set(stale)
        return [span for span in stale if span - 1 not in unsettled]
