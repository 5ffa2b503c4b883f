"""Exact loss of one carried stream, at the speed of many spans that are read at the same time.

The text is cut into *spans*, consecutive tokens of one document, which are read side by side, each from the model's
initial state. Then every span that should have gone on from the one before is re-evaluated from the last state of that
one, but only until its state agrees with the one of the earlier reading: from there on the earlier results stand. A
span that ends without agreement has another last state, so the span after it is re-evaluated too, until nothing
changes. Three spans of one document, with five segments each:

    pass 1   span 0   start ─┬─┬─┬─┬─ a      every span is read from the initial state
             span 1   start ─┬─┬─┬─┬─ b
             span 2   start ─┬─┬─┬─┬─ c
    pass 2   span 1   a ─┬─┬═╤═              agrees at two boundaries: the rest and b stand
             span 2   b ─┬─┬─┬─┬─ d          does not agree: d replaces c; a span 3 would be read again from d

After k passes the first k + 1 spans of a document are right, so this ends for every model; a model that forgets needs
one pass.

`Stitching` decides what is read again, and does not know who reads: `rnneval.evaluate.rows` reads spans as rows of one
process, and `rnneval.evaluate.chunks` reads chunks of a text on workers, which use rows again.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf, log
from typing import Any

import numpy as np

from rnneval.evaluate.plan import Spans
from rnneval.evaluate.span import ReadingKind, SpanReading, scaled_difference
from rnneval.models.protocol import Shape, Vectors
from rnneval.models.state import numbers_of

TOLERANCE = 1e-5
_NOISE = 1e-7  # of float32: a tolerance of 0 is reached there
_MOST_TOLERANCE = 10 * TOLERANCE  # a difference that stays above it is no rounding
_CONCLUSIVE = 4  # boundaries: a shorter span that does not agree may only have been too short
# Up to this many passes over all stale spans together cost less than settling one span after another. If a model needs
# more, a span is only re-evaluated when the span before it is settled.
_PASSES = 4
# Passes over all stale spans go on only while each leaves at most this share of the state difference at the ends of
# spans: 0.05⁴ ≈ 1e-5 is left after four.
_LEFT = 0.05
_NUDGE, _FRAGILE = 1e-6, 100  # a change of a state, and the growth of it by which the result depends on rounding
_NUDGED = 8  # spans: on one of them alone a change may happen to die out


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


Read = Callable[[list[SpanReading]], Iterator[SpanReading]]
"""Makes the readings of a list, in any order, and yields each at its end.

