"""Spans of a text read as rows of one process, segment by segment: a row that ends is free for the next span.

Losses and states are kept, and compared with those of an earlier reading. *Row*: one of the spans that a step reads at
the same time. *Segment*: the tokens that a row reads in one step. *Job*: one reading of a span.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnneval.evaluate.losses import Observations
from rnneval.evaluate.plan import Spans, Streaming
from rnneval.evaluate.stitch import (
    Boundaries,
    OnEnd,
    SpanReading,
    Stitched,
    Stitching,
    loss_difference,
    scaled_difference,
)
from rnneval.models.protocol import Ids, LanguageModel, Predicted, Scorer, Seen, Sees, Shape, Stepped, Vectors
from rnneval.models.state import numbers_of
from rnneval.options import Progress
from rnneval.text import EncodedText

_WIDTHS = (1, 4, 16, 64)
"""Numbers of rows of narrower steps, which are compiled too: a run takes the first that holds its first jobs."""
_FEW, _WORTH = 4, 16
"""Once so few rows are left, and are for so many steps, steps become that narrow: compiling costs as much as some."""
_AHEAD = 8  # steps for which a row reads ids at once
_CONCLUSIVE = 4  # boundaries: a shorter span that does not agree may only have been too short
_NUDGE = 1e-6
_FRAGILE = 100
_NUDGED = 8  # spans: on one of them alone a change may happen to die out


@dataclass(kw_only=True, eq=False)
class Job:
    """One span being read: the position and the state there."""

    span: int
    at: int  # position of the next input token
    stop: int  # position after the last input token: the last token that is predicted
    state: Vectors  # the state before the next input token, `(D,)`
    reading: SpanReading | None = None  # None: it is compared with no other
    boundary: int = 0  # segments read so far
    _ids: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))  # ids read ahead
    _from: int = 0  # position of the first id read ahead

    def ids(self, text: Ids, count: int) -> NDArray[np.int32]:
        """Return the next `count` inputs and the target of the last one, `(count + 1,)`; ids are read ahead."""
        start = self.at - self._from
        if start + count >= len(self._ids):
            stop = min(self.stop + 1, self.at + _AHEAD * count + 1)
            self._ids, self._from, start = text.ids(self.at, stop), self.at, 0
        return self._ids[start : start + count + 1]


class Boundary(NamedTuple):
    """A job at the end of a segment."""

    job: Job
    first: int  # position of the first token that was predicted in the segment
    records: NDArray[Any]  # predictions of the segment's tokens, `(n,)`, as `Predicted.packed` makes them
    inside: Any = None  # arrays that a watch saw of the segment; None without a watch

    @property
    def predicted(self) -> Predicted:
        """The predictions, `(n,)` each."""
        return Predicted.of(self.records)


class Watch:
    """A probe of the exact stream: it may see more of a step than the losses."""

    weight = 0
    """Numbers kept for a group of segments, for each number of the state: bounds how many groups are kept."""
    sees: Sees = "losses"
    """What is observed for it."""

    def rows(self, seen: Seen, first: Sequence[int], counts: Sequence[int]) -> list[Any]:
        """Return what is kept of each row of a step.

        Of each row, `first` has the position in the text of the first input token, and `counts` how many of its
        positions count. A watch that sees only losses is not asked.
        """
        raise NotImplementedError

    def put(self, row: Boundary, group: int | None) -> None:
        """Take one row at the end of a segment.

        `group` is the boundary at which the group of the segment begins; None if the span is read only once. A span is
        re-evaluated from its start, and the last observation of a group is the valid one.
        """
        raise NotImplementedError

    def for_chunk(self) -> "Watch":
        """Return a watch over a chunk of the same text, which has seen nothing yet: another process can have it."""
        raise NotImplementedError

    def part(self) -> Any:
        """Return what a watch over a chunk has seen; groups of its first row, span 0, stay apart."""
        raise NotImplementedError

    def include(self, chunk: int, part: Any) -> None:
        """Take what a watch over a chunk has seen, in place of all that was known of the chunk.

        Later observations of its first row have the chunk's number as their span.
        """
        raise NotImplementedError


class Runner:
    """Runs jobs over a text with steps of at most one shape."""

    def __init__(
        self,
        text: Ids,
        shape: Shape,
        scorer: Scorer,
        *,
        start: Vectors,
        watch: Watch | None = None,
        padded: bool = True,
    ) -> None:
        """Take a text, what scores a model's predictions in steps of a shape, and the model's initial state `(D,)`.

        Rows of a step are filled up to the longest, or, if not `padded`, are a step for each length.
        """
        self._text, self.shape, self._scorer, self.start, self.watch = text, shape, scorer, start, watch
        self._padded = padded

    def run(self, waiting: deque[Job], on_boundary: Callable[[list[Boundary]], list[bool]]) -> None:
        """Read the span of every job, or as much as is wanted.

        `on_boundary` takes all rows at the end of a segment, returns for each whether it goes on, and may add jobs to
        those waiting.
        """
        active: list[Job] = []
        few = 0  # steps with few rows, up to now
        width = next((width for width in _WIDTHS if width >= len(waiting)), self.shape.rows)
        width = min(width, self.shape.rows)
        while True:
            while waiting and len(active) < width:
                active.append(waiting.popleft())
            if not active:
                return
            few = few + 1 if len(active) <= _FEW else 0
            counts = sorted({self._count(job) for job in active})
            together = [active]
            if not self._padded:
                together = [[job for job in active if self._count(job) == count] for count in counts]
            narrowed = min(_FEW, width) if few > _WORTH else width
            rows = [row for jobs in together for row in self._step(jobs, narrowed)]
            go_on = on_boundary(rows)
            active = [row.job for row, wanted in zip(rows, go_on, strict=True) if wanted and row.job.at < row.job.stop]

    def _count(self, job: Job) -> int:
        """Return the number of tokens of a job's next step."""
        return min(self.shape.segment, job.stop - job.at)

    def _step(self, jobs: list[Job], width: int) -> list[Boundary]:
        counts = [self._count(job) for job in jobs]
        both = np.zeros((len(jobs), max(counts) + 1), np.int32)  # inputs and targets
        for row, (job, count) in enumerate(zip(jobs, counts, strict=True)):
            both[row, : count + 1] = job.ids(self._text, count)
            both[row, count + 1 :] = both[row, count]  # a short row repeats its last id
        stepped = self._scorer.score(both[:, :-1], both[:, 1:], np.stack([job.state for job in jobs]), width)
        inside = self._observed(stepped, jobs, counts)
        records = stepped.predicted.packed()
        rows = []
        for row, (job, count, seen) in enumerate(zip(jobs, counts, inside, strict=True)):
            rows.append(Boundary(job, job.at + 1, records[row, :count], seen))
            job.at += count
            job.boundary += 1
            job.state = stepped.states[row]
        return rows

    def _observed(self, stepped: Stepped, jobs: list[Job], counts: list[int]) -> list[Any]:
        """Return what the watch keeps of each row."""
        if self.watch is None or stepped.seen is None:
            return [None] * len(jobs)
        return self.watch.rows(stepped.seen, [job.at for job in jobs], counts)


