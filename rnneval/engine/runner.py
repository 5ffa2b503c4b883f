"""Rows side by side: spans are read segment by segment, and a row that ends is free for the next span.

*Row*: one of the spans that a step reads at the same time. *Segment*: the tokens that a row reads in one step. *Job*:
one reading of a span.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rnneval.backends.protocol import Ids, Predicted, Scorer, SeenRows, Sees, Shape, Stepped, Vectors

_WIDTHS = (1, 4, 16, 64)
"""Numbers of rows of narrower steps, which are compiled too: a run takes the first that holds its first jobs."""
_AHEAD = 8  # steps for which a row reads ids at once


@dataclass(kw_only=True, eq=False)
class Job:
    """One span being read: the position and the state there."""

    span: int
    at: int
    """Position of the next input token."""
    stop: int
    """Position after the last input token: the last token that is predicted."""
    state: Vectors
    """The state before the next input token, `(D,)`."""
    boundary: int = 0
    """Segments read so far."""
    _ids: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    """Ids read ahead."""
    _from: int = 0
    """Position of the first id read ahead."""

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
    first: int
    """Position of the first token that was predicted in the segment."""
    records: NDArray[Any]
    """Predictions of the segment's tokens, `(n,)`, as `Predicted.packed` makes them."""
    inside: Any = None
    """Arrays that a watch saw of the segment; None without a watch."""

    @property
    def predicted(self) -> Predicted:
        """The predictions, `(n,)` each."""
        return Predicted.of(self.records)


class Watch(Protocol):
    """A probe of the exact stream: it sees more of a step than the losses."""

    weight: int
    """Numbers kept for a group of segments, for each number of the state: bounds how many groups are kept."""
    sees: Sees
    """What is observed for it."""

    def rows(self, seen: SeenRows | None, first: Sequence[int], counts: Sequence[int]) -> list[Any]:
        """Return what is kept of each row of a step; the rows may come in several parts, each in a call of its own.

        Args:
            seen: What was observed; None if the watch sees only losses.
            first: Position in the text of each row's first input token.
            counts: How many of its positions count.
        """
        ...

    def put(self, row: Boundary, group: int | None) -> None:
        """Take one row at the end of a segment.

        Args:
            row: The observation.
            group: The boundary at which the group of the segment begins; None if the span is read only once. A span is
                re-evaluated from its start, and the last observation of a group is the valid one.
        """
        ...


OnBoundary = Callable[[list[Boundary]], list[bool]]
"""Takes all rows at the end of a segment, and returns for each whether it goes on."""


class Runner:
    """Runs jobs over a text with steps of at most one shape."""

    def __init__(self, text: Ids, shape: Shape, scorer: Scorer, *, start: Vectors, watch: Watch | None = None) -> None:
        """Take a text, what scores a model's predictions in steps of a shape, and the model's initial state `(D,)`."""
        self._text, self.shape, self._scorer, self.start, self._watch = text, shape, scorer, start, watch

    def begin(self) -> None:
        """Begin a reading: its steps depend on nothing that was read before."""
        self._scorer.begin()

    def run(self, waiting: deque[Job], on_boundary: OnBoundary) -> None:
        """Read the span of every job, or as much as `on_boundary` wants; it may add jobs to those waiting."""
        active: list[Job] = []
        width = next((width for width in _WIDTHS if width >= len(waiting)), self.shape.rows)
        width = min(width, self.shape.rows)
        while True:
            while waiting and len(active) < width:
                active.append(waiting.popleft())
            if not active:
                return
            go_on = on_boundary(self._step(active, width))
            active = [job for job, wanted in zip(active, go_on, strict=True) if wanted and job.at < job.stop]

    def _step(self, jobs: list[Job], width: int) -> list[Boundary]:
        counts = [min(self.shape.segment, job.stop - job.at) for job in jobs]
        both = self._tokens(jobs, counts)
        stepped = self._scorer.score(both[:, :-1], both[:, 1:], np.stack([job.state for job in jobs]), width)
        inside = self._observed(stepped, jobs, counts)
        rows = zip(jobs, counts, inside, strict=True)
        records = stepped.predicted.packed()
        return [
            _advanced(job, stepped.states[row], records[row, :count], seen)
            for row, (job, count, seen) in enumerate(rows)
        ]

    def _observed(self, stepped: Stepped, jobs: list[Job], counts: list[int]) -> list[Any]:
        """Return what the watch keeps of each row."""
        if self._watch is None:
            return [None] * len(jobs)
        if not stepped.seen:
            return self._watch.rows(None, [job.at for job in jobs], counts)
        first, kept, start = [job.at for job in jobs], [], 0
        for part in stepped.seen:
            some = slice(start, start := start + part.rows)
            if counts[some]:
                kept += self._watch.rows(part, first[some], counts[some])
        return kept

    def _tokens(self, jobs: list[Job], counts: list[int]) -> NDArray[np.int32]:
        """Return inputs and targets in one array `(rows, longest + 1)`; a short row repeats its last id."""
        both = np.zeros((len(jobs), max(counts) + 1), np.int32)
        for row, (job, count) in enumerate(zip(jobs, counts, strict=True)):
            both[row, : count + 1] = job.ids(self._text, count)
            both[row, count + 1 :] = both[row, count]
        return both


def _advanced(job: Job, state: Vectors, records: NDArray[Any], inside: Any) -> Boundary:
    first = job.at + 1
    job.at += len(records)
    job.boundary += 1
    job.state = state
    return Boundary(job, first, records, inside)
