"""Scoring with NumPy: blocks of rows, one after the other, each in buffers that are kept."""

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rnneval.backends.numpy.activations import Floats
from rnneval.backends.numpy.network import Block, Dense, Network, through
from rnneval.backends.numpy.products import aligned_empty, one_blas_thread
from rnneval.backends.numpy.room import Ask, Ids, Room
from rnneval.backends.numpy.team import Team, Worker, patience, shared_out
from rnneval.backends.protocol import Layout, Predicted, SeenRows, Sees, Shape, Stepped, Trajectory, Vectors
from rnneval.backends.scoring import score_in_place
from rnneval.errors import CheckpointError

ROWS = 64
"""The most rows of a block. It is fixed, so that no digit depends on how many cores there are."""
_FEW = 32
"""Rows: fewer are one block."""
_WIDE = 2**18
"""Weights of a model from which on it is wide."""
_TRIED = 0.5
"""Seconds of work with more processes after which they are ended if they do not pay: on a machine with other work."""
_LOGITS = 2**20
"""The most logits that are made at once: 4 MB."""
_MANY = 2**19
"""Logits of some steps from which on a second thread pays."""


class _Waiting:
    """Outputs of the last recurrent layer that wait to be scored, by whichever thread is free."""

    def __init__(self, network: Network, room: Room) -> None:
        """Take the arrays of a block, whose targets are scored; here they are time first."""
        self._network, self._predicted = network, room.predicted
        self._targets = np.ascontiguousarray(room.targets.T).reshape(-1)
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

    def score(self, logits: Floats) -> None:
        """Score parts until none is left; their logits are put into a buffer."""
        with np.errstate(all="ignore"):  # again: it is a thread's own
            while self._parts:
                try:
                    places, hidden = self._parts.popleft()
                except IndexError:  # the other thread was faster
                    return
                predicted = score_in_place(self._head(hidden, logits), self._targets[places])
                for whole, values in zip(self._found, predicted, strict=True):
                    whole[places] = values

    def put(self) -> None:
        """Put what was found into the block's arrays, `(rows, time)`."""
        for array, found in zip(self._predicted, self._found, strict=True):
            np.copyto(array, found.reshape(array.shape[::-1]).T)

    def _head(self, hidden: Floats, logits: Floats) -> Floats:
        """Return logits, `(n, V)`, in the buffer if the last layer can put them there."""
        *first, last = self._network.head or (None,)
        if isinstance(last, Dense):
            count = len(hidden) * self._network.width
            return last(through(first, hidden), out=logits[:count].reshape(len(hidden), -1))
        return through(self._network.head, hidden)


