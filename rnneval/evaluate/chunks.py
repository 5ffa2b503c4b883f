"""One long text in chunks, which processes read side by side, each by the exact method of one process.

The algorithm is that of `rnneval.evaluate.stitch` with chunks in place of spans, so `SpanReading.span` is the number of
a chunk here. Chunks are read from the model's initial state, by workers or by this process. This process then
re-evaluates the first row of each chunk that goes on from another one, all of them side by side; a chunk that does not
agree there is read again, from the last state of the chunk before it. Chunks are cut by sizes alone, so the result is
the same for any number of workers. A worker opens the model once and keeps it with its compiled steps. It gets nothing
of the text but the ids of a chunk, which come with the task.

*Span*: consecutive tokens of one document that one state is carried over. *Chunk*: what one task reads: several short
spans, or a piece of a long one. *Row*: a span of the chunk as it is cut again for reading side by side; the first row
begins where the chunk begins. *Segment*: the tokens of one step of the model; its end is a *boundary*.
"""

import multiprocessing
import pickle
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import CheckpointError, UsageError
from rnneval.evaluate.executor import Pool, Task, WorkerDiedError
from rnneval.evaluate.losses import Observations
from rnneval.evaluate.opening import ALONE, Reopened, file_hashes, files_of, portable
from rnneval.evaluate.plan import Spans, Streaming, chunk_ends, divided, shape_for
from rnneval.evaluate.rows import Job, Read, Reader, Rows, Runner, TextReading, Watch
from rnneval.evaluate.stitch import Boundaries, OnEnd, SpanReading, Stitched, Stitching
from rnneval.models.protocol import LanguageModel, Predicted, Scorer, Shape, Vectors
from rnneval.models.state import numbers_of
from rnneval.options import OpeningGroup, Progress
from rnneval.processes import cores

_MOST = 8  # processes that are started without being asked for, this one included


def chunks_of(spans: Spans, ends: Sequence[int], segment: int) -> list[Spans]:
    """Cut spans after so many predictions, at the ends of segments: in a shorter one, a state goes on over its filling.

    A cut near the start or the end of a span is made there: the first row of a chunk must not be short.

    Example:
        >>> spans = Spans(starts=np.array([0, 8, 11]), stops=np.array([7, 10, 12]), continues=np.zeros(3, bool))
        >>> [(c.starts.tolist(), c.stops.tolist(), c.continues.tolist()) for c in chunks_of(spans, [5, 10], 1)]
        [([0], [5], [False]), ([5, 8, 11], [7, 10, 12], [True, False, False])]
    """
    stops = np.cumsum(spans.lengths)
    starts = stops - spans.lengths
    near, cuts = ends[-1] // len(ends) // 8, set[int]()
    for end in ends[:-1]:
        span = int(np.searchsorted(stops, end, side="right"))
        first, last = int(starts[span]), int(stops[span])
        cut = first + (end - first) // segment * segment
        cuts.add(first if cut - first < near else last if last - cut < near else cut)
    points = np.union1d(starts, [*cuts]).astype(np.int64)
    points = points[points < ends[-1]]
    place = np.searchsorted(stops, points, side="right")
    begins = spans.starts[place] + points - starts[place]
    lengths = np.diff(points, append=ends[-1])
    goes_on = (points > starts[place]) | spans.continues[place]
    bounds = np.unique(np.searchsorted(points, sorted(cuts)))
    return [
        Spans(starts=start, stops=start + length, continues=on)
        for start, length, on in zip(*(np.split(part, bounds) for part in (begins, lengths, goes_on)), strict=True)
        if len(start)
    ]


# One chunk


@dataclass(frozen=True, kw_only=True)
class ChunkSetup:
    """Settings that all chunks share."""

    model: Callable[[], LanguageModel]  # opens the model in a worker
    shape: Shape
    how: Streaming
    first: int  # the number of the first boundaries whose states are kept, in all processes the same
    watch: Watch | None = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ChunkIds:
    """One chunk with its ids: the text that a worker reads."""

    index: int  # the chunk's number, added to the seed that picks the audited row
    chunk: Spans
    held: NDArray[np.int32]  # ids of its tokens, from its first input to its last target

    def ids(self, start: int, stop: int) -> NDArray[np.int32]:
        """Return the ids of tokens start to stop of the text."""
        first = int(self.chunk.starts[0])
        return self.held[start - first : stop - first]


