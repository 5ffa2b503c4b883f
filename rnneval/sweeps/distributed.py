"""One long text over many worker processes: cut into chunks, each read by the exact method of one process.

The algorithm is that of `rnneval.engine.stitch` with chunks in place of spans, so `SpanReading.span` is the number of a
chunk here. Chunks are cut by sizes alone, and which one is read from which state depends on sizes and on the states,
never on the worker that is ready first: the result is the same for any number of workers. A worker opens the model once
and keeps it with its compiled steps. It gets nothing of the text but the ids of a chunk, which come with the task.

*Span*: consecutive tokens of one document that one state is carried over. *Chunk*: what one task reads: several short
spans, or a piece of a long one. *Row*: a span of the chunk as it is cut again, in the worker, for reading side by side;
the first row begins where the chunk begins. *Segment*: the tokens of one step of the model; its end is a *boundary*.
*Overlap*: the states of a chunk's first row, with which its re-evaluation is compared.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import rnneval
from rnneval.backends.protocol import LanguageModel, Predicted, Scorer, Shape, Vectors
from rnneval.engine.collect import Observations
from rnneval.engine.measure import Read, Reader
from rnneval.engine.plan import Spans, StateOptions, Stitch, Streaming, cut_spans, shape_for, stitch_of
from rnneval.engine.rows import Rows, Runner
from rnneval.engine.stitch import Boundaries, SpanReading, SpanResult, Stitched, Stitching
from rnneval.errors import CheckpointError, UsageError
from rnneval.options import Progress
from rnneval.sweeps.opening import ALONE, Opening, file_hashes, require_same_files, require_same_version
from rnneval.sweeps.workers import Pool, Task, WorkerDiedError, Workers, connected
from rnneval.text import EncodedText
from rnneval.text.spool import DiskArray

_SHORTEST, _LONGEST = 1 << 17, 1 << 20  # least and greatest length of a chunk that is chosen, in predictions
_CHUNKS = 64  # number of chunks that a text is cut into between these lengths, or up to twice as many
_PASSES_AT_ONCE = 3
"""Passes after which all stale chunks may still be re-evaluated together: no audit foresees how many are needed."""
_CONCLUSIVE = 4  # segments: a shorter row that does not agree may only have been too short

Overlap = dict[int, Vectors]
"""States of the first row of a chunk by boundary."""

# How a text is cut


def automatic_length(predictions: int) -> int:
    """Choose how long a chunk is at the most, in predictions.

    A chunk is long enough to be read in many rows, since with few rows a step costs more per token. It is never longer
    than a million, so that a lost worker costs little.

    Example:
        >>> [automatic_length(n) for n in (1_000, 1_000_000, 10_000_000, 10**9)]
        [131072, 131072, 131072, 1048576]
    """
    share = max(1, predictions // _CHUNKS)
    return max(_SHORTEST, min(_LONGEST, 1 << (share.bit_length() - 1)))


def chunks_of(spans: Spans, length: int) -> list[Spans]:
    """Cut spans that are longer than `length`, and put short neighbours together: only the first may go on from before.

    Example:
        >>> spans = Spans(starts=np.array([0, 8, 11]), stops=np.array([7, 10, 12]), continues=np.zeros(3, bool))
        >>> [(c.starts.tolist(), c.stops.tolist(), c.continues.tolist()) for c in chunks_of(spans, 5)]
        [([0], [5], [False]), ([5, 8, 11], [7, 10, 12], [True, False, False])]
    """
    cut = cut_spans(spans, length)
    found = []
    begin, held = 0, 0
    for at, size in enumerate([*cut.lengths.tolist(), length]):  # the last one ends what is held
        if held and held + size > length:
            these = slice(begin, at)
            found.append(Spans(starts=cut.starts[these], stops=cut.stops[these], continues=cut.continues[these]))
            begin, held = at, 0
        held += size
    return found


# In a worker


@dataclass(frozen=True, kw_only=True)
class ChunkSetup:
    """Settings that all chunks share; a worker must have the same files, version, backend and width of the model."""

    path: str
    sha256: str
    opening: Opening
    hashes: Mapping[str, str]  # hashes of the files that are read beside the checkpoint, by path
    version: str
    shape: Shape
    seed: int
    tolerance: float
    carried: bool  # whether long spans may be cut into rows: where the state is reset, each span is a row
    padded: bool
    kernel: str
    backend: str
    width: int


@dataclass(frozen=True, kw_only=True)
class ChunkIds:
    """One chunk with its ids: the text that a worker reads."""

    index: int  # the chunk's number, added to the seed that picks the audited row
    chunk: Spans
    held: NDArray[np.int32]  # ids of its tokens, from its first input to its last target

    def ids(self, start: int, stop: int) -> NDArray[np.int32]:
        """Return the ids of tokens start to stop, counted from the first token of the chunk."""
        return self.held[start:stop]


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """The first reading of a chunk's first row, with which a re-evaluation is compared."""

    start: Vectors  # the last state of the chunk before: where the re-evaluation begins
    overlap: Overlap
    predicted: Predicted
    tolerance: float  # that which the first reading of the chunk found to be reachable


