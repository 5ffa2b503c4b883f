"""One long text over workers: chunks read side by side, then every head mended from the real last state before it.

It is the method of `rnneval.engine.stitch` again, one storey up: after k passes the first k + 1 chunks are right, and
it ends whatever the model does, and a model that forgets needs one mending a chunk. What is read from which state is
settled by sizes and by what was read, never by who is ready first: the result is the same for any number of workers.
"""

import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

import rnneval
from rnneval.engine.kernel import Predicted
from rnneval.engine.measure import Read, Reader, Shared
from rnneval.engine.observations import Observations
from rnneval.engine.options import StateOptions, Streaming
from rnneval.engine.plan import shape_for
from rnneval.engine.states import Vectors
from rnneval.engine.stitch import Stitched
from rnneval.errors import CheckpointError, UsageError
from rnneval.models.lm import RecurrentLM
from rnneval.sweeps.chunks import Chunk, automatic_length, chunks_of
from rnneval.sweeps.cluster import Workers, connected
from rnneval.sweeps.opening import Opening, file_hashes
from rnneval.sweeps.pool import Done, Pool, Task, WorkerDiedError
from rnneval.sweeps.reading import Head, Kept, Mended, Order, Piece, WholeRead, mend_chunk, read_chunk
from rnneval.text import EncodedText

_SIDE_BY_SIDE = 3
"""Passes in which every chunk is mended at once; after them, only chunks whose predecessor is settled are."""
_TELLING = 4  # segments: of a shorter row that does not agree nothing follows
_APART = 1 << 32  # the rows of chunk k are numbered from k times this on


@contextmanager
def workers_reading(
    checkpoint: str, opening: Opening, workers: Workers, *, chunk: int | None = None
) -> Iterator[Reader]:
    """Give a reader for `rnneval.evaluate`, whose workers are let go at the end.

    Args:
        checkpoint: Path of the very checkpoint that is evaluated; workers open it there.
        opening: How they open it.
        workers: Who they are.
        chunk: Predictions of a chunk at the most; by default by the length of the text.

    Raises:
        UsageError: as `connected`.
    """
    with connected(replace(workers, threads=1), tasks=workers.jobs or 1, duplicates=True, deaths=3) as pool:
        yield reader_over(pool, checkpoint, opening, chunk=chunk)


