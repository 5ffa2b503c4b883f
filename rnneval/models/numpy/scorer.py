"""Scoring with NumPy: blocks of rows, each in buffers that are kept, by this process and by workers beside it.

A worker is a Python process of its own that imports NumPy, and nothing of the current folder or of the user's script.
It reads and writes the arrays of its blocks in memory that it shares with this process; a line on its input says that
they are there, and a byte on its output that they are done. Its input ends when this process does, whatever ends it.

Which process scores a block changes no digit. A worker that fails is left out, and its blocks are scored here. Whether
workers pay is timed as the text is read. `NumpyScorer` is what the engine calls; `main` is the program of a worker.
"""

import contextlib
import math
import mmap
import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import CheckpointError
from rnneval.models.numpy.layers import Dense, Floats, aligned_empty, one_blas_thread
from rnneval.models.numpy.network import Block, Ids, Network, Paths, Recipe, through
from rnneval.models.protocol import Layout, Predicted, SeenRows, Sees, Shape, Stepped, Trajectory, Vectors
from rnneval.models.scoring import score_in_place
from rnneval.processes import cores, start_python

ROWS = 64  # the most rows of a block. It is fixed, so that no digit depends on how many cores there are.
_FEW = 32  # rows: fewer are one block
_WIDE = 2**18  # weights of a model from which on it is wide
_LOGITS = 2**20  # the most logits that are made at once: 4 MB
_MANY = 2**19  # logits of some steps from which on a second thread pays
_APART = 64  # bytes: the starts of arrays in shared memory are multiples of this apart, a cache line
_MOST = 8  # processes, this one included: more are slowed down by memory and by what is not divided
_TRIED = 0.5
"""Seconds of work with more processes after which they are ended if they do not pay: on a machine with other work."""
_PATIENCE = 60.0  # seconds that a worker may take longer than 20 times as long as this process took for its own blocks


class Room(NamedTuple):
    """The arrays that one block reads and writes."""

    ids: Ids  # (rows, time)
    targets: Ids
    before: Floats  # states before the first input, `(rows, D)`
    after: Floats
    predicted: Predicted
    paths: Paths | None  # places for what the layers do; None where only losses are wanted


@dataclass(frozen=True, kw_only=True)
class Ask:
    """The sizes of a step's blocks: the same in every process that reads the memory."""

    rows: tuple[int, ...]  # rows of each block
    time: int
    sees: Sees

    def size(self, network: Network) -> int:
        """Return how many bytes the arrays of all blocks take."""
        return sum(_bytes(shape, kind) for rows in self.rows for shape, kind in self._shapes(network, rows))

    def rooms(self, network: Network, memory: Any) -> list[Room]:
        """Return the arrays of each block, side by side in memory of at least `size` bytes."""
        found, at = [], 0
        for rows in self.rows:
            arrays: list[NDArray[Any]] = []
            for shape, kind in self._shapes(network, rows):
                arrays.append(np.ndarray(shape, kind, memory, at))
                at += _bytes(shape, kind)
            ids, targets, before, after, nats, confidence, rank, *rest = arrays
            own, paths = iter(rest), None
            if self.sees != "losses":
                states = [[next(own) for _ in stage.cell.slots] for stage in network.stages]
                paths = Paths(states, [*own] or None)
            found.append(Room(ids, targets, before, after, Predicted(nats, confidence, rank), paths))
        return found

    def _shapes(self, network: Network, rows: int) -> Iterator[tuple[tuple[int, ...], Any]]:
        """Yield the shape and the type of every array of a block."""
        yield from [((rows, self.time), np.int32)] * 2
        yield from [((rows, network.size), network.dtype)] * 2
        yield from [((rows, self.time), kind) for kind in (network.dtype, np.float32, np.int32)]
        cells = [stage.cell for stage in network.stages]
        if self.sees != "losses":
            yield from [((self.time, rows, cell.units), network.dtype) for cell in cells for _ in cell.slots]
        if self.sees == "gates":
            yield from [((self.time, rows, cell.inputs), network.dtype) for cell in cells]


