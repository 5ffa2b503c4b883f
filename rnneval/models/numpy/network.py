"""A chain of layers as arithmetic: ids and states in, losses and new states out.

`Network` holds the weights in the order of the loops, `Block` runs some rows side by side, and `NumpyScorer` is what
`rnneval.evaluate` calls: it divides the rows of a step into blocks, and scores their logits. Inside of a block, arrays
are time first, so that the rows of one step lie side by side. Products that do not depend on a state are made for some
steps at once; those of the first recurrent layer are rows of a table.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import CheckpointError
from rnneval.models.numpy.chain import Entry, NotForNumpyError, activation_name
from rnneval.models.numpy.layers import (
    FUNCTIONS,
    SLOTS,
    Dense,
    Floats,
    Function,
    Matrix,
    Parts,
    RecurrentLoop,
    aligned_empty,
    normalized,
    one_blas_thread,
)
from rnneval.models.protocol import Layout, Predicted, Seen, Sees, Shape, Stepped, Trajectory, Vectors
from rnneval.models.scoring import score_in_place

Ids = NDArray[np.int32]
Layers = Sequence[tuple[Entry, Mapping[str, Floats]]]
"""Layers without the final softmax, each with its weights by role."""

_AT_ONCE = 1024
"""Tokens, rows times steps, whose products are made at once: the buffers of most models then fit into a cache."""
_STEPS = 128  # the most steps that are made at once
_TABLE = 2**25  # the most numbers in a table of the first layer's products: 128 MB
# The most rows of a block. They depend on the model alone, so that no digit depends on how many cores there are. With
# 128 rows the product of a wide layer is a fifth faster; all numbers of a narrow one stay in the cache with 64.
_ROWS, _ROWS_IF_WIDE, _WIDE = 64, 128, 512
_LOGITS = 2**20  # the most logits that are made at once: 4 MB


def through(layers: Sequence[Function], rows: Floats) -> Floats:
    """Apply layers that treat each token alone, one after the other: `(n, inputs)` → `(n, outputs)`."""
    for layer in layers:
        rows = layer(rows)
    return rows


class Stage(NamedTuple):
    """A recurrent layer, and the layers between it and the next."""

    cell: RecurrentLoop
    after: tuple[Function, ...] = ()


class Network:
    """The arithmetic of a model."""

    def __init__(self, chain: Layers, scaled: int | None) -> None:
        """Arrange the weights; ids are divided by `scaled`, or it is None for ids and one-hot rows."""
        layers = list(chain)
        # What the first recurrent layer reads for each id, (ids, inputs); None for one-hot rows.
        source: Floats | None = None if scaled is None else (np.arange(scaled, dtype=np.float32) / scaled)[:, None]
        if layers[0][0].kind == "Embedding":
            source = layers.pop(0)[1]["embeddings"]
        while layers[0][0].kind not in SLOTS:
            layer = _timewise(*layers.pop(0))
            if source is None and not isinstance(layer, Dense):
                raise NotForNumpyError("one-hot rows are read by a layer that is neither recurrent nor Dense")
            if source is not None and isinstance(layer, Dense) and len(source) * layer.kernel.shape[1] > _TABLE:
                raise NotForNumpyError(
                    f"a table of {len(source):,} ids times {layer.kernel.shape[1]:,} numbers is too large"
                )
            source = layer(source)  # type: ignore[arg-type]  # a Dense layer takes None for all one-hot rows
        stages: list[Stage] = []
        after: list[Function] = []
        for entry, held in reversed(layers):
            if entry.kind in SLOTS:
                cell = RecurrentLoop(
                    entry.kind,
                    held,
                    activation=activation_name(entry.get("activation", "tanh")),
                    gate=activation_name(entry.get("recurrent_activation", "sigmoid")),
                    reset_after=bool(entry.get("reset_after", True)),
                )
                stages.insert(0, Stage(cell, tuple(after)))
                after = []
            else:
                after.insert(0, _timewise(entry, held))
        self.head, stages[-1] = stages[-1].after, Stage(stages[-1].cell)  # the layers after the last recurrent one
        self.stages, self.source = stages, source
        cells = [stage.cell for stage in stages]
        self.size = sum(cell.units * len(cell.slots) for cell in cells)  # D, the count of numbers in a row's state
        head = [layer.kernel for layer in self.head if isinstance(layer, Dense)]
        self.width = int(head[-1].shape[1]) if head else cells[-1].units  # V, how many logits there are
        self.ids = self.width if source is None else len(source)  # how many ids can be read
        fits = source is None or len(source) * cells[0].gates * cells[0].units <= _TABLE
        # The input's part of the first layer's gates for each id, (gates, ids, units); None where that is too large.
        self.table = cells[0].project(source) if fits else None
        self.rows = _ROWS_IF_WIDE if max(cell.units for cell in cells) >= _WIDE else _ROWS  # the most rows of a block

    def split(self, vectors: NDArray[np.floating]) -> list[list[Floats]]:
        """Divide states `(rows, D)` into the parts of each layer's state, `(rows, units)` each: copies."""
        ends = np.cumsum([stage.cell.units for stage in self.stages for _ in stage.cell.slots])
        parts = iter(np.split(vectors, ends[:-1], axis=1))
        return [[np.array(next(parts), np.float32, order="C") for _ in stage.cell.slots] for stage in self.stages]


