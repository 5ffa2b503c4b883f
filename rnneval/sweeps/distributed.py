"""Distributed stitching of one long text: chunks are read in worker processes.

It is the algorithm of `rnneval.engine.stitch` with chunks in place of spans, so `SpanReading.span` is the number of a
chunk here. Which chunk is read from which state depends on sizes and on the states, never on the worker that is ready
first: the result is the same for any number of workers. *Overlap*: the states of a chunk's first row, with which its
re-evaluation is compared.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

import rnneval
from rnneval.backends.protocol import LanguageModel, Vectors
from rnneval.engine.collect import Observations
from rnneval.engine.measure import Read, Reader, Shared
from rnneval.engine.options import StateOptions, Streaming
from rnneval.engine.plan import Spans, shape_for
from rnneval.engine.stitch import SpanReading, SpanResult, Stitched, Stitching
from rnneval.errors import CheckpointError, UsageError
from rnneval.sweeps.chunks import (
    Chunk,
    ChunkIds,
    ChunkSetup,
    Earlier,
    Overlap,
    Reevaluated,
    WholeChunk,
    automatic_length,
    chunks_of,
    read_chunk,
    reevaluate_chunk,
)
from rnneval.sweeps.opening import Opening, file_hashes
from rnneval.sweeps.pool import Done, Pool, Task, WorkerDiedError
from rnneval.sweeps.workers import Workers, connected
from rnneval.text import EncodedText
from rnneval.text.spool import DiskArray

_PASSES_AT_ONCE = 3
"""Passes after which all stale chunks may still be re-evaluated together: no audit foresees how many are needed."""
_CONCLUSIVE = 4  # segments: a shorter row that does not agree may only have been too short


@contextmanager
def workers_reading(
    checkpoint: str, opening: Opening, workers: Workers, *, chunk: int | None = None
) -> Iterator[Reader]:
    """Start workers, return a reader for `rnneval.evaluate` that uses them, and stop them at the end.

    Args:
        checkpoint: Path of the very checkpoint that is evaluated; workers open it there.
        opening: Options with which they open it.
        workers: The workers to start or to connect to.
        chunk: Most predictions of a chunk; by default chosen by the length of the text.

    Raises:
        UsageError: as `connected`.
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
        reader = ChunkReader(pool, setup, chunks, text=text, observations=observations, how=how)
        stitched = reader.stitched()
        shared = Shared(workers=max(1, pool.workers), chunks=len(chunks), threads=reader.threads)
        return Read(shape=shape, stitched=stitched, kernel=", ".join(sorted(reader.kernels)), shared=shared)

    return read


