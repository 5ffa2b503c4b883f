"""A chain of layers as arithmetic: ids and states in, losses and new states out.

`Network` holds the weights in the order of the loops, `Block` runs some rows side by side, and `NumpyScorer` is what
`rnneval.evaluate` calls: it divides the rows of a step into blocks, and scores their logits. Inside of a block, arrays
are time first, so that the rows of one step lie side by side. Products that do not depend on a state are made for some
steps at once; those of the first recurrent layer are rows of a table.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import CheckpointError
from rnneval.models.numpy.chain import Entry, activation_name
from rnneval.models.numpy.layers import (
    FUNCTIONS,
    SLOTS,
    Dense,
    Floats,
    Matrix,
    Parts,
    RecurrentLoop,
    aligned_empty,
    normalized,
    one_blas_thread,
)
from rnneval.models.protocol import Layout, Predicted, SeenRows, Sees, Shape, Stepped, Trajectory, Vectors
from rnneval.models.scoring import score_in_place
from rnneval.processes import cores

Ids = NDArray[np.int32]
Timewise = Callable[[Floats], Floats]  # a layer that treats each token alone: `(n, inputs)` → `(n, outputs)`

_AT_ONCE = 1024
"""Tokens, rows times steps, whose products are made at once: the buffers of most models then fit into a cache."""
_STEPS = 128  # the most steps that are made at once: a second thread makes the logits of earlier steps meanwhile
_TABLE = 2**25  # the most numbers in a table of the first layer's products: 128 MB
# The most rows of a block. They depend on the model alone, so that no digit depends on how many cores there are. With
# 128 rows the product of a wide layer is a fifth faster; all numbers of a narrow one stay in the cache with 64.
_ROWS, _ROWS_IF_WIDE, _WIDE = 64, 128, 512
_LOGITS = 2**20  # the most logits that are made at once: 4 MB
_MANY = 2**19  # logits of some steps from which on a second thread pays


def through(layers: Sequence[Timewise], rows: Floats) -> Floats:
    """Apply layers one after the other."""
    for layer in layers:
        rows = layer(rows)
    return rows


@dataclass(frozen=True, kw_only=True, eq=False)
class Blueprint:
    """Everything that a network is made from, as plain data: another process can make the same."""

    layers: tuple[tuple[Entry, Mapping[str, Floats]], ...]  # without the final softmax, each with its weights by role
    scaled: int | None  # V if ids are divided by V; None for ids or one-hot rows
    dtype: Any  # the type in which it computes


class Stage(NamedTuple):
    """A recurrent layer, and the layers between it and the next."""

    cell: RecurrentLoop
    after: tuple[Timewise, ...] = ()


class Network:
    """The arithmetic of a model."""

    def __init__(self, blueprint: Blueprint) -> None:
        """Arrange the weights; a ValueError says why a chain cannot be run."""
        layers, scaled, dtype = list(blueprint.layers), blueprint.scaled, blueprint.dtype
        # What the first recurrent layer reads for each id, (ids, inputs); None for one-hot rows.
        source: Any = None if scaled is None else (np.arange(scaled, dtype=dtype) / dtype(scaled))[:, None]
        if layers[0][0].kind == "Embedding":
            source = layers.pop(0)[1]["embeddings"]
        while layers[0][0].kind not in SLOTS:
            layer = _timewise(*layers.pop(0))
            if source is None and not isinstance(layer, Dense):
                raise ValueError("one-hot rows are read by a layer that is neither recurrent nor Dense")
            if source is not None and isinstance(layer, Dense) and len(source) * layer.kernel.shape[1] > _TABLE:
                raise ValueError(f"a table of {len(source):,} ids times {layer.kernel.shape[1]:,} numbers is too large")
            source = layer(source)
        stages: list[Stage] = []
        after: list[Timewise] = []
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
        self.stages, self.source, self.dtype = stages, source, dtype
        cells = [stage.cell for stage in stages]
        self.size = sum(cell.units * len(cell.slots) for cell in cells)  # D, the count of numbers in a row's state
        head = [layer.kernel for layer in self.head if isinstance(layer, Dense)]
        self.width = int(head[-1].shape[1]) if head else cells[-1].units  # V, how many logits there are
        self.ids = self.width if source is None else len(source)  # how many ids can be read
        fits = source is None or len(source) * cells[0].gates * cells[0].units <= _TABLE
        # The input's part of the first layer's gates for each id, (gates, ids, units); None where that is too large.
        self.table = cells[0].project(source) if fits else None
        self.rows = _ROWS_IF_WIDE if max(cell.units for cell in cells) >= _WIDE else _ROWS  # the most rows of a block

    def split(self, vectors: NDArray[Any]) -> list[list[Floats]]:
        """Divide states `(rows, D)` into the parts of each layer's state, `(rows, units)` each: copies."""
        found: list[list[Floats]] = []
        start = 0
        for stage in self.stages:
            units, parts = stage.cell.units, len(stage.cell.slots)
            columns = [slice(start + k * units, start + (k + 1) * units) for k in range(parts)]
            found.append([np.array(vectors[:, column], self.dtype, order="C") for column in columns])
            start += parts * units
        return found


