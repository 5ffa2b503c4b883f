"""Exact loss of one carried stream, at the speed of many spans that are read at the same time.

The text is cut into spans that are read side by side, each from the model's initial state. Then every span that should
have gone on from the one before is re-evaluated from the last state of that one, but only until its state agrees with
the one of the earlier reading: from there on the earlier results stand. A span that ends without agreement has another
last state, so the span after it is re-evaluated too, until nothing changes. After k passes the first k + 1 spans of a
document are right, so this ends for every model; a model that forgets needs one pass.

A small difference of states may persist (an identity recurrence), grow (an unstable direction) or add up over rows, and
a bound on the state is no bound on the loss. So readings agree only at two boundaries in a row, with a difference that
does not grow, and with losses that agree too.

*Span*: consecutive tokens of one document; it goes on from the last state of the span before, or begins anew.
*Segment*: the tokens of one step of the model; the end of the k-th one of a span is *boundary* k, where states are
compared. *Reading*: one pass of the model over one span. `(D,)` is a whole state, all its parts in one vector.
`Stitching` decides what is read again; the reader compares states and losses.

The algorithm does not know who reads: `rnneval.evaluate.reading` reads spans as rows of one process, and
`rnneval.evaluate.chunks` reads chunks of a text on workers, which use rows again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.evaluate.plan import Spans
from rnneval.models.protocol import Predicted, Vectors
from rnneval.models.state import numbers_of

TOLERANCE = 1e-5
LOSS_TOLERANCE = 1e-5
"""Largest difference of the losses of any token of the last segment, in nats."""
_NOISE = 1e-7  # of float32: a tolerance of 0 is reached there
_GROWING = 3  # boundaries of growth in a row after which a span is read to its end
_BYTES = 32 << 20
_FEWEST, _MOST = 8, 32  # fewest and most of the first boundaries of each span that are kept, whatever a state weighs
PASSES = 4
"""Up to this many passes over all stale spans together cost less than settling one span after another. If a model needs
more, a span is only re-evaluated when the span before it is settled."""
_LEFT = 0.05
"""Passes over all stale spans go on only while each leaves at most this share of the state difference at the ends of
spans: 0.05⁴ ≈ 1e-5 is left after four."""


@dataclass(kw_only=True, eq=False)
class SpanReading:
    """One reading of a span: how it is to be made, and how it compares with the reading before it."""

    span: int
    start: Vectors | None  # the state before its first token, `(D,)`; None: the model's initial state
    reevaluates: bool = False
    """Whether the span was read before, so that the reading ends as soon as both agree."""
    audits: bool = False  # whether a re-evaluation goes on to the end of the span, agreement or not
    tolerance: float = 0.0  # largest difference of states that agree, in units of 1 + |s|

    last: Vectors | None = None
    """The state after the span, `(D,)`; None: the readings agreed, and the last state of the earlier one stands."""
    tokens: int = 0  # predictions that were made again
    conclusive: bool = True
    """Whether the span is long enough that an end without agreement says something of the model."""
    difference: float = inf  # largest difference of states at the last boundary, in units of 1 + |s|
    agreed: int = 0  # boundaries in a row that agreed
    growing: int = 0  # boundaries in a row at which the difference grew
    met: int | None = None
    """Tokens up to the first boundary since which states have agreed, whatever the losses; None while they differ."""
    loss_difference: float = 0.0
    """Of an audit: the largest difference of losses after the states had agreed, in nats."""
    state_differences: dict[int, float] = field(default_factory=dict)
    """Of an audit: the difference of states at each boundary that was compared."""

    @property
    def settled(self) -> bool:
        """True once the kept results stand from here on."""
        return self.agreed >= 2

    @property
    def hopeless(self) -> bool:
        """True once the difference only grows: the span is read to its end without further comparison."""
        return self.growing >= _GROWING

    def compare(self, state: Vectors, kept: Vectors, predicted: Predicted, before: Predicted, tokens: int) -> None:
        """Compare states `(D,)` and losses `(n,)` at the end of a segment, `tokens` after the start of the span."""
        difference = scaled_difference(state, kept)
        if not difference <= self.tolerance:
            self.met = None
        elif self.met is None:
            self.met = tokens
        allowed = LOSS_TOLERANCE if self.tolerance > 0 else 0.0
        near = difference <= self.tolerance and loss_difference(predicted, before) <= allowed
        not_growing = difference <= max(self.difference, self.tolerance / 4)
        self.agreed = self.agreed + 1 if near and (not_growing or self.agreed == 0) else 0
        self.growing = self.growing + 1 if difference > self.difference > self.tolerance else 0
        self.difference = difference


class Boundaries:
    """States at the ends of segments: the first of each span, and beyond them pairs at every 2ⁿ and 3 · 2ⁿ.

    Memory is bounded: it grows with the logarithm of a span's length only. A reading that agrees at a boundary which is
    not kept agrees at the next pair too, so it repeats more and is right all the same.
    """

    def __init__(self, spans: Sequence[int], state: Vectors, weight: int = 1, *, first: int | None = None) -> None:
        """Take the spans whose states are kept, and a state for its size and type.

        `weight` counts, in states, all that is kept for each boundary, here and by a watch: memory is bounded for all.
        `first` is how many of the first boundaries are kept, if it is given.
        """
        self._spans = frozenset(spans)
        self.first = first or min(_MOST, max(_FEWEST, _BYTES // max(1, len(spans) * state.nbytes * weight)))
        self._kept: dict[tuple[int, int], Vectors] = {}  # states by span and boundary

    def __contains__(self, span: int) -> bool:
        """Return whether states of a span are kept."""
        return span in self._spans

    def put(self, span: int, boundary: int, state: Vectors) -> None:
        """Keep the state `(D,)` of a span at a boundary, if both are among those that are kept."""
        if span in self._spans and self.keeps(boundary):
            self._kept[span, boundary] = state.copy()

    def get(self, span: int, boundary: int) -> Vectors | None:
        """Return the state of a span at a boundary, or None if it was not kept."""
        return self._kept.get((span, boundary))

    def states_of(self, span: int) -> dict[int, Vectors]:
        """Return all states `(D,)` of a span that are kept, by boundary."""
        return {boundary: state for (of, boundary), state in self._kept.items() if of == span}

    def group_of(self, boundary: int) -> int:
        """Return the last kept boundary before this one, where the group of its segment begins."""
        before = boundary - 1
        if self.keeps(before):
            return before
        return max(self.first, _mark(before) + 1)  # between pairs: the second of the pair below

    def keeps(self, boundary: int) -> bool:
        """Return whether the state at a boundary is kept."""
        return boundary <= self.first or boundary - _mark(boundary) <= 1


def scaled_difference(state: Vectors, kept: Vectors) -> float:
    """Return the largest |Δ| / (1 + |s|) over units; infinite where a number of one reading alone is not finite."""
    state, kept = numbers_of(state), numbers_of(kept)
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


def loss_difference(predicted: Predicted, before: Predicted) -> float:
    """Return the largest difference of two readings' losses; infinite where one reading's alone is not finite."""
    with np.errstate(invalid="ignore"):
        differences = np.abs(predicted.nats.astype(np.float64) - before.nats)
    return _largest(differences, both_lost=~np.isfinite(predicted.nats) & ~np.isfinite(before.nats))


def _largest(differences: NDArray[Any], *, both_lost: NDArray[np.bool_]) -> float:
    """Return the largest difference; numbers that are not finite in both readings agree."""
    largest = float(np.max(np.where(both_lost, 0.0, differences), initial=0.0))
    return largest if np.isfinite(largest) else inf


def _mark(boundary: int) -> int:
    """Return the last 2ⁿ or 3 · 2ⁿ up to a boundary of at least 1."""
    power = 1 << (boundary.bit_length() - 1)
    half_more = power + power // 2
    return half_more if boundary >= half_more else power


# Stitching


@dataclass(kw_only=True)
class Stitched:
    """Statistics of a stitched reading, as the record has them."""

    tolerance: float  # as asked for, or the noise floor of the arithmetic where that is higher
    passes: int = 1
    """Readings of the text, the first one included."""
    tokens_rerun: int = 0
    largest_state_difference: float | None = None
    """The largest that was accepted as agreement, in units of 1 + |s|, where s is the state of the earlier reading."""
    audited_loss_difference: float | None = None
    """The largest on the audited span after its states had agreed; None if no span was audited, or it never agreed."""
    forgetting: dict[int | tuple[int, int], int | None] = field(default_factory=dict)
    """By span: tokens after which the states of both readings were seen to agree; None if it ended without agreement.

    An upper bound: states are compared only at the boundaries that are kept, the first ones a segment apart. A span
    of a chunk is a pair (chunk, span).
    """
    lasts: bool = False
    """Set by the reader: the model was seen to keep its state, so that no span was cut and compared."""
    fragile: bool = False
    """Set by the reader: a change of 1e-6 in the state grew, so the one-stream number itself depends on rounding."""

    def include(self, chunk: int, inner: "Stitched") -> None:
        """Add the statistics of the spans of one chunk; passes and tolerance are not added."""
        self.tokens_rerun += inner.tokens_rerun
        for name in ("largest_state_difference", "audited_loss_difference"):
            both = (getattr(self, name), getattr(inner, name))
            setattr(self, name, max((value for value in both if value is not None), default=None))
        self.fragile = self.fragile or inner.fragile
        for span, tokens in inner.forgetting.items():
            assert isinstance(span, int)  # noqa: S101 - chunks have no chunks
            self.forgetting.setdefault((chunk, span), tokens)


OnEnd = Callable[[SpanReading], Sequence[SpanReading]]
"""Called at the end of each reading; it returns further ones to be made."""


class Stitching:
    """Decides which span is read from which state until nothing changes.

    A new last state counts from the next pass on, whichever reading ends first; so results do not depend on the order
    in which readings end. States are compared by identity here: a span is *stale* if the last state of the span before
    it is another object than the one from which it was last read.
    """

    def __init__(
        self,
        read: Callable[[Sequence[SpanReading], OnEnd], None],
        spans: Spans,
        *,
        segment: int,
        tolerance: float,
        audited: int | None = None,
        start: Vectors | None = None,
    ) -> None:
        """Take what makes readings, in any order, the spans, and the tokens between two comparisons of states.

        The audited span is re-evaluated to its end within the first pass. It shows the noise floor of the arithmetic,
        and whether passes over all spans at once will pay. They are made only while each leaves little of the
        differences (`_LEFT`) and the audit foresees few passes.

        The first span begins from `start`; None: the model's initial state.
        """
        self._read, self._spans, self._audited = read, spans, audited
        self._longest = int(spans.lengths.max(initial=0)) / segment  # length of the longest span, in segments
        self._start = start
        self._continuing: list[int] = np.flatnonzero(spans.continues).tolist()
        self._needed = {*(span - 1 for span in self._continuing), len(spans) - 1}  # spans whose last state is kept
        self._last: dict[int, Vectors] = {}
        """The last state of each needed span at the end of the pass before; in the first pass, of its first reading."""
        self._later: dict[int, Vectors] = {}  # last states that are new in this pass: they count from the next one on
        self._read_from: dict[int, Vectors] = {}
        """The state, out of `_last`, from which each span that goes on was last read."""
        self._at_once = True  # whether all stale spans are re-evaluated in one pass
        self._difference = 1.0
        """Median difference of states at the ends of spans between the last two passes; at first, its order of size."""
        self.result = Stitched(tolerance=tolerance)

    def run(self) -> Stitched:
        """Read everything, re-evaluate what has to be, and return the statistics."""
        self._first_pass()
        while stale := self._stale():
            self.result.passes += 1
            self._later = {}
            self._read([self._reevaluation(span) for span in stale], self._take)
            # What is left of the differences at the ends of spans says whether another pass over all will pay.
            differences = [scaled_difference(state, self._last[span]) for span, state in self._later.items()]
            left = float(np.median([difference for difference in differences if difference > 0] or [0.0]))
            self._at_once = self._at_once and left <= _LEFT * self._difference
            self._difference = left
            self._last |= self._later
        return self.result

    def last(self, span: int) -> Vectors:
        """Return the state after a span, `(D,)`: kept for spans from which another goes on, and for the last of all."""
        return self._last[span]

    def _first_pass(self) -> None:
        """Read every span from the initial state, the longest first, so that no row is left with a long one alone."""
        unread = set(range(len(self._spans)))

        def on_end(ended: SpanReading) -> list[SpanReading]:
            if ended.reevaluates:
                return self._take(ended)
            at = ended.span
            unread.discard(at)
            self._keep_last(ended, self._last)
            return [
                self._reevaluation(span, audits=True)
                for span in (at, at + 1)
                if span == self._audited and span not in self._read_from and not {span - 1, span} & unread
            ]

        order = np.argsort(-self._spans.lengths, kind="stable").tolist()
        self._read([SpanReading(span=span, start=self._start if span == 0 else None) for span in order], on_end)
        self._last |= self._later

    def _reevaluation(self, span: int, *, audits: bool = False) -> SpanReading:
        start = self._read_from[span] = self._last[span - 1]
        return SpanReading(span=span, start=start, reevaluates=True, audits=audits, tolerance=self.result.tolerance)

    def _take(self, ended: SpanReading) -> list[SpanReading]:
        """Take a re-evaluation that has ended; it asks for no further readings.

        At the end of the audited span, where the states have merged, their difference is the noise floor: float32
        products differ between rows of a batch, and a tolerance below it would never be met.
        """
        result, span = self.result, ended.span
        result.tokens_rerun += ended.tokens
        if ended.last is None:
            result.forgetting.setdefault(span, ended.met)
            result.largest_state_difference = max(result.largest_state_difference or 0.0, ended.difference)
        elif ended.conclusive:
            result.forgetting.setdefault(span, None)
        self._keep_last(ended, self._later)
        if ended.audits:
            if ended.last is None:
                result.audited_loss_difference = ended.loss_difference
            else:
                to_go = segments_to_go(ended.state_differences, result.tolerance)
                self._at_once = to_go <= PASSES * self._longest
            floor = max([*ended.state_differences.values()][len(ended.state_differences) // 2 :], default=0.0)
            if 0 < result.tolerance < 2 * floor <= 10 * TOLERANCE:
                result.tolerance = 2 * floor
        return []

    def _keep_last(self, ended: SpanReading, last: dict[int, Vectors]) -> None:
        if ended.last is not None and ended.span in self._needed:
            last[ended.span] = ended.last

    def _stale(self) -> list[int]:
        """Return the spans to re-evaluate now: all stale ones, or only those behind a span that is settled."""
        stale = [span for span in self._continuing if self._read_from.get(span) is not self._last[span - 1]]
        if self._at_once:
            return stale
        unsettled = set(stale)
        return [span for span in stale if span - 1 not in unsettled]
