"""Exact loss of one carried stream, at the speed of many rows.

The text is cut into spans that are read side by side, each from the model's initial state. Then every span that should
have gone on from the one before is read again from where that one ended, but only until its state agrees with what was
kept: from there on the kept results stand. A span that ends without agreeing has another last state, so the one after
it is read again too, until nothing changes. After k passes the first k + 1 spans of a document are right, so this ends
whatever the model does; a model that forgets needs one pass.

Where rows are shorter than the model's memory, passes over all spans at once pay as long as each leaves little of what
it repairs. A model that does not forget has its spans read one after another instead, each once, with one row.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from rnneval.engine.agreement import Course, loss_difference, scaled_difference, segments_to_go
from rnneval.engine.boundaries import Boundaries
from rnneval.engine.observations import Observations
from rnneval.engine.plan import Stitch
from rnneval.engine.runner import Boundary, Job, Runner
from rnneval.engine.states import Vectors
from rnneval.engine.watch import Watch

TOLERANCE = 1e-5
_PASSES = 4
"""So many passes over all spans at once cost less than one span after another. A model that needs more has only those
spans read whose predecessor is settled."""
_LEFT = 0.05
"""The share of the difference at the ends of spans that a pass may leave for that: after four, 1e-5 is left."""
_TELLING = 4  # boundaries: a shorter span that does not agree may only have been too short
_NUDGE = 1e-6
_FRAGILE = 100
_NUDGED = 8  # spans: on one of them alone a change may happen to die out

Progress = Callable[[int, int], None]
"""Called with the tokens scored so far and in all."""


@dataclass(kw_only=True)
class Stitched:
    """How it went: what the record says of the streams."""

    tolerance: float
    """As asked for, or the noise floor of the arithmetic where that is higher."""
    passes: int = 1
    tokens_rerun: int = 0
    largest_state_difference: float | None = None
    """The largest that was accepted as agreement, in units of 1 + |s|."""
    audited_loss_difference: float | None = None
    """On the audited span, after it had agreed; None where none was audited, or it never agreed."""
    forgetting: dict[int, int | None] = field(default_factory=dict)
    """By span: tokens after which the states of both readings were seen to agree; None where it ended without.

    An upper bound: states are compared at the boundaries that are kept alone, the first ones a segment apart.
    """
    fragile: bool = False
    """A change of 1e-6 in the state grew: the one-stream number itself depends on rounding."""

    @property
    def forgotten(self) -> list[int]:
        """Tokens to agreement, of the spans that agreed."""
        return [tokens for tokens in self.forgetting.values() if tokens is not None]


@dataclass(kw_only=True)
class Edges:
    """What somebody who reads the text before or after needs: the state at either end, and a way to compare."""

    start: Vectors | None = None
    """From which the first span is read; None: from the model's initial state."""
    head: dict[int, Vectors] = field(default_factory=dict)
    """States of the first span by boundary, those that are kept of any span."""
    last: Vectors | None = None
    """At the end of the last span."""


