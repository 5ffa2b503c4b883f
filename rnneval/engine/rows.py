"""Spans read as rows of one process: losses and states are kept, and compared with those of an earlier reading."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from rnneval.backends.protocol import Vectors
from rnneval.engine.agreement import Agreement, Boundaries, loss_difference, scaled_difference
from rnneval.engine.collect import Observations
from rnneval.engine.plan import Spans, Stitch
from rnneval.engine.runner import Boundary, Job, Runner, Watch
from rnneval.engine.stitch import Audit, SpanReading, SpanResult, Stitching
from rnneval.options import Progress

_CONCLUSIVE = 4  # boundaries: a shorter span that does not agree may only have been too short
_NUDGE = 1e-6
_FRAGILE = 100
_NUDGED = 8  # spans: on one of them alone a change may happen to die out


@dataclass(kw_only=True)
class _Comparison:
    """A re-evaluation that has begun, compared with the reading before it."""

    audits: bool
    agreement: Agreement
    tokens: int = 0
    loss_differences: list[float] = field(default_factory=list)
    """Differences of losses after agreement, for the audit."""
    state_differences: dict[int, float] = field(default_factory=dict)
    """The difference of states at each boundary, for the audit."""


class Rows:
    """Reads spans of a text side by side: a `SpanReader`."""

    def __init__(
        self,
        runner: Runner,
        spans: Spans,
        seen: Observations,
        *,
        kept: Boundaries | None = None,
        watch: Watch | None = None,
        progress: Progress | None = None,
        overlap: dict[int, Vectors] | None = None,
    ) -> None:
        """Take the runner of the model, the spans, and the place where predictions are kept.

        Args:
            runner: Runs the model over the text.
            spans: The spans to read.
            seen: Keeps the predictions.
            kept: States of earlier readings; by default those of the spans that go on from others are kept.
            watch: Sees more of each step.
            progress: Called with the tokens scored so far and in all.
            overlap: Gets the states of the first span by boundary, for a re-evaluation by another process.
        """
        self._runner, self._spans, self._seen, self._watch = runner, spans, seen, watch
        self._progress, self._overlap = progress, overlap
        self._initial = runner.start
        weight = 1 if watch is None else 1 + watch.weight
        self._kept = kept or Boundaries(np.flatnonzero(spans.previous >= 0).tolist(), self._initial, weight)
        self._scored, self._predictions = 0, spans.predictions

    def read(self, readings: Sequence[SpanReading], on_end: Callable[[SpanResult], Sequence[SpanReading]]) -> None:
        """Make readings side by side; further ones are made when a row is free."""
        waiting: deque[Job] = deque()
        asked: dict[Job, tuple[SpanReading, _Comparison | None]] = {}

        def open_all(several: Sequence[SpanReading]) -> None:
            for reading in several:
                job = self._job(reading.span, self._initial if reading.start is None else reading.start)
                comparison = None  # a first reading has nothing to compare with
                if reading.reevaluates:
                    comparison = _Comparison(audits=reading.audits, agreement=Agreement(tolerance=reading.tolerance))
                asked[job] = reading, comparison
                waiting.append(job)

        def at_boundary(rows: list[Boundary]) -> list[bool]:
            go_on, scored = [], self._scored
            for row in rows:
                reading, comparison = asked[row.job]
                go_on.append(self._first(row) if comparison is None else self._compare(row, comparison))
                if row.job.at == row.job.stop or not go_on[-1]:
                    del asked[row.job]
                    open_all(on_end(self._ended(row.job, reading, comparison)))
            if self._progress is not None and self._scored > scored:
                self._progress(self._scored, self._predictions)
            return go_on

        open_all(readings)
        self._runner.run(waiting, at_boundary)

    def is_fragile(self, readings: Sequence[SpanReading]) -> tuple[bool, int]:
        """Read spans from their start and from one changed by 1e-6; return whether that grows, and the tokens read."""
        starts = [self._initial if reading.start is None else reading.start for reading in readings]
        near = nudged(starts)
        jobs = [  # side by side
            self._job(reading.span, start)
            for some in (starts, near)
            for reading, start in zip(readings, some, strict=True)
        ]
        self._runner.run(deque(jobs), lambda rows: [True] * len(rows))
        ends = [job.state for job in jobs]
        fragile = any(map(grew, near, ends[len(readings) :], starts, ends))
        return fragile, sum(int(self._spans.lengths[job.span]) for job in jobs)

    def _job(self, span: int, state: Vectors) -> Job:
        return Job(span=span, at=int(self._spans.starts[span]), stop=int(self._spans.stops[span]), state=state)

    def _first(self, row: Boundary) -> bool:
        """Keep a segment of a first reading."""
        job = row.job
        self._put(row)
        self._kept.put(job.span, job.boundary, job.state)
        if self._overlap is not None and job.span == 0 and self._kept.keeps(job.boundary):
            self._overlap[job.boundary] = job.state.copy()
        self._scored += len(row.records)
        return True

    def _compare(self, row: Boundary, comparison: _Comparison) -> bool:
        """Compare a segment with the earlier reading, and keep it; True while the span has to be read on."""
        job, agreement, audits = row.job, comparison.agreement, comparison.audits
        count = len(row.records)
        comparison.tokens += count
        kept = self._kept.get(job.span, job.boundary)
        if audits and kept is not None:
            comparison.state_differences[job.boundary] = scaled_difference(job.state, kept)
        if agreement.settled or (kept is not None and not agreement.hopeless):
            before = self._seen.get(row.first, row.first + count)
            if agreement.settled:
                comparison.loss_differences.append(loss_difference(row.predicted, before))
            elif kept is not None:
                tokens = job.at - int(self._spans.starts[job.span])
                agreement.compare(job.state, kept, row.predicted, before, tokens)
        self._put(row)
        if not agreement.settled and (not audits or job.at == job.stop):
            self._kept.put(job.span, job.boundary, job.state)
        return audits or not agreement.settled

    def _put(self, row: Boundary) -> None:
        """Keep the predictions of a segment: they stand until it is re-evaluated."""
        self._seen.put(row.first, row.records)
        if self._watch is not None:
            once = row.job.span not in self._kept.spans
            self._watch.put(row, None if once else self._kept.group_of(row.job.boundary))

    def _ended(self, job: Job, reading: SpanReading, comparison: _Comparison | None) -> SpanResult:
        if comparison is None:
            return SpanResult(reading=reading, last=job.state.copy())
        audit = Audit(
            loss_difference=max(comparison.loss_differences, default=0.0),
            state_differences=comparison.state_differences,
        )
        return SpanResult(
            reading=reading,
            last=None if comparison.agreement.settled else job.state.copy(),
            tokens=comparison.tokens,
            agreed_after=comparison.agreement.met,
            difference=comparison.agreement.difference,
            conclusive=job.boundary >= _CONCLUSIVE,
            audit=audit if comparison.audits else None,
        )


def nudged(states: Sequence[Vectors]) -> list[Vectors]:
    """Return states `(D,)` that are changed by about 1e-6 in each unit, always in the same way."""
    noise = np.random.default_rng(0)
    nudges = [noise.standard_normal(len(state)) * _NUDGE * (1 + np.abs(state)) for state in states]
    return [(state + nudge).astype(state.dtype) for state, nudge in zip(states, nudges, strict=True)]


def grew(near: Vectors, far: Vectors, start: Vectors, end: Vectors) -> bool:
    """Return whether the distance of two states, near and start, grew a hundredfold until they were far and end."""
    return scaled_difference(far, end) > _FRAGILE * scaled_difference(near, start)


def read_in_rows(
    runner: Runner,
    stitch: Stitch,
    seen: Observations,
    tolerance: float,
    *,
    start: Vectors | None = None,
    overlap: dict[int, Vectors] | None = None,
    watch: Watch | None = None,
    progress: Progress | None = None,
) -> Stitching:
    """Read every span exactly, in rows of this process, and return the finished stitching."""
    rows = Rows(runner, stitch.spans, seen, watch=watch, progress=progress, overlap=overlap)
    segment = runner.shape.segment
    stitching = Stitching(rows, stitch.spans, segment=segment, tolerance=tolerance, audited=stitch.audited, start=start)
    result = stitching.run()
    never = [span for span, tokens in result.forgetting.items() if tokens is None and isinstance(span, int)]
    readings = [
        SpanReading(span=span, start=stitching.before(span)) for span in never[: min(_NUDGED, runner.shape.rows)]
    ]
    result.fragile, tokens = rows.is_fragile(readings)
    result.tokens_rerun += tokens
    return stitching