def _timewise(entry: Entry, weights: Mapping[str, Floats]) -> Timewise:
    """Return the function of a layer that treats each token alone."""
    get = entry.get
    if entry.kind == "Dense":
        function = FUNCTIONS[activation_name(get("activation"))]
        return Dense(kernel=Matrix(weights["kernel"]), bias=weights.get("bias"), activation=function)
    if entry.kind == "LayerNormalization":
        gamma, beta = weights.get("gamma"), weights.get("beta")
        return partial(normalized, gamma=gamma, beta=beta, epsilon=float(get("epsilon", 1e-3)))
    return FUNCTIONS["softmax" if entry.kind == "Softmax" else activation_name(get("activation"))]


class Paths(NamedTuple):
    """Places for everything that the recurrent layers do in one segment; arrays are time first."""

    states: list[list[Floats]]  # for each layer and each part of its state, `(time, rows, units)`
    inputs: list[Floats] | None  # for each layer, `(time, rows, inputs)`; None where they are not wanted


class Block:
    """The buffers in which a network runs rows side by side."""

    def __init__(self, network: Network, rows: int) -> None:
        """Make the buffers; so many rows at least can be run, and more if their number is not large."""
        self.network = network
        cells = [stage.cell for stage in network.stages]
        most = max(_AT_ONCE, rows)
        self._hidden = [aligned_empty(most * cell.units, network.dtype) for cell in cells]
        self._parts = [aligned_empty(cell.gates * most * cell.units, network.dtype) for cell in cells]
        self._work = [aligned_empty(cell.gates * most * cell.units, network.dtype) for cell in cells]

    def run(
        self, ids: Ids, states: list[list[Floats]], take: Callable[[int, Floats], None], paths: Paths | None = None
    ) -> None:
        """Run over a segment, ids `(time, rows)`, and overwrite the parts of each layer's state with those after it.

        `take` is called with the number of a step, and what the last recurrent layer gives from there on,
        `(steps, rows, units)`, which is overwritten afterwards. `paths` get what the layers do.
        """
        steps = max(1, min(_STEPS, _AT_ONCE // ids.shape[1]))
        for start in range(0, len(ids), steps):
            stop = min(start + steps, len(ids))
            take(start, self._some_steps(ids[start:stop], states, paths, slice(start, stop)))

    def _some_steps(self, ids: Ids, states: list[list[Floats]], paths: Paths | None, at: slice) -> Floats:
        (steps, rows), inputs = ids.shape, None
        for k, stage in enumerate(self.network.stages):
            cell, hidden = stage.cell, _shaped(self._hidden[k], steps, rows, stage.cell.units)
            if paths is not None and paths.inputs is not None:
                paths.inputs[k][at] = self._read(ids) if inputs is None else inputs
            memory = paths.states[k][1][at] if paths is not None and len(states[k]) > 1 else None
            work = _shaped(self._work[k], cell.gates, rows, cell.units)
            cell.run(self._parts_of(k, ids, inputs), states[k], hidden, memory, work)
            if paths is not None:
                paths.states[k][0][at] = hidden
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
            return read
        one_hot: Floats = (ids[..., None] == np.arange(self.network.width)).astype(self.network.dtype)
        return one_hot


def _shaped(buffer: Floats, *shape: int) -> Floats:
    """Return the first numbers of a buffer as an array of a shape."""
    return buffer[: math.prod(shape)].reshape(shape)


def blocks_of(rows: int, most: int) -> list[slice]:
    """Divide the rows of a step into blocks of nearly equal size.

    Example:
        >>> blocks_of(5, 2)
        [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    blocks, more = -(-rows // most), rows % max(1, -(-rows // most))
    ends = [rows // max(1, blocks) * k + min(k, more) for k in range(blocks + 1)]
    return [slice(*both) for both in pairwise(ends)]


class _BlockScoring:
    """The outputs of a block's last recurrent layer, scored as they come, by whichever thread is free."""

    def __init__(self, network: Network, targets: Ids, buffers: Sequence[Floats], helper: Executor | None) -> None:
        self._network, self._buffers, self._helper = network, buffers, helper
        self._targets = np.ascontiguousarray(targets.T).reshape(-1)
        kinds = (network.dtype, np.float32, np.int32)
        self._found = [np.empty(len(self._targets), kind) for kind in kinds]
        self._parts = deque[tuple[slice, Floats]]()
        self._helped: list[Future[None]] = []

    def take(self, start: int, hidden: Floats) -> None:
        """Score the outputs from a step on, `(steps, rows, units)`.

        Where their logits are many, the helper makes them while the states of later tokens are made.
        """
        flat, width, start = hidden.reshape(-1, hidden.shape[2]), self._network.width, start * hidden.shape[1]
        helped = self._helper is not None and len(flat) * width >= _MANY
        size = max(1, _LOGITS // width)
        if helped:  # both threads share them
            flat, size = flat.copy(), min(size, -(-len(flat) // 2))
        for at in range(0, len(flat), size):
            part = flat[at : at + size]
            self._parts.append((slice(start + at, start + at + len(part)), part))
        if self._helper is not None and helped:
            self._helped.append(self._helper.submit(self._score, self._buffers[1]))
        else:
            self._score(self._buffers[0])

    def finish(self, predicted: Predicted) -> None:
        """Score what is left, and put everything into arrays `(rows, time)`."""
        self._score(self._buffers[0])
        for future in self._helped:
            future.result()
        for array, found in zip(predicted, self._found, strict=True):
            array[...] = found.reshape(array.shape[::-1]).T

    def _score(self, buffer: Floats) -> None:
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


class NumpyScorer:
    """Scores a chain of layers: a `Scorer`. What it observes of a step is valid until the next."""

    kernel = "numpy"

    def __init__(self, network: Network, layout: Layout, *, sees: Sees, shape: Shape, parallel: bool) -> None:
        """Make the buffers for steps of a shape; if `parallel`, a second thread helps with logits where it pays."""
        self._network, self._layout, self._sees, self._segment = network, layout, sees, shape.segment
        self._block, self._paths = Block(network, network.rows), list[Paths]()
        self._logits = [aligned_empty(_LOGITS + network.width, network.dtype) for _ in range(2)]
        self._helper = ThreadPoolExecutor(1) if parallel and cores() > 1 else None

    def begin(self) -> None:
        """Begin a reading: nothing is chosen by what was read before."""

    def score(self, ids: Ids, targets: Ids, states: Vectors, width: int) -> Stepped:
        """Read ids `(rows, time)` from states `(rows, D)` and score the targets."""
        network = self._network
        if ids.size and ids.max() >= network.ids:
            raise CheckpointError(
                f"the embedding has {network.ids:,} rows, and the text has the id {ids.max():,}: the vocabulary "
                "is of another model, or the model was saved with too small an embedding"
            )
        predicted = Predicted(*(np.empty(ids.shape, kind) for kind in (network.dtype, np.float32, np.int32)))
        after, seen = np.empty(states.shape, network.dtype), []
        with one_blas_thread():
            for number, some in enumerate(blocks_of(len(ids), network.rows)):
                paths = None if self._sees == "losses" else self._paths_of(number, *ids[some].shape)
                scoring = _BlockScoring(network, targets[some], self._logits, self._helper)
                parts = network.split(states[some])
                self._block.run(np.ascontiguousarray(ids[some].T), parts, scoring.take, paths)
                scoring.finish(Predicted(predicted.nats[some], predicted.confidence[some], predicted.rank[some]))
                np.concatenate([part for own in parts for part in own], axis=1, out=after[some])
                if paths is not None:
                    seen.append(self._seen(states[some], paths))
        return Stepped(predicted, after, tuple(seen))

    def _paths_of(self, number: int, rows: int, time: int) -> Paths:
        """Return places for what the layers do in a block of a step; the next step overwrites them."""
        if len(self._paths) <= number:
            self._paths.append(Paths([], None))
        kept = self._paths[number]
        if not kept.states or len(kept.states[0][0]) < time:
            cells, room = [stage.cell for stage in self._network.stages], (max(time, self._segment), self._network.rows)
            dtype = self._network.dtype
            inputs = [np.empty((*room, cell.inputs), dtype) for cell in cells] if self._sees == "gates" else None
            kept = Paths([[np.empty((*room, cell.units), dtype) for _ in cell.slots] for cell in cells], inputs)
            self._paths[number] = kept
        states = [[part[:time, :rows] for part in parts] for parts in kept.states]
        return Paths(states, None if kept.inputs is None else [values[:time, :rows] for values in kept.inputs])

    def _seen(self, before: Vectors, paths: Paths) -> SeenRows:
        """Return what the layers did from the states before, rows first."""
        first = [part for parts in self._network.split(before) for part in parts]
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
        return SeenRows(len(before), self._layout, trajectories, inputs)