class Stitching:
    """One stitched run of a model over a text."""

    def __init__(
        self,
        runner: Runner,
        stitch: Stitch,
        seen: Observations,
        tolerance: float,
        *,
        watch: Watch | None = None,
        edges: Edges | None = None,
    ) -> None:
        self._runner, self._seen, self._watch, self._edges = runner, seen, watch, edges
        self._spans, self._audited = stitch.spans, stitch.audited
        self._start = runner.start()
        self._repaired = np.flatnonzero(self._spans.previous >= 0)
        self._goes_on = np.isin(np.arange(len(self._spans)), self._spans.previous)
        weight = 1 if watch is None else 1 + watch.weight
        self._kept = Boundaries(self._repaired.tolist(), self._start, weight)
        self._last: dict[int, Vectors] = {}
        """The latest last state of each span that another goes on from."""
        self._read_from: dict[int, Vectors] = {}
        """The state, out of `_last`, from which each repaired span was last read."""
        self._at_once = True
        """Whether all spans that are not settled are repaired in one pass."""
        self._difference = 1.0
        """At the ends of spans, between the last two passes; at first that of a carried state and the initial one."""
        self.result = Stitched(tolerance=tolerance)

    def run(self, progress: Progress | None = None) -> Stitched:
        """Read everything, repair what must be, and say how it went."""
        self._first_pass(progress)
        while stale := self._stale():
            self.result.passes += 1
            self._repair(stale)
        never = [span for span, tokens in self.result.forgetting.items() if tokens is None]
        self.result.fragile = self._is_fragile(never[: min(_NUDGED, self._runner.shape.rows)])
        return self.result

    def _first_pass(self, progress: Progress | None) -> None:
        """Read every span from the initial state, the longest first, so that no row is left with a long one alone."""
        order = np.argsort(-self._spans.lengths, kind="stable")
        waiting = deque(self._job(int(span), self._begin(int(span))) for span in order)
        audit = Audit(self, waiting)
        done, total = 0, self._spans.predictions

        def at_boundary(rows: list[Boundary]) -> list[bool]:
            nonlocal done
            for row in rows:
                if audit.takes(row):
                    continue
                self._put(row)
                self._keep(row.job)
                done += len(row.predicted.nats)
                audit.begin_if_ready(row.job)
            if progress is not None:
                progress(done, total)
            return [True] * len(rows)

        self._runner.run(waiting, at_boundary)
        audit.end()

    def _begin(self, span: int) -> Vectors:
        """The state that a span is first read from."""
        given = None if self._edges is None or span > 0 else self._edges.start
        return self._start if given is None else given

    def _job(self, span: int, state: Vectors) -> Job:
        return Job(span=span, at=int(self._spans.starts[span]), stop=int(self._spans.stops[span]), state=state)

    def _put(self, row: Boundary) -> None:
        """Take what was seen of a segment: it stands until the segment is read again."""
        self._seen.put(row.first, row.predicted)
        if self._watch is not None:
            once = self._spans.previous[row.job.span] < 0
            self._watch.put(row, None if once else self._kept.stretch(row.job.boundary))

    def _keep(self, job: Job) -> None:
        if self._spans.previous[job.span] >= 0:
            self._kept.put(job.span, job.boundary, job.state)
        if job.at == job.stop and self._goes_on[job.span]:
            self._last[job.span] = job.state.copy()
        if self._edges is not None:
            self._keep_edge(self._edges, job)

    def _keep_edge(self, edges: Edges, job: Job) -> None:
        if job.span == 0 and self._kept.keeps(job.boundary):
            edges.head[job.boundary] = job.state.copy()
        if job.at == job.stop and job.span == len(self._spans) - 1:
            edges.last = job.state.copy()

    def _stale(self) -> list[int]:
        """Spans that were not read from the last state of the one before: all of them, or those it is settled for."""
        stale = [int(span) for span in self._repaired if self._read_from.get(int(span)) is not self._before(int(span))]
        if self._at_once:
            return stale
        unsettled = set(stale)
        return [span for span in stale if int(self._spans.previous[span]) not in unsettled]

    def _before(self, span: int) -> Vectors:
        """The last state of the span before."""
        return self._last[int(self._spans.previous[span])]

    def _repair(self, spans: list[int]) -> None:
        """Read spans again, together; each leaves when it agrees with what was kept of it."""
        courses = {span: Course(tolerance=self.result.tolerance) for span in spans}
        starts = {span: self._before(span) for span in spans}
        self._read_from |= starts

        def at_boundary(rows: list[Boundary]) -> list[bool]:
            return [self._repaired_further(row, courses[row.job.span]) for row in rows]

        ends = {span: self._last[span] for span in spans if self._goes_on[span]}
        self._runner.run(deque(self._job(span, state) for span, state in starts.items()), at_boundary)
        self._learn([scaled_difference(self._last[span], end) for span, end in ends.items()])

    def _learn(self, differences: list[float]) -> None:
        """See what a pass left of the difference at the ends of those spans whose last state is new."""
        left = float(np.median([d for d in differences if d > 0] or [0.0]))
        self._at_once = self._at_once and left <= _LEFT * self._difference
        self._difference = left

    def expect(self, segments: float) -> None:
        """Take how many segments a repaired span will need, from the one that was audited."""
        longest = int(self._spans.lengths.max()) / self._runner.shape.segment
        self._at_once = segments <= _PASSES * longest

    def _repaired_further(self, row: Boundary, course: Course) -> bool:
        """Take one more segment of a repaired span; True while it has to go on."""
        self._compare(row, course)
        if course.settled:
            self._agreed(row.job, course)
            return False
        self._keep(row.job)
        if row.job.at == row.job.stop:
            self._never(row.job)
        return True

    def _compare(self, row: Boundary, course: Course) -> None:
        """Compare a segment with what was kept of it, and put it in its place."""
        job, first, predicted = row.job, row.first, row.predicted
        self.result.tokens_rerun += len(predicted.nats)
        kept = self._kept.get(job.span, job.boundary)
        if kept is not None and not course.hopeless and not course.settled:
            before = self._seen.get(first, first + len(predicted.nats))
            course.look(job.state, kept, predicted, before, job.at - int(self._spans.starts[job.span]))
        self._put(row)

    def _agreed(self, job: Job, course: Course) -> None:
        """The kept results stand from here on: the last state too, so that the next span need not be read again."""
        self.result.forgetting.setdefault(job.span, course.met)
        largest = max(self.result.largest_state_difference or 0.0, course.difference)
        self.result.largest_state_difference = largest

    def _never(self, job: Job) -> None:
        """A span ended without agreeing; of a short one nothing follows from that."""
        if job.boundary >= _TELLING:
            self.result.forgetting.setdefault(job.span, None)

    def _is_fragile(self, spans: list[int]) -> bool:
        """Read spans that never agreed from their start and from one changed by 1e-6, and see whether that grows."""
        starts = [self._before(span) for span in spans]
        noise = np.random.default_rng(0)
        nudges = [noise.standard_normal(len(start)) * _NUDGE * (1 + np.abs(start)) for start in starts]
        nudged = [(start + nudge).astype(start.dtype) for start, nudge in zip(starts, nudges, strict=True)]
        ends = self._ends([*spans, *spans], [*starts, *nudged])  # side by side
        return any(
            scaled_difference(far, end) > _FRAGILE * scaled_difference(near, start)
            for far, end, near, start in zip(ends[len(spans) :], ends, nudged, starts, strict=False)
        )

    def _ends(self, spans: list[int], starts: list[Vectors]) -> list[Vectors]:
        """The state at the end of each span that is read from a given one."""
        jobs = [self._job(span, start) for span, start in zip(spans, starts, strict=True)]

        def at_boundary(rows: list[Boundary]) -> list[bool]:
            self.result.tokens_rerun += sum(len(row.predicted.nats) for row in rows)
            return [True] * len(rows)

        self._runner.run(deque(jobs), at_boundary)
        return [job.state.copy() for job in jobs]