def _bytes(shape: tuple[int, ...], kind: Any) -> int:
    size: int = math.prod(shape) * np.dtype(kind).itemsize
    return -(-size // _APART) * _APART


def blocks_of(rows: int, network: Network) -> tuple[int, ...]:
    """Divide the rows of a step into blocks of nearly equal size; this depends on nothing but rows and model.

    Few rows of a wide model are divided too: the larger the model, the less a product gains from more rows.
    """
    blocks = -(-rows // ROWS)
    if rows >= _FEW and network.numbers >= _WIDE:
        blocks = 2 * -(-rows // (2 * ROWS))
    return tuple(rows // blocks + (k < rows % blocks) for k in range(blocks))


class _Waiting:
    """Outputs of the last recurrent layer that wait to be scored, by whichever thread is free."""

    def __init__(self, network: Network, room: Room) -> None:
        self._network, self._predicted = network, room.predicted
        self._targets = np.ascontiguousarray(room.targets.T).reshape(-1)  # here everything is time first
        self._found = [np.empty(array.size, array.dtype) for array in room.predicted]
        self._parts = deque[tuple[slice, Floats]]()

    def add(self, start: int, flat: Floats) -> None:
        """Add the outputs for targets from `start` on, `(n, units)`, in parts whose logits fit into a buffer."""
        size = max(1, _LOGITS // self._network.width)
        if self.are_many(len(flat)):  # two threads share them
            size = min(size, -(-len(flat) // 2))
        for at in range(0, len(flat), size):
            part = flat[at : at + size]
            self._parts.append((slice(start + at, start + at + len(part)), part))

    def are_many(self, tokens: int) -> bool:
        """Return whether the logits of so many tokens are worth a second thread."""
        return tokens * self._network.width >= _MANY

    def score(self, buffer: Floats) -> None:
        """Score parts until none is left; their logits are put into the buffer if the last layer can put them there."""
        *first, last = self._network.head or (None,)
        with np.errstate(all="ignore"):  # again: it is a thread's own
            while self._parts:
                try:
                    places, hidden = self._parts.popleft()
                except IndexError:  # the other thread was faster
                    return
                if isinstance(last, Dense):
                    room = buffer[: len(hidden) * self._network.width].reshape(len(hidden), -1)
                    logits = last(through(first, hidden), out=room)
                else:
                    logits = through(self._network.head, hidden)
                predicted = score_in_place(logits, self._targets[places])
                for whole, values in zip(self._found, predicted, strict=True):
                    whole[places] = values

    def put(self) -> None:
        """Put what was found into the block's arrays, `(rows, time)`."""
        for array, found in zip(self._predicted, self._found, strict=True):
            np.copyto(array, found.reshape(array.shape[::-1]).T)


class BlockScorer:
    """Scores blocks of rows, one after the other, in buffers that are kept."""

    def __init__(self, network: Network) -> None:
        self._network, self._block = network, Block(network, ROWS)
        self._logits = [aligned_empty(_LOGITS + network.width, network.dtype) for _ in range(2)]

    def score(self, room: Room, helper: Executor | None = None) -> None:
        """Read the ids of a block from its states; fill in everything else.

        The helper is a thread for logits, where they are many: it makes those of earlier tokens while the states of
        later ones are made.
        """
        rows, states = len(room.ids), self._network.split(room.before)
        waiting, helped = _Waiting(self._network, room), list[Future[None]]()

        def take(start: int, hidden: Floats) -> None:
            flat = hidden.reshape(-1, hidden.shape[2])
            if helper is not None and waiting.are_many(len(flat)):
                waiting.add(start * rows, flat.copy())
                helped.append(helper.submit(waiting.score, self._logits[1]))
            else:
                waiting.add(start * rows, flat)
                waiting.score(self._logits[0])

        self._block.run(np.ascontiguousarray(room.ids.T), states, take, room.paths)
        waiting.score(self._logits[0])
        for future in helped:
            future.result()
        waiting.put()
        np.concatenate([part for parts in states for part in parts], axis=1, out=room.after)


def main(recipe_descriptor: str, shared_descriptor: str) -> None:
    """Be a worker: score what is asked for until the input ends; the descriptors are those that `Worker` gives."""
    recipe_file, shared = int(recipe_descriptor), int(shared_descriptor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other process decides: then the input ends
    memory = mmap.mmap(shared, os.fstat(shared).st_size)
    # Mapped, not read: the position in the file is shared with the other workers.
    with mmap.mmap(recipe_file, 0, access=mmap.ACCESS_READ) as written:
        recipe: Recipe = pickle.loads(written)  # noqa: S301 - written by the process that started this one
    network = Network(recipe)
    scorer = BlockScorer(network)
    with contextlib.suppress(BrokenPipeError), one_blas_thread():
        os.write(1, b".")
        for line in sys.stdin:
            steps, sees, *rows = line.split()
            ask = Ask(rows=tuple(map(int, rows)), time=int(steps), sees=cast("Sees", sees))
            for room in ask.rooms(network, memory):
                scorer.score(room)
            os.write(1, b".")


class Worker:
    """One worker, as this process sees it."""

    def __init__(self, recipe_file: int, size: int) -> None:
        """Start it; `recipe_file` is a descriptor of the pickled recipe, `size` the bytes of its blocks."""
        self.ready = False  # whether it has begun to wait for blocks
        shared = _anonymous()
        try:
            os.ftruncate(shared, size)
            self.memory = mmap.mmap(shared, size)
            self._process = start_python(
                __name__, recipe_file, shared, threads=1, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=(recipe_file, shared),
            )  # fmt: skip
        finally:
            os.close(shared)

    def begin(self, ask: Ask) -> bool:
        """Let it score the blocks that lie in its memory; return whether it could be asked."""
        assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
        try:
            self._process.stdin.write(f"{ask.time} {ask.sees} {' '.join(map(str, ask.rows))}\n".encode())
            self._process.stdin.flush()
        except OSError:
            return False
        return True

    def finish(self, seconds: float) -> bool:
        """Wait until it is done; return whether it is."""
        out = self._process.stdout
        assert out is not None  # noqa: S101 - a pipe was asked for
        return bool(select.select([out], [], [], seconds)[0]) and os.read(out.fileno(), 1) == b"."

    def stop(self) -> None:
        """End the process at once: it holds nothing that would have to be written."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # closing writes what the process has not read
                if pipe is not None:
                    pipe.close()
        self._process.wait()


def _anonymous() -> int:
    """Return a descriptor of memory that has no name, or else of a file that has none any more."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("rnneval")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class Team:
    """The workers of one scorer."""

    def __init__(self, recipe: Recipe, network: Network) -> None:
        self._recipe, self._network = recipe, network
        self.count = min(_MOST, cores()) - 1 if os.name == "posix" else 0  # workers that may be started; then 0
        self.workers: list[Worker] = []
        weakref.finalize(self, _stop_all, self.workers)

    def start(self, ask: Ask) -> None:
        """Start the workers for steps of at most these sizes; they are not ready yet."""
        count, self.count = min(self.count, len(ask.rows) - 1), 0
        recipe = _anonymous()
        try:
            with os.fdopen(os.dup(recipe), "wb") as file:
                pickle.dump(self._recipe, file, protocol=5)
            for _ in range(count):
                self.workers.append(Worker(recipe, ask.size(self._network)))
        except OSError:  # no process, no memory: this process goes on alone
            self.stop()
        finally:
            os.close(recipe)

    def ready(self, ask: Ask) -> list[Worker]:
        """Return the workers that are ready and have room for the blocks of a step."""
        size = ask.size(self._network)
        for worker in self.workers:
            worker.ready = worker.ready or worker.finish(0)
        return [worker for worker in self.workers if worker.ready and len(worker.memory) >= size]

    def drop(self, worker: Worker) -> None:
        """Leave out a worker that failed."""
        self.workers.remove(worker)
        worker.stop()

    def stop(self) -> None:
        """End all workers."""
        _stop_all(self.workers)


def _stop_all(workers: list[Worker]) -> None:
    while workers:
        workers.pop().stop()


def shared_out(rooms: Sequence[Any], parts: int) -> list[slice]:
    """Divide blocks among processes, in their order, as evenly as can be; the first has other work and gets no more.

    Example:
        >>> shared_out(range(5), 2)
        [slice(0, 2, None), slice(2, 5, None)]
    """
    bounds = [len(rooms) * part // parts for part in range(parts + 1)]
    return [slice(start, stop) for start, stop in pairwise(bounds)]


@dataclass
class _Pace:
    """The time that steps of several blocks took."""

    seconds: float = 0.0
    tokens: int = 0

    @property
    def tokens_a_second(self) -> float:
        return self.tokens / max(self.seconds, 1e-9)


class NumpyScorer:
    """Scores a chain of layers: a `Scorer`. What it observes of a step is valid until the next."""

    kernel = "numpy"

    def __init__(self, network: Network, layout: Layout, *, sees: Sees, shape: Shape, team: Team | None) -> None:
        self._network, self._layout, self._sees, self._team = network, layout, sees, team
        self._widest = Ask(rows=blocks_of(shape.rows, network), time=shape.segment, sees=sees)
        self._here = BlockScorer(network)
        self._helper = ThreadPoolExecutor(1) if team is not None and team.count > 0 else None
        self._memory = np.empty(0, np.uint8)
        self._alone, self._together = _Pace(), _Pace()

    def begin(self) -> None:
        """Begin a reading: nothing is chosen by what was read before."""

    def score(self, ids: Ids, targets: Ids, states: Vectors, width: int) -> Stepped:
        """Read ids `(rows, time)` from states `(rows, D)` and score the targets."""
        if ids.size and ids.max() >= self._network.ids:
            raise CheckpointError(
                f"the embedding has {self._network.ids:,} rows, and the text has the id {ids.max():,}: the vocabulary "
                "is of another model, or the model was saved with too small an embedding"
            )
        ask = Ask(rows=blocks_of(len(ids), self._network), time=ids.shape[1], sees=self._sees)
        try:
            with one_blas_thread():
                rooms = self._scored(ask, ids, targets, states)
        except BaseException:
            if self._team is not None:  # an answer may be on its way: it would be taken for that of the next step
                self._team.stop()
            raise
        found = (np.concatenate(arrays) for arrays in zip(*(room.predicted for room in rooms), strict=True))
        seen = tuple(self._seen(room, room.paths) for room in rooms if room.paths is not None)
        return Stepped(Predicted(*found), np.concatenate([room.after for room in rooms]), seen)

    def _scored(self, ask: Ask, ids: Ids, targets: Ids, states: Vectors) -> list[Room]:
        """Score the blocks of a step, here and in the workers that are ready."""
        workers, began = self._workers(ask), time.perf_counter()
        asks = [replace(ask, rows=ask.rows[part]) for part in shared_out(ask.rows, len(workers) + 1)]
        size = asks[0].size(self._network)
        if len(self._memory) < size:
            self._memory = np.empty(size, np.uint8)
        memories = (self._memory, *(worker.memory for worker in workers))
        rooms = [part.rooms(self._network, memory) for part, memory in zip(asks, memories, strict=True)]
        start = 0
        for room in (room for some in rooms for room in some):
            rows = slice(start, start := start + len(room.ids))
            room.ids[:], room.targets[:], room.before[:] = ids[rows], targets[rows], states[rows]
        asked = [worker.begin(part) for worker, part in zip(workers, asks[1:], strict=True)]
        own = time.perf_counter()
        self._score_here(rooms[0], None if workers else self._helper)
        own = time.perf_counter() - own
        for worker, was_asked, some in zip(workers, asked, rooms[1:], strict=True):
            if not (was_asked and worker.finish(_PATIENCE + 20 * own)):
                assert self._team is not None  # noqa: S101 - it has workers
                self._team.drop(worker)
                self._score_here(some, None)
        if len(ask.rows) > 1:
            pace = self._together if workers else self._alone
            pace.seconds += time.perf_counter() - began
            pace.tokens += ids.size
        return [room for some in rooms for room in some]

    def _workers(self, ask: Ask) -> list[Worker]:
        """Return the workers for a step of several blocks, which only a long text has; start them at the first."""
        if self._team is None or len(ask.rows) < 2:
            return []
        if self._team.count > 0:
            self._team.start(self._widest)
        if self._together.seconds >= _TRIED and self._together.tokens_a_second < self._alone.tokens_a_second:
            self._team.stop()
        return self._team.ready(ask)[: len(ask.rows) - 1]

    def _score_here(self, rooms: Sequence[Room], helper: Executor | None) -> None:
        for room in rooms:
            self._here.score(room, helper)

    def _seen(self, room: Room, paths: Paths) -> SeenRows:
        """Return what the layers did, rows first."""
        first = [part for parts in self._network.split(room.before) for part in parts]
        after = [part for parts in paths.states for part in parts]
        trajectories = {
            key: Trajectory(states.swapaxes(0, 1), start)
            for key, states, start in zip(self._layout.states, after, first, strict=True)
        }
        inputs = {
            layer: values.swapaxes(0, 1)
            for (layer, cells), values in zip(self._layout.cells.items(), paths.inputs or (), strict=True)
            if cells
        }
        return SeenRows(len(room.before), self._layout, trajectories, inputs)