@dataclass(frozen=True, kw_only=True)
class ChunkRead:
    """A chunk that was read to its end."""

    predicted: Predicted
    """Predictions of every token after the chunk's first, `(n,)`; those that begin a span are without meaning."""
    last: Vectors
    first_row: Mapping[int, Vectors]  # states of the first row by boundary, with which its re-evaluation is compared
    first_row_stop: int
    stitched: Stitched
    seen: Any  # what the watch saw


_OPEN: dict[str, tuple[LanguageModel, Scorer]] = {}  # the one model of a worker, with its compiled steps


def read_chunk(setup: ChunkSetup, given: ChunkIds, start: Vectors | None) -> ChunkRead:
    """Read a chunk in a worker from a state, or from the model's initial one."""
    with ALONE:  # one model at a time in this process
        key = repr((setup, None if setup.watch is None else setup.watch.sees))
        if key not in _OPEN:
            _OPEN.clear()
            lm = setup.model()
            _OPEN[key] = lm, _scorer_of(lm, setup)
        return _read(*_OPEN[key], setup, given, start)


def _scorer_of(lm: LanguageModel, setup: ChunkSetup) -> Scorer:
    sees = "losses" if setup.watch is None else setup.watch.sees
    return lm.scorer(setup.shape, sees=sees)


def _read(
    lm: LanguageModel,
    scorer: Scorer,
    setup: ChunkSetup,
    given: ChunkIds,
    start: Vectors | None,
    *,
    progress: Progress | None = None,
) -> ChunkRead:
    watch = None if setup.watch is None else setup.watch.for_chunk()
    runner = Runner(given, setup.shape, scorer, start=lm.start(), watch=watch)
    spans, audited = replace(given.chunk, continues=np.zeros(len(given.chunk), bool)), None
    if setup.how.state == "carry":  # where the state is reset, each span is a row
        spans, audited = divided(spans, setup.shape, seed=setup.how.seed + given.index)
    kept = Boundaries([0, *np.flatnonzero(spans.continues).tolist()], runner.start, first=setup.first)
    first, stop = int(spans.starts[0]) + 1, int(spans.stops[-1]) + 1
    seen = Observations(lm, first, stop)
    rows = Rows(runner, spans, seen, kept=kept, progress=progress)
    stitching = rows.stitched(setup.how.tolerance, audited=audited, start=start)
    return ChunkRead(
        predicted=seen.get(first, stop),
        last=stitching.last(len(spans) - 1),
        first_row=kept.states_of(0),
        first_row_stop=int(spans.stops[0]),
        stitched=stitching.result,
        seen=None if watch is None else watch.part(),
    )


# Where the text is


def reader_over(pool: Pool, checkpoint: str, options: OpeningGroup, *, chunk: int | None = None) -> Reader:
    """Return a reader for `rnneval.evaluate`, whose chunks a pool reads.

    Workers open the very checkpoint that is evaluated, at its path. `chunk` is the most predictions of a chunk, by
    default chosen by the length of the text.
    """
    path, plain = str(Path(checkpoint).absolute()), portable(options)
    hashes = file_hashes(files_of(plain))

    def read(asked: TextReading) -> Read:
        lm = asked.lm
        if not lm.mixable:
            raise UsageError("this model's state cannot be taken from one process to another: leave out --jobs")
        sha256 = lm.checkpoint.sha256
        model = Reopened(path=path, sha256=sha256, options=plain, hashes=hashes)
        return ChunkReader(asked, *_cut(asked, chunk), pool, model).read_all()

    return read


