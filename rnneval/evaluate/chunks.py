"""One long text in chunks, which processes read side by side, each by the exact method of one process.

The algorithm is that of `rnneval.evaluate.stitch` with chunks in place of spans, so `SpanReading.span` is the number of
a chunk here: several short spans, or a piece of a long one. Chunks are read from the model's initial state, by workers
or by this process. This process then re-evaluates the first row of each chunk that goes on from another one, all of
them side by side; a chunk that does not agree there is read again, from the last state of the chunk before it. Chunks
are divided by sizes alone, so the result is the same for any number of workers.
"""

import multiprocessing
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import CheckpointError, UsageError
from rnneval.evaluate.executor import Pool, WorkerDiedError
from rnneval.evaluate.losses import Observations
from rnneval.evaluate.opening import ALONE, Reopened, file_hashes, files_of, portable
from rnneval.evaluate.plan import Spans, Streaming, chunk_ends, divided, shape_for
from rnneval.evaluate.rows import RowReader, TextReader
from rnneval.evaluate.span import KeptStates, SpanReading
from rnneval.evaluate.stitch import Stitched, Stitching
from rnneval.evaluate.watch import ChunkObservations, Watch
from rnneval.models.protocol import LanguageModel, Predicted, Scorer, Shape, Vectors
from rnneval.options import OpeningGroup
from rnneval.processes import cores
from rnneval.text import EncodedText

_MOST = 8  # processes that are started without being asked for, this one included


def chunks_of(spans: Spans, ends: Sequence[int], segment: int) -> list[Spans]:
    """Divide spans after so many predictions, at the ends of segments: in a shorter one, the filling changes the state.

    A chunk that would end near the start or the end of a span ends there: the first row of a chunk must not be short.

    >>> spans = Spans(starts=np.array([0, 8, 11]), stops=np.array([7, 10, 12]), continues=np.zeros(3, bool))
    >>> [(c.starts.tolist(), c.stops.tolist(), c.continues.tolist()) for c in chunks_of(spans, [5, 10], 1)]
    [([0], [5], [False]), ([5, 8, 11], [7, 10, 12], [True, False, False])]
    """
    stops = np.cumsum(spans.lengths)
    starts = stops - spans.lengths
    near, stops_of_chunks = ends[-1] // len(ends) // 8, set[int]()
    for end in ends[:-1]:
        span = int(np.searchsorted(stops, end, side="right"))
        first, last = int(starts[span]), int(stops[span])
        stop = first + (end - first) // segment * segment
        stops_of_chunks.add(first if stop - first < near else last if last - stop < near else stop)
    points = np.union1d(starts, [*stops_of_chunks]).astype(np.int64)
    points = points[points < ends[-1]]
    place = np.searchsorted(stops, points, side="right")
    begins = spans.starts[place] + points - starts[place]
    lengths = np.diff(points, append=ends[-1])
    goes_on = (points > starts[place]) | spans.continues[place]
    bounds = np.unique(np.searchsorted(points, sorted(stops_of_chunks)))
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
    watch: Watch | None
    name: str = field(default_factory=lambda: uuid4().hex)  # the same in all processes

    def scorer(self, lm: LanguageModel) -> Scorer:
        """Return what scores the predictions of a model, the same in every process."""
        return lm.scorer(self.shape, sees=self.watch.sees if self.watch else "losses")


@dataclass(frozen=True, kw_only=True, eq=False)
class Chunk:
    """One chunk to be read: a task of a worker, which has its ids as the text."""

    index: int  # the chunk's number, added to the seed that picks the audited row
    spans: Spans
    tokens: NDArray[np.int32]  # ids of its tokens, from its first input to its last target
    start: Vectors

    def ids(self, start: int, stop: int) -> NDArray[np.int32]:
        """Return the ids of tokens start to stop of the text."""
        first = int(self.spans.starts[0])
        return self.tokens[start - first : stop - first]


class ChunkRead(NamedTuple):
    """A chunk that was read to its end."""

    predicted: Predicted  # of every token after the chunk's first, `(n,)`; without meaning where a span begins
    last: Vectors
    first_row: Mapping[int, Vectors]  # states of the first row by boundary, with which its re-evaluation is compared
    first_row_stop: int
    stitched: Stitched
    observations: ChunkObservations | None  # None without a watch


_OPEN: dict[str, tuple[LanguageModel, Scorer]] = {}
"""The one model of a worker, with its compiled steps, by the name of the setup."""


def read_chunk(setup: ChunkSetup, chunk: Chunk) -> ChunkRead:
    """Read a chunk in a worker."""
    with ALONE:  # one model at a time in this process
        if setup.name not in _OPEN:
            _OPEN.clear()
            lm = setup.model()
            _OPEN[setup.name] = lm, setup.scorer(lm)
        return _read(*_OPEN[setup.name], setup, chunk)


