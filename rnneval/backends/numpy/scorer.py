"""Scoring with NumPy: blocks of rows, one after the other, each in buffers that are kept."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.backends.numpy.activations import Floats
from rnneval.backends.numpy.network import Block, Dense, Network, Paths, through
from rnneval.backends.protocol import Layout, Predicted, SeenRows, Sees, Stepped, Trajectory, Vectors
from rnneval.errors import CheckpointError

ROWS = 64
"""Rows of a block. It is fixed, so that no digit depends on how many cores there are."""
_LOGITS = 2**20
"""The most logits that are made at once: 4 MB."""

Ids = NDArray[np.int32]


@cache
def _blas() -> Any:
    """Return the libraries of linear algebra that are loaded; they are searched for once."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let linear algebra run in one thread while the block runs: many threads spin where a machine is busy."""
    with _blas().limit(limits=1, user_api="blas"), np.errstate(all="ignore"):
        yield


def scored(logits: Floats, targets: Ids) -> Predicted:
    """Score targets `(n,)` under logits `(n, V)`, which are overwritten: loss in nats, top-1 confidence, rank.

    The loss is the log-softmax of the logits, never the log of a softmax. The lower id wins a tie, as in argmax.

    Example:
        >>> found = scored(np.log([[0.1, 0.6, 0.3], [0.4, 0.4, 0.2]]), np.array([2, 1], np.int32))
        >>> np.exp(-found.nats).round(6).tolist(), found.confidence.round(6).tolist(), found.rank.tolist()
        ([0.3, 0.4], [0.6000000238418579, 0.4000000059604645], [1, 1])
    """
    top, target = logits.max(axis=1), logits[np.arange(len(targets)), targets]
    rank = _row_sums(logits > target[:, None])
    equal = logits == target[:, None]
    if np.count_nonzero(equal) > len(targets):  # ties are rare
        equal &= np.arange(logits.shape[1]) < targets[:, None]
        rank += _row_sums(equal)
    logits -= top[:, None]
    # A product with ones sums rows several times as fast as `sum`. Σ ≥ 1: its logarithm is ≥ 0.
    log_sum = np.log(np.exp(logits, out=logits) @ np.ones(logits.shape[1], logits.dtype))
    return Predicted((top - target) + log_sum, np.exp(-log_sum).astype(np.float32), rank.astype(np.int32))


def _row_sums(marks: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Count the marks in each row; small types are summed faster."""
    small = np.uint16 if marks.shape[1] < 1 << 16 else np.uint32
    counts: NDArray[np.int32] = marks.view(np.uint8).sum(axis=1, dtype=small).astype(np.int32)
    return counts


class BlockScorer:
    """Scores the rows of one block."""

    def __init__(self, network: Network, rows: int) -> None:
        self._network, self._rows = network, rows
        self._block = Block(network=network, rows=rows)
        self._most = max(1, _LOGITS // network.width)
        self._logits = np.empty((min(self._most, rows * self._block.steps), network.width), network.dtype)

    def score(self, ids: Ids, targets: Ids, vectors: Vectors, out: Predicted, paths: Paths | None = None) -> Vectors:
        """Read ids `(rows, time)` from states `(rows, D)`; put the scores into `out` and return the new states."""
        rows, time = ids.shape
        states = self._network.split(vectors)
        wanted = np.ascontiguousarray(targets.T)
        found = Predicted(*(np.empty((time, rows), array.dtype) for array in out))

        def take(start: int, hidden: Floats) -> None:
            flat = hidden.reshape(-1, hidden.shape[2])
            places = slice(start * rows, start * rows + len(flat))
            self._score(flat, wanted.reshape(-1)[places], [array.reshape(-1)[places] for array in found])

        self._block.run(np.ascontiguousarray(ids.T), states, take, paths)
        for array, whole in zip(found, out, strict=True):
            np.copyto(whole, array.T)
        return np.concatenate([part for parts in states for part in parts], axis=1)

    def _score(self, hidden: Floats, targets: Ids, out: Sequence[NDArray[Any]]) -> None:
        for start in range(0, len(hidden), self._most):
            some = slice(start, start + self._most)
            for array, values in zip(out, scored(self._head(hidden[some]), targets[some]), strict=True):
                array[some] = values

    def _head(self, hidden: Floats) -> Floats:
        """Return logits, `(n, V)`."""
        *first, last = self._network.head or (None,)
        if isinstance(last, Dense):
            return last(through(first, hidden), out=self._logits[: len(hidden)])
        return through(self._network.head, hidden)


class NumpyScorer:
    """Scores a chain of layers: a `Scorer`."""

    kernel = "numpy"

    def __init__(self, network: Network, layout: Layout, sees: Sees) -> None:
        self._network, self._layout, self._sees = network, layout, sees
        self._blocks: dict[int, BlockScorer] = {}

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
        rows = len(ids)
        nats = np.empty(ids.shape, self._network.dtype)
        found = Predicted(nats, np.empty(ids.shape, np.float32), np.empty(ids.shape, np.int32))
        after = np.empty((rows, self._network.size), self._network.dtype)
        seen = []
        with one_blas_thread():
            for start in range(0, rows, ROWS):
                some = slice(start, min(start + ROWS, rows))
                part = ids[some]
                paths = self._paths(part.shape) if self._sees != "losses" else None
                block = self._block(len(part))
                out = Predicted(found.nats[some], found.confidence[some], found.rank[some])
                after[some] = block.score(part, targets[some], states[some], out, paths)
                if paths is not None:
                    seen.append(self._seen(states[some], paths))
        return Stepped(found, after, tuple(seen))

    def _block(self, rows: int) -> BlockScorer:
        if rows not in self._blocks:
            self._blocks[rows] = BlockScorer(self._network, rows)
        return self._blocks[rows]

    def _paths(self, shape: tuple[int, ...]) -> Paths:
        """Make room for everything that the layers do in one segment of a block."""
        made, dtype = (shape[1], shape[0]), self._network.dtype
        stages = self._network.stages
        sizes = [stage.cell.inputs for stage in stages]
        return Paths(
            states=[[np.empty((*made, cell.units), dtype) for _ in cell.slots] for cell in (s.cell for s in stages)],
            inputs=[np.empty((*made, size), dtype) for size in sizes] if self._sees == "gates" else None,
        )

    def _seen(self, before: Vectors, paths: Paths) -> SeenRows:
        """Return what the layers did, rows first."""
        first = [part for parts in self._network.split(before) for part in parts]
        after = [part for parts in paths.states for part in parts]
        trajectories = {
            key: Trajectory(states.swapaxes(0, 1), start)
            for key, states, start in zip(self._layout.states, after, first, strict=True)
        }
        inputs = {}
        if paths.inputs is not None:
            inputs = {
                layer: values.swapaxes(0, 1)
                for (layer, cells), values in zip(self._layout.cells.items(), paths.inputs, strict=True)
                if cells
            }
        return SeenRows(len(before), self._layout, trajectories, inputs)