def read_beside(asked: TextReading) -> Read | None:
    """Read a long text with a model that NumPy runs in this process and in others beside it.

    Each uses one core, and another process makes the same model in no time. None: no cut parts the text.
    """
    chunks, shape = _cut(asked)
    if len(chunks) < 2:
        return None
    # A worker starts no others, nor can a process that must not have any.
    alone = ALONE.locked() or multiprocessing.current_process().daemon
    with Pool(0 if alone else min(cores(), _MOST, len(chunks)) - 1) as pool:
        return ChunkReader(asked, chunks, shape, pool, Copied(pickle.dumps(asked.lm)), here=True).read_all()


def _cut(asked: TextReading, length: int | None = None) -> tuple[list[Spans], Shape]:
    """Cut a text into chunks of at most some predictions, by default by its sizes; return them and the shape of a step.

    As many rows are read side by side as if it were in one piece: by two processes, half of them each.
    """
    lm, how, spans = asked.lm, asked.how, asked.how.spans(asked.text)
    ends = chunk_ends(spans.predictions, lm.checkpoint.parameters)
    rows = how.rows(lm, spans.predictions)
    if len(ends) > 1 and how.streams == "auto":
        rows = -(-rows // 2)
    shape = shape_for(spans, lm.width, rows=rows, segment=asked.how.step, chunk=lm.chunk)
    if length is not None:
        length = max(1, length // shape.segment) * shape.segment
        ends = [*range(length, spans.predictions, length), spans.predictions]
    return chunks_of(spans, ends, shape.segment), shape


@dataclass(frozen=True)
class Copied:
    """A model that is taken to another process as it is."""

    pickled: bytes = field(repr=False)

    def __call__(self) -> LanguageModel:
        """Make the model again."""
        lm: LanguageModel = pickle.loads(self.pickled)  # noqa: S301 - written by the process that started this one
        return lm


class ChunkReader:
    """Reads chunks of a text on workers, and their first rows again in this process."""

    def __init__(
        self,
        asked: TextReading,
        chunks: list[Spans],
        shape: Shape,
        pool: Pool,
        model: Callable[[], LanguageModel],
        *,
        here: bool = False,
    ) -> None:
        """Take the text, its chunks, the workers, and what opens the model there; `here`: this process reads, too."""
        self._asked, self._chunks, self._pool, self._here = asked, chunks, pool, here
        start, weight = asked.lm.start(), 1 if asked.watch is None else 1 + asked.watch.weight
        first = Boundaries(range(shape.rows + 1), start, weight).first
        how = replace(asked.how, progress=None)  # which stays in this process
        self._setup = ChunkSetup(model=model, shape=shape, how=how, first=first, watch=asked.watch)
        self._spans = Spans(
            starts=np.array([chunk.starts[0] for chunk in chunks], np.int64),
            stops=np.array([chunk.stops[-1] for chunk in chunks], np.int64),
            continues=np.array([chunk.continues[0] for chunk in chunks], bool),
        )
        self._first_row_stops = self._spans.stops.copy()
        # States of the first row of every chunk.
        self._kept = Boundaries(range(len(chunks)), start, first=self._setup.first)
        self._last: dict[int, Vectors] = {}
        self._inner: list[tuple[int, Stitched]] = []  # for every reading of a whole chunk: its number, and its rows
        self._tolerance = np.zeros(len(chunks))  # by chunk: that which its first reading found to be reachable
        self._scored, self._predictions = 0, sum(chunk.predictions for chunk in chunks)

    def read_all(self) -> Read:
        """Read every chunk exactly, and return the statistics."""
        shape, tolerance = self._setup.shape, self._setup.how.tolerance
        if self._asked.watch is not None and self._chunks:
            self._look_at_first_segment(self._asked.watch)
        result = Stitching(self.read, self._spans, segment=shape.segment, tolerance=tolerance).run()
        for chunk, inner in self._inner:
            result.include(chunk, inner)
        result.passes += max((inner.passes for _, inner in self._inner), default=1) - 1
        result.tolerance = max(self._tolerance.tolist(), default=result.tolerance)
        return Read(
            shape=shape,
            stitched=result,
            workers=self._pool.workers + 1 if self._here else max(1, self._pool.workers),
            chunks=len(self._chunks),
        )

    def _look_at_first_segment(self, watch: Watch) -> None:
        """Let a watch see what a step looks like: the watches over chunks begin with this knowledge."""
        at, stop = int(self._spans.starts[0]), int(self._chunks[0].stops[0])
        stop = min(stop, at + self._setup.shape.segment)
        job = Job(span=0, at=at, stop=stop, state=self._asked.lm.start())
        self._runner.run(deque([job]), lambda rows: [True] * len(rows))
        self._setup = replace(self._setup, watch=watch.for_chunk())

    @cached_property
    def _scorer(self) -> Scorer:
        """The model in this process."""
        return _scorer_of(self._asked.lm, self._setup)

    @property
    def _runner(self) -> Runner:
        """The runner of jobs over the text in this process."""
        asked = self._asked
        return Runner(asked.text, self._setup.shape, self._scorer, start=asked.lm.start(), watch=asked.watch)

    def read(self, readings: Sequence[SpanReading], on_end: OnEnd) -> None:
        """Make readings; no chunk is audited, so that `on_end` asks for no further ones.

        First rows of chunks that were read before are read again side by side, each until it agrees.
        """
        again, whole = [reading for reading in readings if reading.reevaluates], []
        for reading in again:
            reading.tolerance = float(self._tolerance[reading.span])
        if again:
            spans = replace(self._spans, stops=self._first_row_stops)
            Rows(self._runner, spans, self._asked.observations, kept=self._kept).read(again, lambda _: ())
        for reading in readings:
            if reading.settled:
                on_end(reading)
            else:
                whole.append(reading)
        tasks = [
            Task(key=each, call=read_chunk, arguments=(self._setup, self._ids(each.span), each.start)) for each in whole
        ]
        for done in self._pool.run(tasks, here=self._read_here if self._here else None):
            if isinstance(done.error, WorkerDiedError):
                chunk = self._chunks[done.key.span]
                raise CheckpointError(
                    f"every worker that was given tokens {chunk.starts[0]} to {chunk.stops[-1]} died: they need more "
                    "memory (--memory), or the model crashes its library"
                ) from done.error
            if done.error is not None:
                raise done.error
            self._take(done.key, done.value)
            on_end(done.key)

    def _ids(self, index: int) -> ChunkIds:
        chunk = self._chunks[index]
        held = self._asked.text.ids(int(chunk.starts[0]), int(chunk.stops[-1]) + 1)
        return ChunkIds(index=index, chunk=chunk, held=held)

    def _read_here(self, task: Task) -> ChunkRead:
        """Read a chunk in this process."""
        reading, progress, before = task.key, self._asked.how.progress, self._scored

        def more(scored: int, _: int) -> None:
            if progress is not None and not reading.reevaluates:
                progress(before + scored, self._predictions)

        return _read(self._asked.lm, self._scorer, *task.arguments, progress=more)

    def _take(self, reading: SpanReading, read: ChunkRead) -> None:
        """Keep the predictions of a chunk and the states by which it is compared."""
        asked, index, chunk = self._asked, reading.span, self._chunks[reading.span]
        asked.observations.write(int(chunk.starts[0]) + 1, read.predicted.packed())
        if asked.watch is not None:
            asked.watch.include(index, read.seen)
        for boundary, state in read.first_row.items():
            self._kept.put(index, boundary, state)
        self._first_row_stops[index] = read.first_row_stop
        self._tolerance[index] = read.stitched.tolerance
        self._inner.append((index, read.stitched))
        last = self._last.get(index)
        if last is None or not np.array_equal(numbers_of(last), numbers_of(read.last), equal_nan=True):
            self._last[index] = read.last
        reading.last = self._last[index]
        if reading.reevaluates:
            reading.tokens += chunk.predictions
            return
        self._scored += chunk.predictions
        if asked.how.progress is not None:
            asked.how.progress(self._scored, self._predictions)