class Audit:
    """One span repaired to its very end, agreement or not: what agreement is worth is seen there.

    It begins as soon as the span and the one before it have been read, among the rows of the first pass. The state
    difference that remains at its end, where the states have merged, is the noise floor of the arithmetic: float32
    products differ between rows of a batch, and a tolerance below the floor would never be met.
    """

    def __init__(self, stitching: Stitching, waiting: deque[Job]) -> None:
        self._of, self._waiting = stitching, waiting
        self._span = stitching._audited
        self._course = Course(tolerance=stitching.result.tolerance)
        self._to_come = set() if self._span is None else {self._span, int(stitching._spans.previous[self._span])}
        self._job: Job | None = None
        self._losses: list[float] = []
        self._differences: dict[int, float] = {}
        """By boundary."""

    def begin_if_ready(self, job: Job) -> None:
        """Queue the second reading once both first readings are done."""
        if self._span is None or job.at != job.stop:
            return
        self._to_come.discard(job.span)
        if not self._to_come and self._job is None:
            state = self._of._before(self._span)
            self._of._read_from[self._span] = state
            self._job = self._of._job(self._span, state)
            self._waiting.append(self._job)

    def takes(self, row: Boundary) -> bool:
        """Look at a segment if it is of the second reading."""
        if row.job is not self._job:
            return False
        kept = self._of._kept.get(row.job.span, row.job.boundary)
        if self._course.settled:
            self._losses.append(loss_difference(row.predicted, self._of._seen.get(row.first, row.job.at + 1)))
        if kept is not None:
            self._differences[row.job.boundary] = scaled_difference(row.job.state, kept)
        settled = self._course.settled
        self._of._compare(row, self._course)
        if self._course.settled and not settled:
            self._of._agreed(row.job, self._course)
        return True

    def end(self) -> None:
        """Keep what was learnt: the noise floor, the difference that agreement hid, and a last state that is new."""
        if self._job is None:
            return
        result = self._of.result
        if self._course.settled:
            result.audited_loss_difference = max(self._losses, default=0.0)
        else:
            self._of._never(self._job)
            self._of._keep(self._job)
            self._of.expect(segments_to_go(self._differences, result.tolerance))
        values = list(self._differences.values())
        floor = max(values[len(values) // 2 :], default=0.0)
        if 0 < result.tolerance < 2 * floor <= 10 * TOLERANCE:
            result.tolerance = 2 * floor