def _timewise(entry: Entry, weights: Mapping[str, Floats]) -> Function:
    """Return the function of a layer that treats each token alone."""
    if entry.kind == "Dense":
        function = FUNCTIONS[activation_name(entry.get("activation"))]
        return Dense(kernel=Matrix(weights["kernel"]), bias=weights.get("bias"), activation=function)
    if entry.kind == "LayerNormalization":
        gamma, beta = weights.get("gamma"), weights.get("beta")
        return partial(normalized, gamma=gamma, beta=beta, epsilon=float(entry.get("epsilon", 1e-3)))
    return FUNCTIONS["softmax" if entry.kind == "Softmax" else activation_name(entry.get("activation"))]


class Paths(NamedTuple):
    """Places for everything that the recurrent layers do in one step; arrays are time first."""

    states: list[list[Floats]]  # for each layer and each part of its state, `(time, rows, units)`
    inputs: list[Floats]  # for each layer, `(time, rows, inputs)`; empty where they are not wanted

    def part(self, time: slice, rows: slice) -> "Paths":
        """Return the places of some tokens and rows."""
        states = [[each[time, rows] for each in parts] for parts in self.states]
        return Paths(states, [each[time, rows] for each in self.inputs])


class Block:
    """The buffers in which a network runs rows side by side."""

    def __init__(self, network: Network, rows: int) -> None:
        """Make the buffers; so many rows at least can be run, and more if their number is not large."""
        self.network = network
        cells, most = [stage.cell for stage in network.stages], max(_AT_ONCE, rows)
        self._hidden = [aligned_empty(most * cell.units) for cell in cells]
        self._parts = [aligned_empty(cell.gates * most * cell.units) for cell in cells]
        self._work = [aligned_empty(cell.gates * most * cell.units) for cell in cells]

    def run(
        self, ids: Ids, states: list[list[Floats]], take: Callable[[int, Floats], None], paths: Paths | None = None
    ) -> None:
        """Run over a segment, ids `(time, rows)`, and overwrite the parts of each layer's state with those after it.

        `take` is called with the number of a step, and what the last recurrent layer gives from there on,
        `(steps, rows, units)`, which is overwritten afterwards. `paths` get what the layers do.
        """
        steps = max(1, min(_STEPS, _AT_ONCE // ids.shape[1]))
        for start in range(0, len(ids), steps):
            some = slice(start, start + steps)
            take(start, self._some_steps(ids[some], states, paths and paths.part(some, slice(None))))

    def _some_steps(self, ids: Ids, states: list[list[Floats]], paths: Paths | None) -> Floats:
        (steps, rows), inputs = ids.shape, None
        for k, stage in enumerate(self.network.stages):
            cell, hidden = stage.cell, _shaped(self._hidden[k], steps, rows, stage.cell.units)
            if paths is not None and paths.inputs:
                paths.inputs[k][...] = self._read(ids) if inputs is None else inputs
            memory = paths.states[k][1] if paths is not None and len(states[k]) > 1 else None
            work = _shaped(self._work[k], cell.gates, rows, cell.units)
            cell.run(self._parts_of(k, ids, inputs), states[k], hidden, memory, work)
            if paths is not None:
                paths.states[k][0][...] = hidden
            flat = through(stage.after, hidden.reshape(steps * rows, cell.units))
            inputs = flat.reshape(steps, rows, -1)
        assert inputs is not None  # noqa: S101 - there is a recurrent layer
        return inputs

    def _parts_of(self, k: int, ids: Ids, inputs: Floats | None) -> Parts:
        """Return a function of the step that returns the input's part of the gates of layer k; the first reads ids."""
        rows, cell, table = ids.shape[1], self.network.stages[k].cell, self.network.table
        if inputs is None and table is not None:
            found = _shaped(self._parts[0], len(table), rows, table.shape[2])
            # Ids are known to be in the table; mode="raise" would make a copy.
            return lambda step: np.take(table, ids[step], axis=1, out=found, mode="clip")
        flat = (self._read(ids) if inputs is None else inputs).reshape(ids.size, cell.inputs)
        parts = cell.project(flat, _shaped(self._parts[k], cell.gates, len(flat), cell.units))
        return lambda step: parts[:, step * rows : (step + 1) * rows]

    def _read(self, ids: Ids) -> Floats:
        """Return what the first recurrent layer reads, `(steps, rows, inputs)`."""
        if self.network.source is not None:
            read: Floats = self.network.source[ids]
        else:
            read = (ids[..., None] == np.arange(self.network.width)).astype(np.float32)
        return read


def _shaped(buffer: Floats, *shape: int) -> Floats:
    """Return the first numbers of a buffer as an array of a shape."""
    return buffer[: math.prod(shape)].reshape(shape)


def blocks_of(rows: int, most: int) -> list[slice]:
    """Divide the rows of a step into blocks of nearly equal size: 5 rows, at most 2 each, into 2, 2 and 1."""
    blocks, more = -(-rows // most), rows % max(1, -(-rows // most))
    ends = [rows // max(1, blocks) * k + min(k, more) for k in range(blocks + 1)]
    return [slice(*both) for both in pairwise(ends)]


class NumpyScorer:
    """Scores a chain of layers: a `Scorer`. What it observes of a step is valid until the next."""

    def __init__(self, network: Network, layout: Layout, *, sees: Sees, shape: Shape) -> None:
        """Make the buffers for steps of a shape."""
        self._network, self._layout = network, layout
        self._block = Block(network, network.rows)
        self._logits = aligned_empty(_LOGITS + network.width)
        self._paths: Paths | None = None
        if sees != "losses":
            cells, room = [stage.cell for stage in network.stages], (shape.segment, shape.rows)
            self._paths = Paths(
                [[np.empty((*room, cell.units), np.float32) for _ in cell.slots] for cell in cells],
                [np.empty((*room, cell.inputs), np.float32) for cell in cells] if sees == "gates" else [],
            )

    def score(self, ids: Ids, targets: Ids, states: Vectors, width: int) -> Stepped:
        """Read ids `(rows, time)` from states `(rows, D)` and score the targets."""
        network = self._network
        if ids.size and ids.max() >= network.ids:
            raise CheckpointError(
                f"the embedding has {network.ids:,} rows, and the text has the id {ids.max():,}: the vocabulary "
                "is of another model, or the model was saved with too small an embedding"
            )
        rows, time = ids.shape
        predicted: list[Any] = [np.empty((rows, time), kind) for kind in (np.float32, np.float32, np.int32)]
        after, before = np.empty(states.shape, np.float32), network.split(states)
        paths = self._paths and self._paths.part(slice(time), slice(rows))
        with one_blas_thread():
            for some in blocks_of(rows, network.rows):
                parts = [[part[some].copy() for part in own] for own in before]
                # Time comes first in what is scored, as in a block: `(time · rows,)`.
                wanted = np.ascontiguousarray(targets[some].T).reshape(-1)
                found: list[NDArray[Any]] = [np.empty(len(wanted), array.dtype) for array in predicted]
                own_paths = paths and paths.part(slice(None), some)
                take = partial(self._score, wanted, found)
                self._block.run(np.ascontiguousarray(ids[some].T), parts, take, own_paths)
                for array, values in zip(predicted, found, strict=True):
                    array[some] = values.reshape(time, -1).T
                np.concatenate([part for own in parts for part in own], axis=1, out=after[some])
        return Stepped(Predicted(*predicted), after, None if paths is None else self._seen(before, paths))

    def _score(self, targets: Ids, found: list[NDArray[Any]], start: int, hidden: Floats) -> None:
        """Score the outputs of a block from a step on, `(steps, rows, units)`, as many at once as the buffer holds."""
        _, rows, units = hidden.shape
        flat, size = hidden.reshape(-1, units), max(1, _LOGITS // self._network.width)
        for at in range(0, len(flat), size):
            part = flat[at : at + size]
            some = slice(start * rows + at, start * rows + at + len(part))
            for whole, values in zip(found, score_in_place(self._logits_of(part), targets[some]), strict=True):
                whole[some] = values

    def _logits_of(self, hidden: Floats) -> Floats:
        """Return the logits of outputs `(n, units)`; a Dense layer at the end puts them into the buffer."""
        *first, last = self._network.head or (None,)
        if isinstance(last, Dense):
            return last(through(first, hidden), out=_shaped(self._logits, len(hidden), self._network.width))
        return through(self._network.head, hidden)

    def _seen(self, before: list[list[Floats]], paths: Paths) -> Seen:
        """Return what the layers did from the states before, rows first."""
        first, after = ([part for parts in each for part in parts] for each in (before, paths.states))
        trajectories = {
            key: Trajectory(states.swapaxes(0, 1), start)
            for key, states, start in zip(self._layout.states, after, first, strict=True)
        }
        inputs = {
            layer: values.swapaxes(0, 1)
            for (layer, cells), values in zip(self._layout.cells.items(), paths.inputs, strict=True)
            if cells
        }
        return Seen(self._layout, trajectories, inputs)