class Rows:
    """Reads spans of a text side by side: for a `Stitching`."""

    def __init__(
        self,
        runner: Runner,
        spans: Spans,
        seen: Observations,
        *,
        kept: Boundaries | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Take what runs the model, the spans to read, and what keeps the predictions.

        `kept` holds states of earlier readings; by default those of the spans that go on from others are kept.
        """
        self._runner, self._spans, self._seen, self._watch = runner, spans, seen, runner.watch
        self._progress = progress
        weight = 1 if runner.watch is None else 1 + runner.watch.weight
        self._kept = kept or Boundaries(np.flatnonzero(spans.continues).tolist(), runner.start, weight)
        self._scored, self._predictions = 0, spans.predictions

    def read(self, readings: Sequence[SpanReading], on_end: OnEnd) -> None:
        """Make readings side by side; further ones are made when a row is free."""
        waiting = deque(map(self._job_of, readings))

        def at_boundary(rows: list[Boundary]) -> list[bool]:
            go_on, scored = [], self._scored
            for row in rows:
                job, reading = row.job, row.job.reading
                assert reading is not None  # noqa: S101 - `_job_of` gives each job its own
                go_on.append(self._compare(row, reading) if reading.reevaluates else self._keep_first(row))
                if job.at == job.stop or not go_on[-1]:
                    reading.last = None if reading.settled else job.state.copy()
                    reading.conclusive = job.boundary >= _CONCLUSIVE
                    waiting.extend(map(self._job_of, on_end(reading)))
            if self._progress is not None and self._scored > scored:
                self._progress(self._scored, self._predictions)
            return go_on

        self._runner.run(waiting, at_boundary)

    def stitched(self, tolerance: float, *, audited: int | None, start: Vectors | None = None) -> Stitching:
        """Read every span exactly, and return the finished stitching; the first span begins from `start`.

        Spans that never forgot their start are read again, from their start and from one changed by 1e-6: where that
        grows, the result depends on rounding.
        """
        spans, shape = self._spans, self._runner.shape
        stitching = Stitching(
            self.read, spans, segment=shape.segment, tolerance=tolerance, audited=audited, start=start
        )
        result = stitching.run()
        never = [span for span, tokens in result.forgetting.items() if tokens is None and isinstance(span, int)]
        some = never[: min(_NUDGED, shape.rows)]
        starts = [stitching.last(span - 1) for span in some]
        near = nudged(starts)
        jobs = [
            self._job_of(SpanReading(span=span, start=s)) for span, s in zip(some * 2, [*starts, *near], strict=True)
        ]
        self._runner.run(deque(jobs), lambda rows: [True] * len(rows))
        ends = [job.state for job in jobs]
        result.fragile = any(map(grew, near, ends[len(some) :], starts, ends))
        result.tokens_rerun += 2 * sum(int(spans.lengths[span]) for span in some)
        return stitching

    def _job_of(self, reading: SpanReading) -> Job:
        state = self._runner.start if reading.start is None else reading.start
        start, stop = int(self._spans.starts[reading.span]), int(self._spans.stops[reading.span])
        return Job(span=reading.span, at=start, stop=stop, state=state, reading=reading)

    def _keep_first(self, row: Boundary) -> bool:
        """Keep a segment of a first reading, which always goes on."""
        job = row.job
        self._put(row)
        self._kept.put(job.span, job.boundary, job.state)
        self._scored += len(row.records)
        return True

    def _compare(self, row: Boundary, reading: SpanReading) -> bool:
        """Compare a segment with the earlier reading, and keep it; True while the span has to be read on."""
        job, count = row.job, len(row.records)
        reading.tokens += count
        kept = self._kept.get(job.span, job.boundary)
        if reading.audits and kept is not None:
            reading.state_differences[job.boundary] = scaled_difference(job.state, kept)
        before = self._seen.get(row.first, row.first + count)
        if reading.settled:
            reading.loss_difference = max(reading.loss_difference, loss_difference(row.predicted, before))
        elif kept is not None and not reading.hopeless:
            reading.compare(job.state, kept, row.predicted, before, job.at - int(self._spans.starts[job.span]))
        self._put(row)
        if not reading.settled and (not reading.audits or job.at == job.stop):
            self._kept.put(job.span, job.boundary, job.state)
        return reading.audits or not reading.settled

    def _put(self, row: Boundary) -> None:
        """Keep the predictions of a segment: they stand until it is re-evaluated."""
        self._seen.write(row.first, row.records)
        if self._watch is not None:
            again = row.job.span in self._kept
            self._watch.put(row, self._kept.group_of(row.job.boundary) if again else None)


def nudged(states: Sequence[Vectors]) -> list[Vectors]:
    """Return states that are changed by about 1e-6 in each unit, always in the same way."""
    noise, near = np.random.default_rng(0), [state.copy() for state in states]
    for state in map(numbers_of, near):
        state[:] = state + noise.standard_normal(len(state)) * _NUDGE * (1 + np.abs(state))
    return near


def grew(near: Vectors, far: Vectors, start: Vectors, end: Vectors) -> bool:
    """Return whether the distance of two states, near and start, grew a hundredfold until they were far and end."""
    return scaled_difference(far, end) > _FRAGILE * scaled_difference(near, start)


@dataclass(frozen=True, kw_only=True)
class Read:
    """Settings and statistics of reading a text."""

    shape: Shape
    stitched: Stitched
    workers: int | None = None  # processes that read the text; None: this process read it in one piece
    chunks: int | None = None  # number of chunks of the text; each is one task of a worker


@dataclass(frozen=True, kw_only=True)
class TextReading:
    """A text to be read with a model: how, and where its predictions go."""

    lm: LanguageModel
    text: EncodedText
    how: Streaming
    observations: Observations
    watch: Watch | None  # sees more of every step


Reader = Callable[[TextReading], Read]
"""Reads a text and writes its predictions into the observations."""
