"""One long text over many workers: cut into chunks, each read by the exact method of one process.

The algorithm is that of `rnneval.evaluate.stitch` with chunks in place of spans, so `SpanReading.span` is the number of
a chunk here. Chunks are read on workers, from the model's initial state. This process then re-evaluates the first row
of each chunk that goes on from another one, all of them side by side; a chunk that does not agree there is read again
on a worker, from the last state of the chunk before it. Chunks are cut by sizes alone, so the result is the same for any
number of workers. A worker opens the model once and keeps it with its compiled steps. It gets nothing of the text but
the ids of a chunk, which come with the task.

*Span*: consecutive tokens of one document that one state is carried over. *Chunk*: what one task reads: several short
spans, or a piece of a long one. *Row*: a span of the chunk as it is cut again, in the worker, for reading side by side;
the first row begins where the chunk begins. *Segment*: the tokens of one step of the model; its end is a *boundary*.
"""

import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rnneval
from rnneval.errors import CheckpointError, UsageError
from rnneval.evaluate.collect import Observations
from rnneval.evaluate.executor import Pool, Task, WorkerDiedError
from rnneval.evaluate.measure import Read, Reader
from rnneval.evaluate.plan import Spans, StateOptions, Stitch, Streaming, cut_spans, shape_for, stitch_of
from rnneval.evaluate.reopening import ALONE, Opening, file_hashes, require_same_files, require_same_version
from rnneval.evaluate.rows import Rows, Runner
from rnneval.evaluate.stitch import Boundaries, SpanReading, SpanResult, Stitched, Stitching
from rnneval.models.protocol import LanguageModel, Predicted, Scorer, Shape, Vectors
from rnneval.models.state import numbers_of
from rnneval.options import Progress
from rnneval.text import EncodedText

_SHORTEST, _LONGEST = 1 << 17, 1 << 20  # least and greatest length of a chunk that is chosen, in predictions
_CHUNKS = 64  # number of chunks that a text is cut into between these lengths, or up to twice as many

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
class ChunkRead:
    """A chunk that was read to its end."""

    predicted: Predicted
    """Predictions of every token after the chunk's first, `(n,)`; those that begin a span are without meaning."""
    last: Vectors
    first_row: Mapping[int, Vectors]  # states of the first row by boundary, with which its re-evaluation is compared
    first_row_tokens: int
    stitched: Stitched
    threads: int
    kernel: str


_OPEN: dict[str, tuple[LanguageModel, Scorer]] = {}  # the one model of this process, with its compiled steps


def read_chunk(setup: ChunkSetup, given: ChunkIds, start: Vectors | None) -> ChunkRead:
    """Read a chunk from a state, or from the model's initial one."""
    with ALONE:  # one model at a time in this process
        lm, scorer = _opened(setup)
        runner = Runner(given, setup.shape, scorer, start=lm.start())
        runner.begin()
        chunk = given.chunk
        first = chunk.starts[0]  # from which a worker counts
        spans = Spans(starts=chunk.starts - first, stops=chunk.stops - first, continues=np.zeros(len(chunk), bool))
        stitch = Stitch(spans=spans, audited=None)
        if setup.carried:
            stitch = stitch_of(spans, setup.shape, seed=setup.seed + given.index)
        kept = Boundaries([0, *np.flatnonzero(stitch.spans.continues).tolist()], runner.start)
        with Observations(lm) as seen:
            rows = Rows(runner, stitch.spans, seen, kept=kept)
            stitching = rows.stitched(setup.tolerance, audited=stitch.audited, start=start)
            predicted = seen.get(1, len(given.held))  # token 0 is never predicted
        return ChunkRead(
            predicted=predicted,
            last=stitching.last(len(stitch.spans) - 1),
            first_row=kept.states_of(0),
            first_row_tokens=int(stitch.spans.stops[0]),
            stitched=stitching.result,
            threads=int(os.environ["TF_NUM_INTRAOP_THREADS"]) if lm.backend == "keras" else 1,
            kernel=scorer.kernel,
        )


def _opened(setup: ChunkSetup) -> tuple[LanguageModel, Scorer]:
    """Open the model, unless this process has it open from an earlier chunk."""
    key = repr(setup)
    if key not in _OPEN:
        _OPEN.clear()
        require_same_version(setup.version)
        require_same_files(setup.hashes)
        lm = setup.opening.open(setup.path, setup.sha256, kernel=setup.kernel, backend=setup.backend)
        if lm.width != setup.width:
            raise CheckpointError(f"{setup.path}: {lm.width} outputs on a worker, {setup.width} where the text is")
        _OPEN[key] = lm, lm.scorer(setup.shape, kernel=setup.kernel, parallel=False)
    return _OPEN[key]


# Where the text is