@dataclass(frozen=True, kw_only=True)
class WholeChunk:
    """A chunk that was read to its end."""

    predicted: Predicted
    """Predictions of every token after the chunk's first, `(n,)`; those that begin a span are without meaning."""
    last: Vectors
    overlap: Overlap
    overlap_tokens: int  # predictions of the first row
    stitched: Stitched
    threads: int
    kernel: str


@dataclass(frozen=True, kw_only=True)
class Reevaluated:
    """A chunk whose first row was re-evaluated until it agreed with the first reading."""

    predicted: Predicted
    overlap: Overlap
    agreed_after: int
    """Tokens up to the start of the last segment that was read: states may have agreed before the losses did."""
    difference: float


class _OpenModel(NamedTuple):
    lm: LanguageModel
    scorer: Scorer
    threads: int


_OPEN: dict[tuple[Any, ...], _OpenModel] = {}  # the one model of this process, with its compiled steps


def read_chunk(setup: ChunkSetup, given: ChunkIds) -> WholeChunk:
    """Read a chunk from the model's initial state."""
    with ALONE:  # one model at a time in this process
        return _read(*_opened(setup, given), setup, given, None)


def reevaluate_chunk(setup: ChunkSetup, given: ChunkIds, earlier: Earlier) -> Reevaluated | WholeChunk:
    """Re-evaluate the first row of a chunk until it agrees with the first reading.

    If it ends without agreement, all of the chunk is read from `earlier.start`.
    """
    with ALONE:
        model, runner = _opened(setup, given)
        row = Spans(starts=np.array([0]), stops=np.array([len(earlier.predicted.nats)]), continues=np.zeros(1, bool))
        kept = Boundaries([0], earlier.start)
        for boundary, known in earlier.overlap.items():
            kept.put(0, boundary, known)
        ends: list[SpanResult] = []

        def on_end(ended: SpanResult) -> tuple[SpanReading, ...]:
            ends.append(ended)
            return ()

        reading = SpanReading(span=0, start=earlier.start, reevaluates=True, tolerance=earlier.tolerance)
        with Observations(model.lm) as seen:
            seen.write(1, earlier.predicted.packed())
            Rows(runner, row, seen, kept=kept).read([reading], on_end)
            (ended,) = ends
            predicted = seen.get(1, 1 + ended.tokens)  # token 0 is never predicted
        if ended.last is not None:
            return _read(model, runner, setup, given, earlier.start)
        return Reevaluated(
            predicted=predicted,
            overlap={boundary: state for boundary in earlier.overlap if (state := kept.get(0, boundary)) is not None},
            agreed_after=(ended.tokens - 1) // setup.shape.segment * setup.shape.segment,
            difference=ended.difference,
        )


def _read(model: _OpenModel, runner: Runner, setup: ChunkSetup, given: ChunkIds, start: Vectors | None) -> WholeChunk:
    chunk, overlap = given.chunk, Overlap()
    first = chunk.starts[0]  # from which a worker counts
    spans = Spans(starts=chunk.starts - first, stops=chunk.stops - first, continues=np.zeros(len(chunk), bool))
    if setup.carried:
        stitch = stitch_of(spans, setup.shape, seed=setup.seed + given.index)
    else:
        stitch = Stitch(spans=spans, audited=None)
    with Observations(model.lm) as seen:
        rows = Rows(runner, stitch.spans, seen, overlap=overlap)
        stitching = rows.stitched(setup.tolerance, audited=stitch.audited, start=start)
        predicted = seen.get(1, len(given.held))  # token 0 is never predicted
    return WholeChunk(
        predicted=predicted,
        last=stitching.last(len(stitch.spans) - 1),
        overlap=overlap,
        overlap_tokens=int(stitch.spans.stops[0]),
        stitched=stitching.result,
        threads=model.threads,
        kernel=model.scorer.kernel,
    )