class BlockScorer:
    """Scores blocks of rows, one after the other, in buffers that are kept."""

    def __init__(self, network: Network) -> None:
        self._network, self._block = network, Block(network, ROWS)
        self._logits = [aligned_empty(_LOGITS + network.width, network.dtype) for _ in range(2)]

    def score(self, room: Room, helper: Executor | None = None) -> None:
        """Read the ids of a block from its states; fill in everything else.

        Args:
            room: The arrays of the block.
            helper: A thread for logits, where they are many: it makes those of earlier tokens while the states of later
                ones are made.
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


@dataclass
class _Pace:
    """The time that steps of several blocks took."""

    seconds: float = 0.0
    tokens: int = 0

    def add(self, seconds: float, tokens: int) -> None:
        """Count one step."""
        self.seconds, self.tokens = self.seconds + seconds, self.tokens + tokens

    @property
    def tokens_a_second(self) -> float:
        """The rate of these steps."""
        return self.tokens / max(self.seconds, 1e-9)


class NumpyScorer:
    """Scores a chain of layers: a `Scorer`. What it observes of a step is valid until the next."""

    kernel = "numpy"

    def __init__(self, network: Network, layout: Layout, *, sees: Sees, shape: Shape, team: Team | None) -> None:
        self._network, self._layout, self._sees, self._team = network, layout, sees, team
        self._widest = Ask(rows=blocks_of(shape.rows, network), time=shape.segment, sees=sees)
        self._here: BlockScorer | None = None
        self._helper = ThreadPoolExecutor(1) if team is not None and team.can_start else None
        self._memory = np.empty(0, np.uint8)
        self._alone, self._together = _Pace(), _Pace()

    def begin(self) -> None:
        """Begin a reading: nothing is chosen by what was read before."""

    def score(self, ids: Ids, targets: Ids, states: Vectors, width: int) -> Stepped:
        """Read ids `(rows, time)` from states `(rows, D)` and score the targets.

        Raises:
            CheckpointError: an id that the embedding does not have.
        """
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
        seen = tuple(self._seen(room) for room in rooms if room.paths is not None)
        return Stepped(Predicted(*found), np.concatenate([room.after for room in rooms]), seen)

    def _scored(self, ask: Ask, ids: Ids, targets: Ids, states: Vectors) -> list[Room]:
        """Score the blocks of a step, here and in the workers that are ready."""
        workers, began = self._workers(ask), time.perf_counter()
        parts = shared_out(ask.rows, len(workers) + 1)
        asks = [replace(ask, rows=ask.rows[part]) for part in parts]
        rooms = [
            part.rooms(self._network, memory)
            for part, memory in zip(asks, (self._own_memory(asks[0]), *(w.memory for w in workers)), strict=True)
        ]
        start = 0
        for room in (room for some in rooms for room in some):
            rows = slice(start, start := start + len(room.ids))
            room.ids[:], room.targets[:], room.before[:] = ids[rows], targets[rows], states[rows]
        asked = [worker.begin(part) for worker, part in zip(workers, asks[1:], strict=True)]
        own = time.perf_counter()
        self._score_here(rooms[0], None if workers else self._helper)
        own = time.perf_counter() - own
        for worker, was_asked, some in zip(workers, asked, rooms[1:], strict=True):
            if not (was_asked and worker.finish(patience(own))):
                assert self._team is not None  # noqa: S101 - it has workers
                self._team.drop(worker)
                self._score_here(some)
        if len(ask.rows) > 1:
            pace = self._together if workers else self._alone
            pace.add(time.perf_counter() - began, ids.size)
        return [room for some in rooms for room in some]

    def _workers(self, ask: Ask) -> list[Worker]:
        """Return the workers for a step of several blocks, which only a long text has; start them at the first."""
        if self._team is None or len(ask.rows) < 2:
            return []
        if self._team.can_start:
            self._team.start(self._widest)
        if self._together.seconds >= _TRIED and self._together.tokens_a_second < self._alone.tokens_a_second:
            self._team.stop()
        return self._team.ready(ask)[: len(ask.rows) - 1]

    def _score_here(self, rooms: Sequence[Room], helper: Executor | None = None) -> None:
        if self._here is None:
            self._here = BlockScorer(self._network)
        for room in rooms:
            self._here.score(room, helper)

    def _own_memory(self, ask: Ask) -> NDArray[np.uint8]:
        size = ask.size(self._network)
        if len(self._memory) < size:
            self._memory = np.empty(size, np.uint8)
        return self._memory

    def _seen(self, room: Room) -> SeenRows:
        """Return what the layers did, rows first."""
        assert room.paths is not None  # noqa: S101 - else there is nothing to see
        first = [part for parts in self._network.split(room.before) for part in parts]
        after = [part for parts in room.paths.states for part in parts]
        trajectories = {
            key: Trajectory(states.swapaxes(0, 1), start)
            for key, states, start in zip(self._layout.states, after, first, strict=True)
        }
        inputs = {}
        if room.paths.inputs is not None:
            inputs = {
                layer: values.swapaxes(0, 1)
                for (layer, cells), values in zip(self._layout.cells.items(), room.paths.inputs, strict=True)
                if cells
            }
        return SeenRows(len(room.before), self._layout, trajectories, inputs)


def blocks_of(rows: int, network: Network) -> tuple[int, ...]:
    """Divide the rows of a step into blocks of nearly equal size; this depends on nothing but rows and model.

    Few rows of a wide model are divided too: the larger the model, the less a product gains from more rows.
    """
    blocks = -(-rows // ROWS)
    if rows >= _FEW and network.numbers >= _WIDE:
        blocks = 2 * -(-rows // (2 * ROWS))
    return tuple(rows // blocks + (k < rows % blocks) for k in range(blocks))