def _read(
    lm: LanguageModel, scorer: Scorer, setup: ChunkSetup, chunk: Chunk, progress: Callable[[int], None] | None = None
) -> ChunkRead:
    how, shape, watch = setup.how, setup.shape, setup.watch and setup.watch.for_chunk()
    spans, audited = replace(chunk.spans, continues=np.zeros(len(chunk.spans), bool)), None
    if how.state == "carry":  # where the state is reset, each span is a row
        spans, audited = divided(spans, shape, seed=how.seed + chunk.index)
    states = KeptStates([0, *np.flatnonzero(spans.continues).tolist()], lm.start(), first=setup.first)
    first, stop = int(spans.starts[0]) + 1, int(spans.stops[-1]) + 1
    observations = Observations(lm, first, stop)
    rows = RowReader(chunk, shape, scorer, observations=observations, states=states, watch=watch, progress=progress)
    stitching = Stitching(rows.read, spans, shape, lm.start(), how.tolerance, audited=audited, first=chunk.start)
    stitched = stitching.run(look_for_growth=True)
    last, part = stitching.last(), None if watch is None else watch.of_chunk()
    return ChunkRead(observations.get(first, stop), last, states.states_of(0), int(spans.stops[0]), stitched, part)


# Where the text is


def reader_over(pool: Pool, checkpoint: str, options: OpeningGroup, *, chunk: int | None = None) -> TextReader:
    """Return a reader for `rnneval.evaluate`, whose chunks a pool reads.

    Workers open the very checkpoint that is evaluated, at its path. `chunk` is the most predictions of a chunk, by
    default chosen by the length of the text.
    """
    path, plain = str(Path(checkpoint).absolute()), portable(options)
    hashes = file_hashes(files_of(plain))

    def read(
        lm: LanguageModel, text: EncodedText, how: Streaming, observations: Observations, watch: Watch | None
    ) -> Stitched:
        if not lm.mixable:
            raise UsageError("this model's state cannot be taken from one process to another: leave out --jobs")
        model = Reopened(path=path, sha256=lm.checkpoint.sha256, options=plain, hashes=hashes)
        return ChunkReader(lm, text, how, observations, watch, model=model, length=chunk).read_all(pool)

    return read


def read_beside(
    lm: LanguageModel, text: EncodedText, how: Streaming, observations: Observations, watch: Watch | None
) -> Stitched | None:
    """Read a long text with a model of NumPy, by a process for each core; None where it is one chunk."""
    reader = ChunkReader(lm, text, how, observations, watch, model=partial(pickle.loads, pickle.dumps(lm)))
    if len(reader.chunks) < 2:
        return None
    # A worker starts no others, nor can a process that must not have any.
    alone = ALONE.locked() or multiprocessing.current_process().daemon
    with Pool(0 if alone else min(cores(), _MOST, len(reader.chunks)) - 1) as pool:
        return reader.read_all(pool, here=True)