def _opened(setup: ChunkSetup, given: ChunkIds) -> tuple[_OpenModel, Runner]:
    """Open the model if this process has not yet, and begin to read a chunk with it."""
    require_same_version(setup.version)
    require_same_files(setup.hashes)
    key = setup.path, setup.sha256, repr(setup.opening), setup.shape, setup.padded, setup.kernel
    if key not in _OPEN:
        _OPEN.clear()
        threads = _one_thread() if setup.backend == "keras" else 1
        lm = setup.opening.open(setup.path, setup.sha256, kernel=setup.kernel, backend=setup.backend)
        if lm.width != setup.width:
            raise CheckpointError(f"{setup.path}: {lm.width} outputs on a worker, {setup.width} where the text is")
        scorer = lm.scorer(setup.shape, kernel=setup.kernel, padded=setup.padded, parallel=False)
        _OPEN[key] = _OpenModel(lm, scorer, threads)
    model = _OPEN[key]
    runner = Runner(given, setup.shape, model.scorer, start=model.lm.start())
    runner.begin()
    return model, runner


def _one_thread() -> int:
    """Let TensorFlow use one thread, so that no last digit depends on the machine; return how many it uses."""
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
    except RuntimeError:  # it is running already
        given = tf.config.threading.get_intra_op_parallelism_threads()
        return int(given or os.environ.get("TF_NUM_INTRAOP_THREADS") or os.cpu_count() or 1)
    return 1


# Where the text is


@contextmanager
def workers_reading(
    checkpoint: str, opening: Opening, workers: Workers, *, chunk: int | None = None
) -> Iterator[Reader]:
    """Start workers, return a reader for `rnneval.evaluate` that uses them, and stop them at the end.

    Workers open the very checkpoint that is evaluated, at its path. `chunk` is the most predictions of a chunk, by
    default chosen by the length of the text.
    """
    with connected(replace(workers, threads=1), tasks=workers.jobs or 1, duplicates=True, deaths=3) as pool:
        yield reader_over(pool, checkpoint, opening, chunk=chunk)


