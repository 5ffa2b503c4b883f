"""Rows side by side: spans are read segment by segment, and a row that ends is free for the next span.

*Row*: one of the spans that a step reads at the same time. *Segment*: the tokens that a row reads in one step. *Job*:
one reading of a span.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rnneval.backends.protocol import Predicted
from rnneval.engine.arrangement import PLAIN, Arrangement
from rnneval.engine.kernel import Kernel, Packing, Stepped, Vectors, Watch, WholeStateKernel
from rnneval.engine.plan import Shape
from rnneval.models.lm import RecurrentLM

_WIDTHS = (1, 4, 16, 64)
"""Numbers of rows of narrower steps, which are compiled too: a run takes the first that holds its first jobs."""
_FEW = 4
"""Rows of a step when no more jobs are left than this."""
_WORTH_COMPILING = 4
"""Steps: fewer are made in a wider shape that was used already, since compiling costs as much as some of them."""

_AHEAD = 8  # steps for which a row reads ids at once


class Ids(Protocol):
    """Source of the ids of a text."""

    def ids(self, start: int, stop: int) -> NDArray[np.int32]:
        """Return the ids of tokens start to stop."""
        ...


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

    def ids(self, text: "Ids", count: int) -> NDArray[np.int32]:
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
    predicted: Predicted
    """Predictions of the segment's tokens, `(n,)` each."""
    inside: Any = None
    """Arrays that a watch saw of the segment; None without a watch."""


OnBoundary = Callable[[list[Boundary]], list[bool]]
"""Takes all rows at the end of a segment, and returns for each whether it goes on."""


class Runner:
    """Runs jobs over a text with steps of at most one shape."""

    def __init__(
        self,
        lm: RecurrentLM,
        text: Ids,
        shape: Shape,
        *,
        padded: bool = True,
        watch: Watch | None = None,
        arrangement: Arrangement = PLAIN,
    ) -> None:
        """Take a model and a text; without padding, a last short segment is a step of its own length.

        Padding follows the tokens that count, so it changes nothing but for a model that sees the future. A compiled
        step for every length would cost more than the steps.
        """
        self._lm, self._text, self.shape, self._padded = lm, text, shape, padded
        self._kernels: dict[Shape, Kernel | WholeStateKernel] = {}
        self._packing = Packing.of(lm) if lm.mixable else None
        self._watch, self._arrangement = watch, arrangement
        self.begin()

    def begin(self) -> None:
        """Begin a reading: the shapes of its steps depend on nothing that was read before."""
        self._asked: Counter[Shape] = Counter()
        self._used: set[Shape] = set()

    def start(self) -> Vectors:
        """Return the model's initial state, `(D,)`."""
        if self._packing is None:
            return np.zeros(1, np.float32)
        packed: Vectors = self._packing.pack(self._lm.initial_state(1)).numpy()[0]
        return packed

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
        kernel = self._kernel(len(jobs), max(counts), width)
        both = self._tokens(jobs, counts, kernel.shape)
        states = np.zeros((kernel.shape.rows, len(jobs[0].state)), jobs[0].state.dtype)
        states[: len(jobs)] = [job.state for job in jobs]
        stepped = kernel.step(both[:, :-1], both[:, 1:], states)
        inside = self._looked_at(stepped, jobs, counts)
        rows = zip(jobs, counts, inside, strict=True)
        return [_advanced(job, stepped, row, count, seen) for row, (job, count, seen) in enumerate(rows)]

    def _looked_at(self, stepped: Stepped, jobs: list[Job], counts: list[int]) -> list[Any]:
        if self._watch is None:
            return [None] * len(jobs)
        first, seen, start = [job.at for job in jobs], [], 0
        for part in stepped.inside:
            some = slice(start, start := start + part.rows)
            if counts[some]:
                seen += self._watch.rows(part.seen, first[some], counts[some])
        return seen

    def _tokens(self, jobs: list[Job], counts: list[int], shape: Shape) -> NDArray[np.int32]:
        """Return inputs and targets in one array `(rows, segment + 1)`; padding repeats an id and is not counted."""
        both = np.zeros((shape.rows, shape.segment + 1), np.int32)
        for row, (job, count) in enumerate(zip(jobs, counts, strict=True)):
            both[row, : count + 1] = job.ids(self._text, count)
            both[row, count + 1 :] = both[row, count]
        return both

    def _kernel(self, jobs: int, longest: int, width: int) -> Kernel | WholeStateKernel:
        rows = width if jobs > _FEW else min(_FEW, width)
        shape = self._worth(Shape(rows=rows, segment=self.shape.segment if self._padded else longest))
        if shape not in self._kernels:
            self._kernels[shape] = (
                WholeStateKernel(self._lm, shape, self._watch)
                if self._packing is None
                else Kernel(self._lm, self._packing, shape, self._watch, self._arrangement)
            )
        return self._kernels[shape]

    def _worth(self, wanted: Shape) -> Shape:
        """Return the wanted shape, or at first a wider one that this reading has used already."""
        self._asked[wanted] += 1
        wider = [shape for shape in self._used if shape.segment == wanted.segment and shape.rows > wanted.rows]
        if wider and wanted not in self._used and self._asked[wanted] <= _WORTH_COMPILING:
            return min(wider, key=lambda shape: shape.rows)
        self._used.add(wanted)
        return wanted


def _advanced(job: Job, stepped: Stepped, row: int, count: int, inside: Any) -> Boundary:
    first = job.at + 1
    job.at += count
    job.boundary += 1
    job.state = stepped.states[row]
    nats, confidence, rank = stepped.predicted
    return Boundary(job, first, Predicted(nats[row, :count], confidence[row, :count], rank[row, :count]), inside)