def reader_over(pool: Pool, checkpoint: str, opening: Opening, *, chunk: int | None = None) -> Reader:
    """Return a reader for `rnneval.evaluate`, whose chunks a pool reads.

    Workers open the very checkpoint that is evaluated, at its path. `chunk` is the most predictions of a chunk, by
    default chosen by the length of the text.
    """
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
            shape=shape, seed=how.seed, tolerance=how.tolerance, carried=stateful.state == "carry",
            kernel=how.kernel, backend=lm.backend, width=lm.width,
        )  # fmt: skip
        # At the ends of segments: in a shorter one the state goes on over what fills it up.
        chunks = chunks_of(spans, max(1, length // shape.segment) * shape.segment)
        reader = ChunkReader(pool, setup, chunks, lm=lm, text=text, observations=observations, progress=how.progress)
        stitched = reader.stitched()
        return Read(
            shape=shape, stitched=stitched, kernel=", ".join(sorted(reader.kernels)), workers=max(1, pool.workers),
            chunks=len(chunks), threads=reader.threads,
        )  # fmt: skip

    return read


class ChunkReader:
    """Reads chunks of a text on workers, and their first rows again in this process: a `SpanReader`."""

    def __init__(
        self,
        pool: Pool,
        setup: ChunkSetup,
        chunks: list[Spans],
        *,
        lm: LanguageModel,
        text: EncodedText,
        observations: Observations,
        progress: Progress | None,
    ) -> None:
        self._pool, self._setup, self._chunks, self._lm, self._text = pool, setup, chunks, lm, text
        self._seen, self._progress = observations, progress
        self._spans = Spans(
            starts=np.array([chunk.starts[0] for chunk in chunks], np.int64),
            stops=np.array([chunk.stops[-1] for chunk in chunks], np.int64),
            continues=np.array([chunk.continues[0] for chunk in chunks], bool),
        )
        self._first_row_stops = self._spans.stops.copy()
        self._kept = Boundaries(range(len(chunks)), lm.start())  # states of the first row of every chunk
        self._last: dict[int, Vectors] = {}
        self._inner: list[tuple[int, Stitched]] = []  # for every reading of a whole chunk: its number, and its rows
        self._tolerance = np.zeros(len(chunks))  # by chunk: that which its first reading found to be reachable
        self._scored, self._predictions = 0, sum(chunk.predictions for chunk in chunks)
        self.threads = 1
        self.kernels: set[str] = set()

    def stitched(self) -> Stitched:
        """Read every chunk exactly, and return the statistics."""
        segment, tolerance = self._setup.shape.segment, self._setup.tolerance
        result = Stitching(self, self._spans, segment=segment, tolerance=tolerance).run()
        for chunk, inner in self._inner:
            result.include(chunk, inner)
        result.passes += max((inner.passes for _, inner in self._inner), default=1) - 1
        result.tolerance = max(self._tolerance.tolist(), default=result.tolerance)
        return result

    def read(self, readings: Sequence[SpanReading], on_end: Callable[[SpanResult], Sequence[SpanReading]]) -> None:
        """Make readings; no chunk is audited, so that `on_end` asks for no further ones."""
        unsettled: dict[int, SpanResult] = {}
        for result in self._first_rows([reading for reading in readings if reading.reevaluates]):
            if result.last is None:
                on_end(result)
            else:
                unsettled[result.reading.span] = result
        whole = [reading for reading in readings if reading.span in unsettled or not reading.reevaluates]
        for done in self._pool.run(deque(map(self._task, whole))):
            if isinstance(done.error, WorkerDiedError):
                chunk = self._chunks[done.key.span]
                raise CheckpointError(
                    f"every worker that was given tokens {chunk.starts[0]} to {chunk.stops[-1]} died: they need more "
                    "memory (--memory), or the model crashes its library"
                ) from done.error
            if done.error is not None:
                raise done.error
            on_end(self._take(done.key, done.value, unsettled.get(done.key.span)))

    def _first_rows(self, readings: Sequence[SpanReading]) -> list[SpanResult]:
        """Re-evaluate the first rows of chunks side by side, each until it agrees with its first reading."""
        ended: list[SpanResult] = []

        def on_end(result: SpanResult) -> Sequence[SpanReading]:
            ended.append(result)
            return ()

        if readings:
            setup, lm = self._setup, self._lm
            scorer = lm.scorer(setup.shape, kernel=setup.kernel, parallel=False)
            runner = Runner(self._text, setup.shape, scorer, start=lm.start())
            spans = replace(self._spans, stops=self._first_row_stops)
            reachable = [replace(each, tolerance=float(self._tolerance[each.span])) for each in readings]
            Rows(runner, spans, self._seen, kept=self._kept).read(reachable, on_end)
        return ended

    def _task(self, reading: SpanReading) -> Task:
        index, chunk = reading.span, self._chunks[reading.span]

        def arguments() -> tuple[Any, ...]:
            held = self._text.ids(int(chunk.starts[0]), int(chunk.stops[-1]) + 1)
            return self._setup, ChunkIds(index=index, chunk=chunk, held=held), reading.start

        return Task(key=reading, call=read_chunk, arguments=arguments)

    def _take(self, reading: SpanReading, read: ChunkRead, first_row: SpanResult | None) -> SpanResult:
        """Keep the predictions of a chunk and the states by which it is compared."""
        index, chunk = reading.span, self._chunks[reading.span]
        self._seen.write(int(chunk.starts[0]) + 1, read.predicted.packed())
        for boundary, state in read.first_row.items():
            self._kept.put(index, boundary, state)
        self.threads = max(self.threads, read.threads)
        self.kernels.add(read.kernel)
        self._first_row_stops[index] = chunk.starts[0] + read.first_row_tokens
        self._tolerance[index] = read.stitched.tolerance
        self._inner.append((index, read.stitched))
        last = self._last.get(index)
        if last is None or not np.array_equal(numbers_of(last), numbers_of(read.last), equal_nan=True):
            self._last[index] = read.last
        if first_row is not None:
            return replace(first_row, last=self._last[index], tokens=first_row.tokens + chunk.predictions)
        self._scored += chunk.predictions
        if self._progress is not None:
            self._progress(self._scored, self._predictions)
        return SpanResult(reading=reading, last=self._last[index])