class ChunkReader:
    """Reads chunks of a text on workers, and their first rows again in this process."""

    def __init__(
        self,
        lm: LanguageModel,
        text: EncodedText,
        how: Streaming,
        observations: Observations,
        watch: Watch | None,
        *,
        model: Callable[[], LanguageModel],
        length: int | None = None,
    ) -> None:
        """Divide a text into chunks of at most `length` predictions, by default by its sizes.

        As many rows are read side by side as if it were in one piece: by two processes, half of them each.
        """
        self._lm, self._text, self._results, self._watch = lm, text, observations, watch
        spans = how.spans(text)
        ends, rows = chunk_ends(spans.predictions, lm.checkpoint.parameters), how.rows(lm, spans.predictions)
        if len(ends) > 1 and how.streams == "auto":
            rows = -(-rows // 2)
        shape = shape_for(spans, lm.width, rows=rows, segment=how.asked_segment, chunk=lm.chunk)
        if length is not None:
            length = max(1, length // shape.segment) * shape.segment
            ends = [*range(length, spans.predictions, length), spans.predictions]
        self.chunks = chunks_of(spans, ends, shape.segment)
        first = KeptStates(range(shape.rows + 1), lm.start(), watch.weight if watch else 0).first
        alone = replace(how, progress=None)  # which stays in this process
        self._setup = ChunkSetup(model=model, shape=shape, how=alone, first=first, watch=watch)
        self._progress, self._scored = how.reporter(spans.predictions), 0
        self._first_row_states = KeptStates(range(len(self.chunks)), lm.start(), first=first)
        self._first_row_stops: dict[int, int] = {}
        self._read_once: set[int] = set()  # numbers of the chunks that were read to their end
        self._inner: list[tuple[int, Stitched]] = []  # for every reading of a whole chunk: its number, and its rows

    def read_all(self, pool: Pool, *, here: bool = False) -> Stitched:
        """Read every chunk exactly, and return the statistics; `here`: this process reads chunks, too."""
        chunks, start = self.chunks, self._lm.start()
        if self._watch is not None and chunks:
            self._look_at_first_segment(self._watch)
        spans = Spans(
            starts=np.array([chunk.starts[0] for chunk in chunks], np.int64),
            stops=np.array([chunk.stops[-1] for chunk in chunks], np.int64),
            continues=np.array([chunk.continues[0] for chunk in chunks], bool),
        )
        read = partial(self._read, pool, here)
        result = Stitching(read, spans, self._setup.shape, start, self._setup.how.tolerance).run()
        for chunk, inner in self._inner:
            result.include(chunk, inner)
        result.passes += max((inner.passes for _, inner in self._inner), default=1) - 1
        result.tolerance = max((inner.tolerance for inner in dict(self._inner).values()), default=result.tolerance)
        result.workers = pool.workers + 1 if here else max(1, pool.workers)
        result.chunks = len(chunks)
        return result

    def _look_at_first_segment(self, watch: Watch) -> None:
        """Let a watch see what a step looks like: the watches over chunks begin with this knowledge."""
        at, stop = int(self.chunks[0].starts[0]), int(self.chunks[0].stops[0])
        one = SpanReading(span=0, at=at, stop=min(stop, at + self._setup.shape.segment), state=self._lm.start())
        list(self._rows(KeptStates((0,), self._lm.start())).read([one]))
        self._setup = replace(self._setup, watch=watch.for_chunk())

    @cached_property
    def _scorer(self) -> Scorer:
        """The model in this process."""
        return self._setup.scorer(self._lm)

    def _rows(self, states: KeptStates) -> RowReader:
        """Return what reads spans of the text in this process."""
        return RowReader(
            self._text, self._setup.shape, self._scorer, observations=self._results, states=states, watch=self._watch
        )

    def _read(self, pool: Pool, here: bool, readings: list[SpanReading]) -> Iterator[SpanReading]:
        """Make readings of chunks; first rows of those that were read before are read again, until they agree."""
        starts, latest = {reading.span: reading.state for reading in readings}, dict(self._inner)
        if again := [reading for reading in readings if reading.kind == "again"]:
            for reading in again:
                reading.stop, reading.tolerance = self._first_row_stops[reading.span], latest[reading.span].tolerance
            list(self._rows(self._first_row_states).read(again))
        yield from (reading for reading in readings if reading.settled)
        whole = {reading.span: reading for reading in readings if not reading.settled}
        chunks = []
        for index, spans in ((index, self.chunks[index]) for index in whole):
            tokens = self._text.ids(int(spans.starts[0]), int(spans.stops[-1]) + 1)
            chunks.append(Chunk(index=index, spans=spans, tokens=tokens, start=starts[index]))
        for chunk, done in pool.run(partial(read_chunk, self._setup), chunks, here=self._read_here if here else None):
            if isinstance(error := done.exception(), WorkerDiedError):
                raise CheckpointError(
                    f"every worker that was given tokens {chunk.spans.starts[0]} to {chunk.spans.stops[-1]} died: they "
                    "need more memory (--memory), or the model crashes its library"
                ) from error
            self._take(chunk, whole[chunk.index], done.result())
            yield whole[chunk.index]

    def _read_here(self, chunk: Chunk) -> ChunkRead:
        """Read a chunk in this process."""
        report, before = self._progress, self._scored
        progress = None if report is None or chunk.index in self._read_once else lambda scored: report(before + scored)
        return _read(self._lm, self._scorer, self._setup, chunk, progress)

    def _take(self, chunk: Chunk, reading: SpanReading, read: ChunkRead) -> None:
        """Keep the predictions of a chunk and the states by which it is compared."""
        index, predictions = chunk.index, chunk.spans.predictions
        self._results.write(int(chunk.spans.starts[0]) + 1, read.predicted.packed())
        if self._watch is not None and read.observations is not None:
            self._watch.include(index, read.observations)
        for boundary, state in read.first_row.items():
            self._first_row_states.put(index, boundary, state)
        self._first_row_stops[index] = read.first_row_stop
        self._inner.append((index, read.stitched))
        if index not in self._read_once:
            self._read_once.add(index)
            self._scored += predictions
            if self._progress is not None:
                self._progress(self._scored)
        reading.tokens, reading.state = reading.tokens + predictions, read.last