The list stays as it is; a reading that is appended to it meanwhile is made too.
"""


class Stitching:
    """Decides which span is read from which state until nothing changes.

    A span is *stale* if the span before it has another last state than the one from which it was last read. A new last
    state counts from the next pass on, so results do not depend on the order in which readings end.
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
        self._continuing = frozenset(np.flatnonzero(spans.continues).tolist())
        self._stale = set(self._continuing)
        self._kept_ends = {*(span - 1 for span in self._continuing), len(spans) - 1}  # spans whose last state is kept
        self._ends: dict[int, Vectors] = {}  # those states, of the pass before or the first reading
        self._new_ends: dict[int, Vectors] = {}  # those that a re-evaluation of this pass changed
        self._at_once = True  # whether all stale spans are re-evaluated in one pass
        self.result = Stitched(shape=shape, tolerance=tolerance)

    def run(self, *, look_for_growth: bool = False) -> Stitched:
        """Read everything, re-evaluate what has to be, and return the statistics; at the end, look for growth."""
        self._first_pass()
        last_left = 1.0  # median difference of the ends that the last pass changed; at first, that of whole states
        while due := self._due():
            self.result.passes += 1
            for ended in self._read([self._re_evaluation(span, "again") for span in due]):
                self._take(ended)
            # What is left of the differences at the ends of spans says whether another pass over all will pay.
            differences = [scaled_difference(state, self._ends[span]) for span, state in self._new_ends.items()]
            left = float(np.median(differences or [0.0]))
            self._at_once = self._at_once and left <= _LEFT * last_left
            last_left = left
            self._adopt_ends()
        if look_for_growth:
            self._look_for_growth()
        return self.result

    def last(self) -> Vectors:
        """Return the state after the last span, `(D,)`."""
        return self._ends[len(self._spans) - 1]

    def _look_for_growth(self) -> None:
        """Read spans that never forgot their start again, from it and from one changed by about 1e-6 in each unit.

        Where their distance grows a hundredfold, the result depends on rounding.
        """
        never = [span for span, tokens in self.result.forgetting.items() if tokens is None]
        spans = never[: min(_NUDGED, self._shape.rows)]
        starts = [self._ends[span - 1] for span in spans]
        noise, nudged = np.random.default_rng(0), [state.copy() for state in starts]
        for state in map(numbers_of, nudged):
            state[:] = state + noise.standard_normal(len(state)) * _NUDGE * (1 + np.abs(state))
        before = [scaled_difference(*pair) for pair in zip(nudged, starts, strict=True)]
        plain, changed = (
            [self._reading(span, state, "aside") for span, state in zip(spans, states, strict=True)]
            for states in (starts, nudged)
        )
        for ended in self._read([*plain, *changed]):
            self.result.tokens_rerun += ended.tokens
        after = [scaled_difference(one.state, other.state) for one, other in zip(changed, plain, strict=True)]
        self.result.fragile = any(end > _FRAGILE * start for start, end in zip(before, after, strict=True))

    def _first_pass(self) -> None:
        """Read every span from the initial state, the longest first, so that no row is left with a long one alone."""
        unread = set(range(len(self._spans)))
        order = np.argsort(-self._spans.lengths, kind="stable").tolist()
        readings = [self._reading(span, self._start if span else self._first) for span in order]
        # The audited span goes on from the one before it: both have to be read before it is read again.
        both = set() if self._audited is None else {self._audited - 1, self._audited}
        for ended in self._read(readings):
            if ended.kind == "audit":
                self._take(ended)
                self._learn_from_audit(ended)
                continue
            unread.discard(ended.span)
            state = self._released(ended)
            if ended.span in self._kept_ends:
                self._ends[ended.span] = state
            if self._audited is not None and ended.span in both and not both & unread:
                readings.append(self._re_evaluation(self._audited, "audit"))
        self._adopt_ends()

    def _reading(self, span: int, state: Vectors, kind: ReadingKind = "first") -> SpanReading:
        start, stop = int(self._spans.starts[span]), int(self._spans.stops[span])
        return SpanReading(span=span, at=start, stop=stop, state=state, kind=kind, tolerance=self.result.tolerance)

    def _re_evaluation(self, span: int, kind: ReadingKind) -> SpanReading:
        self._stale.discard(span)
        return self._reading(span, self._ends[span - 1], kind)

    def _take(self, ended: SpanReading) -> None:
        """Count a re-evaluation that has ended, and keep its last state if it is another one."""
        result = self.result
        result.tokens_rerun += ended.tokens
        if ended.settled:
            result.forgetting.setdefault(ended.span, ended.forgetting)
            result.largest_state_difference = max(result.largest_state_difference or 0.0, ended.difference or 0.0)
        elif ended.boundary >= _CONCLUSIVE:
            result.forgetting.setdefault(ended.span, None)
        state = self._released(ended)
        if not ended.settled and ended.span in self._kept_ends and scaled_difference(state, self._ends[ended.span]):
            self._new_ends[ended.span] = state

    def _learn_from_audit(self, audit: SpanReading) -> None:
        """Choose between all stale spans at once and one after the other, and raise the tolerance to the noise floor.

        It is what differs in the second half, when states have merged: float32 products differ between rows of a batch.
        """
        result, differences = self.result, audit.state_differences
        if audit.settled:
            result.audited_loss_difference = audit.loss_difference
        else:
            longest = int(self._spans.lengths.max(initial=0)) / self._shape.segment  # in segments
            self._at_once = _segments_to_go(differences, result.tolerance) <= _PASSES * longest
        floor = max([*differences.values()][len(differences) // 2 :], default=0.0)
        if 0 < result.tolerance < 2 * floor <= _MOST_TOLERANCE:
            result.tolerance = 2 * floor

    def _released(self, ended: SpanReading) -> Vectors:
        """Return the last state of a reading, which keeps none: a list of all readings must not hold all states."""
        state, ended.state = ended.state, self._start
        return state

    def _adopt_ends(self) -> None:
        """Let the last states that this pass changed count: the spans behind them are stale."""
        self._stale |= self._continuing.intersection(span + 1 for span in self._new_ends)
        self._ends |= self._new_ends
        self._new_ends = {}

    def _due(self) -> list[int]:
        """Return the spans to re-evaluate now: all stale ones at once, or only those behind a span that is settled."""
        unsettled = set() if self._at_once else self._stale
        return [span for span in sorted(self._stale) if span - 1 not in unsettled]