class ChunkReader:
    """Reads chunks of a text in worker processes: a `SpanReader`."""

    def __init__(
        self,
        pool: Pool,
        setup: ChunkSetup,
        chunks: list[Chunk],
        *,
        text: EncodedText,
        observations: Observations,
        how: Streaming,
    ) -> None:
        self._pool, self._setup, self._chunks, self._text = pool, setup, chunks, text
        self._seen, self._progress = observations, how.progress
        self._overlaps = _Overlaps()
        self._last: dict[int, Vectors] = {}
        self._inner: list[tuple[int, Stitched]] = []
        """The number of a chunk and the statistics of its rows, for every reading of a whole chunk."""
        self._tolerance: dict[int, float] = {}
        """The tolerance that the first reading of a chunk found to be reachable, by chunk."""
        self._scored, self._predictions = 0, sum(chunk.predictions for chunk in chunks)
        self.threads = 1
        self.kernels: set[str] = set()

    def stitched(self) -> Stitched:
        """Read every chunk exactly, and return the statistics."""
        spans = Spans(
            starts=np.array([chunk.first for chunk in self._chunks], np.int64),
            stops=np.array([chunk.stop for chunk in self._chunks], np.int64),
            previous=np.array([k - 1 if chunk.continues else -1 for k, chunk in enumerate(self._chunks)], np.int64),
        )
        setup = self._setup
        with self._overlaps:
            stitching = Stitching(
                self, spans, segment=setup.shape.segment, tolerance=setup.tolerance, passes_at_once=_PASSES_AT_ONCE
            )
            result = stitching.run()
        for chunk, inner in self._inner:
            result.include(chunk, inner)
        result.passes += max((inner.passes for _, inner in self._inner), default=1) - 1
        result.tolerance = max(self._tolerance.values(), default=result.tolerance)
        return result

    def read(self, readings: Sequence[SpanReading], on_end: Callable[[SpanResult], Sequence[SpanReading]]) -> None:
        """Make readings on workers; further ones are made first."""
        waiting = deque(map(self._task, readings))
        for done in self._pool.run(waiting):
            waiting.extendleft(map(self._task, on_end(self._take(done.key, self._value(done)))))

    def _task(self, reading: SpanReading) -> Task:
        index = reading.span

        def arguments() -> tuple[Any, ...]:
            chunk = self._chunks[index]
            given = ChunkIds(index=index, chunk=chunk, ids=self._text.ids(chunk.first, chunk.stop + 1))
            if reading.start is None:
                return self._setup, given
            overlap, tokens = self._overlaps.get(index)
            before = self._seen.get(chunk.first + 1, chunk.first + 1 + tokens)
            earlier = Earlier(start=reading.start, overlap=overlap, predicted=before, tolerance=self._tolerance[index])
            return self._setup, given, earlier

        return Task(key=reading, call=reevaluate_chunk if reading.reevaluates else read_chunk, arguments=arguments)

    def _value(self, done: Done) -> WholeChunk | Reevaluated:
        if isinstance(done.error, WorkerDiedError):
            chunk = self._chunks[done.key.span]
            raise CheckpointError(
                f"every worker process that was given tokens {chunk.first} to {chunk.stop} died: they need more memory "
                "(--memory), or the model crashes TensorFlow"
            ) from done.error
        if done.error is not None:
            raise done.error
        value: WholeChunk | Reevaluated = done.value
        return value

    def _take(self, reading: SpanReading, read: WholeChunk | Reevaluated) -> SpanResult:
        """Keep the predictions of a chunk and the states by which it is compared."""
        index, chunk = reading.span, self._chunks[reading.span]
        self._seen.put(chunk.first + 1, read.predicted.packed())
        if isinstance(read, Reevaluated):
            self._overlaps.put(index, read.overlap, self._overlaps.get(index)[1])
            return SpanResult(
                reading=reading,
                last=None,
                tokens=len(read.predicted.nats),
                agreed_after=read.agreed_after,
                difference=read.difference,
            )
        self.threads = max(self.threads, read.threads)
        self.kernels.add(read.kernel)
        self._overlaps.put(index, read.overlap, read.overlap_tokens)
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
    """The overlap of every chunk, and the tokens of its first row, on disk."""

    def __init__(self) -> None:
        self._states: DiskArray | None = None
        self._placed: dict[int, tuple[int, list[int], int]] = {}
        """The first row of a chunk's states on disk, their boundaries, and the tokens, by chunk."""
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._states is not None:
            self._states.close()

    def put(self, chunk: int, overlap: Overlap, tokens: int) -> None:
        """Keep an overlap; one of the same size takes the place of the one before."""
        at, boundaries, _ = self._placed.get(chunk, (self._end, [], 0))
        if len(boundaries) != len(overlap):
            at, self._end = self._end, self._end + len(overlap)
        self._placed[chunk] = at, list(overlap), tokens
        if overlap:
            states = np.stack(list(overlap.values()))
            if self._states is None:
                self._states = DiskArray(states.dtype, states.shape[1:], holds="states")
            self._states.write(at, states)

    def get(self, chunk: int) -> tuple[Overlap, int]:
        """Return an overlap, and how many tokens the row has."""
        at, boundaries, tokens = self._placed[chunk]
        if self._states is None:
            return {}, tokens
        return dict(zip(boundaries, self._states.read(at, at + len(boundaries)), strict=True)), tokens