def reader_over(pool: Pool, checkpoint: str, opening: Opening, *, chunk: int | None = None) -> Reader:
    """Return a reader whose tasks a pool runs."""
    path, hashes = str(Path(checkpoint).absolute()), file_hashes(opening.files)

    def read(
        lm: LanguageModel, text: EncodedText, stateful: StateOptions, how: Streaming, observations: Observations
    ) -> Read:
        if not lm.mixable:
            raise UsageError("this model's state cannot be taken from one process to another: leave out --jobs")
        spans = stateful.spans(text)
        length = chunk or automatic_length(spans.predictions)
        rows = how.rows(lm, min(length, spans.predictions))
        shape = shape_for(spans, lm.width, rows=rows, segment=stateful.step)
        setup = ChunkSetup(
            path=path, sha256=lm.checkpoint.sha256, opening=opening, hashes=hashes, version=rnneval.__version__,
            shape=shape, seed=how.seed, tolerance=how.tolerance, carried=stateful.state == "carry", padded=how.padded,
            kernel=how.kernel, backend=lm.backend, width=lm.width,
        )  # fmt: skip
        # At the ends of segments: in a shorter one the state goes on over what fills it up.
        chunks = chunks_of(spans, max(1, length // shape.segment) * shape.segment)
        reader = ChunkReader(pool, setup, chunks, text=text, observations=observations, progress=how.progress)
        stitched = reader.stitched()
        return Read(
            shape=shape, stitched=stitched, kernel=", ".join(sorted(reader.kernels)), workers=max(1, pool.workers),
            chunks=len(chunks), threads=reader.threads,
        )  # fmt: skip

    return read


class ChunkReader:
    """Reads chunks of a text in worker processes: a `SpanReader`."""

    def __init__(
        self,
        pool: Pool,
        setup: ChunkSetup,
        chunks: list[Spans],
        *,
        text: EncodedText,
        observations: Observations,
        progress: Progress | None,
    ) -> None:
        self._pool, self._setup, self._chunks, self._text = pool, setup, chunks, text
        self._seen, self._progress = observations, progress
        self._overlaps = _Overlaps()
        self._last: dict[int, Vectors] = {}
        self._inner: list[tuple[int, Stitched]] = []  # for every reading of a whole chunk: its number, and its rows
        self._tolerance: dict[int, float] = {}  # by chunk: that which its first reading found to be reachable
        self._tokens: dict[int, int] = {}  # by chunk: the predictions of its first row
        self._scored, self._predictions = 0, sum(chunk.predictions for chunk in chunks)
        self.threads = 1
        self.kernels: set[str] = set()

    def stitched(self) -> Stitched:
        """Read every chunk exactly, and return the statistics."""
        spans = Spans(
            starts=np.array([chunk.starts[0] for chunk in self._chunks], np.int64),
            stops=np.array([chunk.stops[-1] for chunk in self._chunks], np.int64),
            continues=np.array([chunk.continues[0] for chunk in self._chunks], bool),
        )
        segment, tolerance = self._setup.shape.segment, self._setup.tolerance
        with closing(self._overlaps):
            result = Stitching(self, spans, segment=segment, tolerance=tolerance, passes_at_once=_PASSES_AT_ONCE).run()
        for chunk, inner in self._inner:
            result.include(chunk, inner)
        result.passes += max((inner.passes for _, inner in self._inner), default=1) - 1
        result.tolerance = max(self._tolerance.values(), default=result.tolerance)
        return result

    def read(self, readings: Sequence[SpanReading], on_end: Callable[[SpanResult], Sequence[SpanReading]]) -> None:
        """Make readings on workers; further ones are made first."""
        waiting = deque(map(self._task, readings))
        for done in self._pool.run(waiting):
            if isinstance(done.error, WorkerDiedError):
                chunk = self._chunks[done.key.span]
                raise CheckpointError(
                    f"every worker process that was given tokens {chunk.starts[0]} to {chunk.stops[-1]} died: they "
                    "need more memory (--memory), or the model crashes TensorFlow"
                ) from done.error
            if done.error is not None:
                raise done.error
            waiting.extendleft(map(self._task, on_end(self._take(done.key, done.value))))

    def _task(self, reading: SpanReading) -> Task:
        index = reading.span

        def arguments() -> tuple[Any, ...]:
            chunk = self._chunks[index]
            first = int(chunk.starts[0])
            given = ChunkIds(index=index, chunk=chunk, held=self._text.ids(first, int(chunk.stops[-1]) + 1))
            if reading.start is None:
                return self._setup, given
            before, overlap = self._seen.get(first + 1, first + 1 + self._tokens[index]), self._overlaps.get(index)
            earlier = Earlier(start=reading.start, overlap=overlap, predicted=before, tolerance=self._tolerance[index])
            return self._setup, given, earlier

        return Task(key=reading, call=reevaluate_chunk if reading.reevaluates else read_chunk, arguments=arguments)

    def _take(self, reading: SpanReading, read: WholeChunk | Reevaluated) -> SpanResult:
        """Keep the predictions of a chunk and the states by which it is compared."""
        index, chunk = reading.span, self._chunks[reading.span]
        self._seen.write(int(chunk.starts[0]) + 1, read.predicted.packed())
        self._overlaps.put(index, read.overlap)
        if isinstance(read, Reevaluated):
            return SpanResult(
                reading=reading,
                last=None,
                tokens=len(read.predicted.nats),
                agreed_after=read.agreed_after,
                difference=read.difference,
            )
        self.threads = max(self.threads, read.threads)
        self.kernels.add(read.kernel)
        self._tokens[index] = read.overlap_tokens
        self._tolerance[index] = read.stitched.tolerance
        self._inner.append((index, read.stitched))
        if not reading.reevaluates:
            self._scored += chunk.predictions
            if self._progress is not None:
                self._progress(self._scored, self._predictions)
        if not np.array_equal(self._last.get(index, ()), read.last, equal_nan=True):
            self._last[index] = read.last
        return SpanResult(
            reading=reading,
            last=self._last[index],
            tokens=chunk.predictions + read.overlap_tokens,
            conclusive=read.overlap_tokens >= _CONCLUSIVE * self._setup.shape.segment,
        )


class _Overlaps:
    """The overlap of every chunk, on disk."""

    def __init__(self) -> None:
        self._states: DiskArray | None = None
        self._placed: dict[int, tuple[int, list[int]]] = {}  # by chunk: the first of its states, their boundaries
        self._end = 0

    def close(self) -> None:
        """Free the disk space."""
        if self._states is not None:
            self._states.close()

    def put(self, chunk: int, overlap: Overlap) -> None:
        """Keep an overlap; one of the same size takes the place of the one before."""
        at, boundaries = self._placed.get(chunk, (self._end, []))
        if len(boundaries) != len(overlap):
            at, self._end = self._end, self._end + len(overlap)
        self._placed[chunk] = at, list(overlap)
        if overlap:
            states = np.stack(list(overlap.values()))
            if self._states is None:
                self._states = DiskArray(states.dtype, states.shape[1:], holds="states")
            self._states.write(at, states)

    def get(self, chunk: int) -> Overlap:
        """Return an overlap."""
        at, boundaries = self._placed[chunk]
        if self._states is None:
            return {}
        return dict(zip(boundaries, self._states.read(at, at + len(boundaries)), strict=True))