def reader_over(pool: Pool, checkpoint: str, opening: Opening, *, chunk: int | None = None) -> Reader:
    """Give a reader whose tasks a pool runs."""
    path, hashes = str(Path(checkpoint).absolute()), file_hashes(opening.files)

    def read(
        lm: RecurrentLM, text: EncodedText, stateful: StateOptions, how: Streaming, observations: Observations
    ) -> Read:
        if not lm.mixable:
            raise UsageError("this model's state cannot be taken from one process to another: leave out --jobs")
        spans = stateful.spans(text)
        length = chunk or automatic_length(spans.predictions)
        rows = how.rows(lm, min(length, spans.predictions))
        shape = shape_for(spans, lm.width, rows=rows, segment=stateful.step)
        order = Order(
            path=path, sha256=lm.checkpoint.sha256, opening=opening, hashes=hashes, version=rnneval.__version__,
            shape=shape, seed=how.seed, tolerance=how.tolerance, carried=stateful.state == "carry", padded=how.padded,
            kernel=how.kernel, width=lm.width,
        )  # fmt: skip
        # At the ends of segments: in a shorter one the state goes on over what fills it up.
        chunks = chunks_of(spans, max(1, length // shape.segment) * shape.segment)
        spread = Spread(pool, order, chunks, text=text, observations=observations, how=how)
        stitched = spread.run()
        shared = Shared(workers=max(1, pool.workers), chunks=len(chunks), threads=spread.threads)
        return Read(shape=shape, stitched=stitched, kernel=", ".join(sorted(spread.kernels)), shared=shared)

    return read


class Spread:
    """One text being read by many."""

    def __init__(
        self,
        pool: Pool,
        order: Order,
        chunks: list[Chunk],
        *,
        text: EncodedText,
        observations: Observations,
        how: Streaming,
    ) -> None:
        self._pool, self._order, self._chunks, self._text = pool, order, chunks, text
        self._seen, self._how = observations, how
        self._last: dict[int, Vectors] = {}
        """The last state of each chunk, as of the end of the pass before."""
        self._read_from: dict[int, Vectors] = {}
        self._kept = _Heads()
        self._tolerance: dict[int, float] = {}
        self._inner_passes = 1
        self.result = Stitched(tolerance=order.tolerance)
        self.threads = 1
        self.kernels: set[str] = set()

    def run(self) -> Stitched:
        """Read everything, mend what must be, and say how it went."""
        with self._kept:
            self._settle(self._first_pass())
            while stale := self._stale():
                self._settle(self._mended(deque(map(self._mending, stale))))
        result = self.result
        result.tolerance = max(self._tolerance.values(), default=result.tolerance)
        result.passes += self._inner_passes - 1
        return result

    def _first_pass(self) -> dict[int, Vectors]:
        """Read every chunk; each head is mended as soon as the chunk and the one before it have been read."""
        waiting = deque(self._reading(index) for index in range(len(self._chunks)))
        total = sum(chunk.predictions for chunk in self._chunks)
        scored, later = 0, dict[int, Vectors]()
        for done in self._pool.run(waiting):
            mending, index = done.key
            if mending:
                self._take(index, self._value(done), later)
                continue
            self._take(index, self._value(done), self._last)
            scored += self._chunks[index].predictions
            if self._how.progress is not None:
                self._how.progress(scored, total)
            for ready in (index, index + 1):
                if self._is_ready(ready):
                    waiting.appendleft(self._mending(ready))
        if self._read_from:
            self.result.passes += 1
        return later

    def _is_ready(self, index: int) -> bool:
        """Whether a chunk has to be mended and can be."""
        known = index < len(self._chunks) and index in self._last and index - 1 in self._last
        return known and self._chunks[index].continues and index not in self._read_from

    def _mended(self, waiting: deque[Task]) -> dict[int, Vectors]:
        self.result.passes += 1
        later: dict[int, Vectors] = {}
        for done in self._pool.run(waiting):
            self._take(done.key[1], self._value(done), later)
        return later

    def _settle(self, later: dict[int, Vectors]) -> None:
        """Last states of a pass count from the next one on, whoever was ready first."""
        self._last |= later

    def _stale(self) -> list[int]:
        """Chunks that were not read from the last state of the one before."""
        stale = [
            index
            for index, state in self._read_from.items()
            if not np.array_equal(state, self._last[index - 1], equal_nan=True)
        ]
        if self.result.passes <= _SIDE_BY_SIDE:
            return sorted(stale)
        unsettled = set(stale)
        return sorted(index for index in stale if index - 1 not in unsettled)

    def _reading(self, index: int) -> Task:
        return Task(key=(False, index), call=read_chunk, arguments=lambda: (self._order, self._piece(index), None))

    def _mending(self, index: int) -> Task:
        start = self._read_from[index] = self._last[index - 1]
        chunk = self._chunks[index]
        head, tokens = self._kept.get(index)
        before = self._seen.get(chunk.first + 1, chunk.first + 1 + tokens)
        kept = Kept(start=start, head=head, before=before, tolerance=self._tolerance[index])
        return Task(key=(True, index), call=mend_chunk, arguments=lambda: (self._order, self._piece(index), kept))

    def _piece(self, index: int) -> Piece:
        """Give a chunk with its ids."""
        chunk = self._chunks[index]
        return Piece(index=index, chunk=chunk, ids=self._text.ids(chunk.first, chunk.stop + 1))

    def _value(self, done: Done) -> WholeRead | Mended:
        if isinstance(done.error, WorkerDiedError):
            chunk = self._chunks[done.key[1]]
            raise CheckpointError(
                f"every worker process that was given tokens {chunk.first} to {chunk.stop} died: they need more memory "
                "(--memory), or the model crashes TensorFlow"
            ) from done.error
        if done.error is not None:
            raise done.error
        value: WholeRead | Mended = done.value
        return value

    def _take(self, index: int, read: WholeRead | Mended, last: dict[int, Vectors]) -> None:
        """Put what was seen into its place."""
        self._put(self._chunks[index], read.predicted)
        if isinstance(read, Mended):
            self._take_mended(index, read)
            return
        again = index in self._tolerance
        self.threads = max(self.threads, read.threads)
        self.kernels.add(read.kernel)
        self._kept.put(index, read.head, read.head_tokens)
        self._tolerance[index] = read.stitched.tolerance
        self._inner_passes = max(self._inner_passes, read.stitched.passes)
        last[index] = read.last
        self._add(index, read.stitched)
        if again:
            self.result.tokens_rerun += self._chunks[index].predictions + read.head_tokens
            if read.head_tokens >= _TELLING * self._order.shape.segment:
                self.result.forgetting.setdefault(index * _APART, None)

    def _put(self, chunk: Chunk, predicted: Predicted) -> None:
        self._seen.put(chunk.first + 1, predicted)

    def _take_mended(self, index: int, read: Mended) -> None:
        self._kept.put(index, read.head, self._kept.get(index)[1])
        result = self.result
        result.tokens_rerun += len(read.predicted.nats)
        result.forgetting.setdefault(index * _APART, read.tokens)
        result.largest_state_difference = max(result.largest_state_difference or 0.0, read.difference)

    def _add(self, index: int, stitched: Stitched) -> None:
        """Add what a chunk's own stitching says."""
        result = self.result
        result.tokens_rerun += stitched.tokens_rerun
        result.largest_state_difference = _largest(result.largest_state_difference, stitched.largest_state_difference)
        result.audited_loss_difference = _largest(result.audited_loss_difference, stitched.audited_loss_difference)
        result.fragile = result.fragile or stitched.fragile
        for span, tokens in stitched.forgetting.items():
            result.forgetting.setdefault(index * _APART + span, tokens)


def _largest(first: float | None, second: float | None) -> float | None:
    known = [value for value in (first, second) if value is not None]
    return max(known, default=None)


class _Heads:
    """The kept states of every chunk's first row, in an unnamed temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="rnneval-")  # noqa: SIM115 - closed by __exit__
        self._places: dict[int, _Place] = {}
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def put(self, index: int, head: Head, tokens: int) -> None:
        """Keep a head; one of the same size takes the place of the one before."""
        states = np.stack(list(head.values())) if head else np.zeros((0, 0), np.float32)
        old = self._places.get(index)
        at = old.at if old is not None and old.size == states.nbytes else self._end
        self._file.seek(at)
        self._file.write(states.tobytes())
        self._end = max(self._end, at + states.nbytes)
        self._places[index] = _Place(at, states.nbytes, list(head), states.dtype, tokens)

    def get(self, index: int) -> tuple[Head, int]:
        """Give a head, and how many tokens its row has."""
        place = self._places[index]
        self._file.seek(place.at)
        states = np.frombuffer(self._file.read(place.size), place.dtype)
        rows = states.reshape(len(place.boundaries), -1 if place.boundaries else 0)
        return dict(zip(place.boundaries, rows, strict=True)), place.tokens


class _Place(NamedTuple):
    """Where a head lies in the file."""

    at: int
    size: int
    boundaries: list[int]
    dtype: np.dtype[Any]
    tokens: int
