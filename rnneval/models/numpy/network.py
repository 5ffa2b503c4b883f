"""A chain of layers as arithmetic: ids and states in, losses and new states out.

`Network` holds the weights in the order of the loops, `ForwardPass` runs some rows side by side, and `NumpyScorer` is
what `rnneval.evaluate` calls: it divides the rows of a step into blocks, and scores their logits. Inside of a block,
arrays are time first, so that the rows of one step lie side by side. Products that do not depend on a state are made
for some steps at once; those of the first recurrent layer are rows of a table.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnneval.arrays import Floats
from rnneval.errors import CheckpointError
from rnneval.models.numpy.chain import SLOTS, Entry, NotForNumpyError, RowFunction
from rnneval.models.numpy.loops import GateInputs, RecurrentLoop
from rnneval.models.numpy.products import aligned_empty, one_blas_thread
from rnneval.models.numpy.timewise import Dense, through, timewise
from rnneval.models.protocol import Layout, Predicted, Sees, Shape, Stepped, Trajectories, Trajectory, Vectors
from rnneval.models.scoring import score_in_place

Ids = NDArray[np.int32]
Layers = Sequence[tuple[Entry, Mapping[str, Floats]]]  # layers without the final softmax, each with its weights by role

_AT_ONCE = 1024
"""Tokens, rows times steps, whose products are made at once: the buffers of most models then fit into a cache."""
_STEPS = 128  # the most steps that are made at once
_TABLE = 2**25  # the most numbers in a table of the first layer's products: 128 MB
# The most rows of a block. They depend on the model alone, so that no digit depends on how many cores there are. With
# 128 rows the product of a wide layer is a fifth faster; all numbers of a narrow one stay in the cache with 64.
_ROWS, _ROWS_IF_WIDE, _WIDE = 64, 128, 512
_LOGITS = 2**20  # the most logits that are made at once: 4 MB


class Network:
    """The arithmetic of a model."""

    def __init__(self, layers: Layers, scaled: int | None) -> None:
        """Arrange the weights; ids are divided by `scaled`, or it is None for ids and one-hot rows."""
        layers = list(layers)
        # What the first recurrent layer reads for each id, (ids, inputs); None for one-hot rows.
        source: Floats | None = None if scaled is None else (np.arange(scaled, dtype=np.float32) / scaled)[:, None]
        if layers[0][0].kind == "Embedding":
            source = layers.pop(0)[1]["embeddings"]
        while layers[0][0].kind not in SLOTS:
            layer = timewise(*layers.pop(0))
            if source is None and not isinstance(layer, Dense):
                raise NotForNumpyError("one-hot rows are read by a layer that is neither recurrent nor Dense")
            if source is not None and isinstance(layer, Dense) and len(source) * layer.kernel.shape[1] > _TABLE:
                raise NotForNumpyError(
                    f"a table of {len(source):,} ids times {layer.kernel.shape[1]:,} numbers is too large"
                )
            source = layer(source)  # type: ignore[arg-type]  # a Dense layer takes None for all one-hot rows
        cells: list[RecurrentLoop] = []
        self.between: list[list[RowFunction]] = []  # the layers between each recurrent layer and the next
        for entry, weights in layers:
            if entry.kind in SLOTS:
                cells.append(RecurrentLoop(entry, weights))
                self.between.append([])
            else:
                self.between[-1].append(timewise(entry, weights))
        self.head, self.between[-1] = self.between[-1], []  # the layers after the last recurrent one
        self.cells, self.source = cells, source
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
        ends = np.cumsum([cell.units for cell in self.cells for _ in cell.slots])
        parts = iter(np.split(vectors, ends[:-1], axis=1))
        return [[np.array(next(parts), np.float32, order="C") for _ in cell.slots] for cell in self.cells]


class Traces(NamedTuple):
    """Places for everything that the recurrent layers do in one step; arrays are time first."""

    states: list[list[Floats]]  # for each layer and each part of its state, `(time, rows, units)`
    inputs: list[Floats]  # for each layer, `(time, rows, inputs)`; empty where they are not wanted

    def part(self, time: slice, rows: slice) -> "Traces":
        """Return the places of some tokens and rows."""
        states = [[each[time, rows] for each in parts] for parts in self.states]
        return Traces(states, [each[time, rows] for each in self.inputs])


class ForwardPass:
    """A run of a network over rows side by side, in buffers of its own."""

    def __init__(self, network: Network, rows: int) -> None:
        """Make buffers for so many rows, and for the table of many ids at once."""
        self.network = network
        cells, most = network.cells, max(_AT_ONCE, rows)
        self._hidden = [aligned_empty(most * cell.units) for cell in cells]
        self._parts = [aligned_empty(cell.gates * most * cell.units) for cell in cells]
        self._work = [aligned_empty(cell.gates * most * cell.units) for cell in cells]

    def run(
        self, ids: Ids, states: list[list[Floats]], take: Callable[[int, Floats], None], paths: Traces | None = None
    ) -> None:
        """Run over a segment, ids `(time, rows)`, and overwrite the parts of each layer's state with those after it.

        `take` is called with the number of a step, and what the last recurrent layer gives from there on,
        `(steps, rows, units)`, which is overwritten afterwards. `paths` get what the layers do.
        """
        steps = max(1, min(_STEPS, _AT_ONCE // ids.shape[1]))
        for start in range(0, len(ids), steps):
            some = slice(start, start + steps)
            take(start, self._some_steps(ids[some], states, paths and paths.part(some, slice(None))))

    def _some_steps(self, ids: Ids, states: list[list[Floats]], paths: Traces | None) -> Floats:
        (steps, rows), inputs = ids.shape, None
        for k, cell in enumerate(self.network.cells):
            hidden = _shaped(self._hidden[k], steps, rows, cell.units)
            if paths is not None and paths.inputs:
                paths.inputs[k][...] = self._read(ids) if inputs is None else inputs
            memory = paths.states[k][1] if paths is not None and len(states[k]) > 1 else None
            work = _shaped(self._work[k], cell.gates, rows, cell.units)
            cell.run(self._parts_of(k, ids, inputs), states[k], hidden, memory, work)
            if paths is not None:
                paths.states[k][0][...] = hidden
            flat = through(self.network.between[k], hidden.reshape(steps * rows, cell.units))
            inputs = flat.reshape(steps, rows, -1)
        assert inputs is not None  # noqa: S101 - there is a recurrent layer
        return inputs

    def _parts_of(self, k: int, ids: Ids, inputs: Floats | None) -> GateInputs:
        """Return a function of the step that returns the input's part of the gates of layer k; the first reads ids."""
        rows, cell, table = ids.shape[1], self.network.cells[k], self.network.table
        if inputs is None and table is not None:
            part = _shaped(self._parts[0], len(table), rows, table.shape[2])
            # Ids are known to be in the table; mode="raise" would make a copy.
            return lambda step: np.take(table, ids[step], axis=1, out=part, mode="clip")
        flat = (self._read(ids) if inputs is None else inputs).reshape(ids.size, cell.inputs)
        parts = cell.project(flat, _shaped(self._parts[k], cell.gates, len(flat), cell.units))
        return lambda step: parts[:, step * rows : (step + 1) * rows]

    def _read(self, ids: Ids) -> Floats:
        """Return what the first recurrent layer reads, `(steps, rows, inputs)`."""
        source, width = self.network.source, self.network.width
        read: Floats = source[ids] if source is not None else (ids[..., None] == np.arange(width)).astype(np.float32)
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
        self._forward = ForwardPass(network, network.rows)
        self._logits = aligned_empty(_LOGITS + network.width)
        self._paths: Traces | None = None
        if sees != "losses":
            cells, room = network.cells, (shape.segment, shape.rows)
            self._paths = Traces(
                [[np.empty((*room, cell.units), np.float32) for _ in cell.slots] for cell in cells],
                [np.empty((*room, cell.inputs), np.float32) for cell in cells] if sees == "gates" else [],
            )

    def score(self, ids: Ids, targets: Ids, states: Vectors, width: int) -> Stepped:
        """Read ids `(rows, time)` from states `(rows, D)` and score the targets."""
        network = self._network
        if ids.size and not 0 <= ids.min() <= ids.max() < network.ids:
            wrong = ids.min() if ids.min() < 0 else ids.max()
            seen = f"the embedding has {network.ids:,} rows, and the text has the id {wrong:,}"
            raise CheckpointError(f"{seen}: the vocabulary is of another model, or the embedding is too small")
        rows, time = ids.shape
        predicted: list[Any] = [np.empty((rows, time), kind) for kind in (np.float32, np.float32, np.int32)]
        after, before = np.empty(states.shape, np.float32), network.split(states)
        paths = self._paths and self._paths.part(slice(time), slice(rows))
        with one_blas_thread():
            for some in blocks_of(rows, network.rows):
                parts = [[part[some].copy() for part in layer] for layer in before]
                # Time comes first in what is scored, as in a block: `(time · rows,)`.
                wanted = np.ascontiguousarray(targets[some].T).reshape(-1)
                block: list[NDArray[Any]] = [np.empty(len(wanted), array.dtype) for array in predicted]
                block_paths = paths and paths.part(slice(None), some)
                take = partial(self._score, wanted, block)
                self._forward.run(np.ascontiguousarray(ids[some].T), parts, take, block_paths)
                for array, values in zip(predicted, block, strict=True):
                    array[some] = values.reshape(time, -1).T
                np.concatenate([*chain(*parts)], axis=1, out=after[some])
        return Stepped(Predicted(*predicted), after, None if paths is None else self._observed(before, paths))

    def _score(self, targets: Ids, scores: list[NDArray[Any]], start: int, hidden: Floats) -> None:
        """Fill `scores` with those of the outputs from a step on, `(steps, rows, units)`, as many at once as fit."""
        _, rows, units = hidden.shape
        head, width = self._network.head, self._network.width
        flat, size = hidden.reshape(-1, units), max(1, _LOGITS // width)
        for at in range(0, len(flat), size):
            part = flat[at : at + size]
            some = slice(start * rows + at, start * rows + at + len(part))
            if head and isinstance(head[-1], Dense):
                logits = head[-1](through(head[:-1], part), out=_shaped(self._logits, len(part), width))
            else:
                logits = through(head, part)
            for whole, values in zip(scores, score_in_place(logits, targets[some]), strict=True):
                whole[some] = values

    def _observed(self, before: list[list[Floats]], paths: Traces) -> Trajectories:
        """Return what the layers did from the states before, rows first."""
        parts = zip(self._layout.states, chain(*paths.states), chain(*before), strict=True)
        trajectories = {key: Trajectory(states.swapaxes(0, 1), start) for key, states, start in parts}
        layers = zip(self._layout.cells.items(), paths.inputs, strict=True)
        inputs = {layer: values.swapaxes(0, 1) for (layer, cells), values in layers if cells}
        return Trajectories(self._layout, trajectories, inputs)
