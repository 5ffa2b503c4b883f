"""A chain of layers as arithmetic: ids and states in, logits and new states out, for a block of rows.

Arrays are time first, so that the rows of one step lie side by side. Products that do not depend on a state are made
for some steps at once; those of the first recurrent layer are rows of a table.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnneval.models.numpy.chain import Entry, activation_name
from rnneval.models.numpy.layers import (
    FUNCTIONS,
    SLOTS,
    Cell,
    Dense,
    Floats,
    Matrix,
    Parts,
    aligned_empty,
    elu,
    normalized,
    relu,
)

Ids = NDArray[np.int32]
Timewise = Callable[[Floats], Floats]  # a layer that treats each token alone: `(n, inputs)` → `(n, outputs)`

_AT_ONCE = 1024
"""Tokens, rows times steps, whose products are made at once: the buffers of most models then fit into a cache."""
_STEPS = 128  # the most steps that are made at once: a second thread makes the logits of earlier steps meanwhile
_TABLE = 2**25  # the most numbers in a table of the first layer's products: 128 MB


def through(layers: Sequence[Timewise], rows: Floats) -> Floats:
    """Apply layers one after the other."""
    for layer in layers:
        rows = layer(rows)
    return rows


@dataclass(frozen=True, kw_only=True, eq=False)
class Recipe:
    """Everything that a network is made from, as plain data: another process can make the same."""

    entries: tuple[Entry, ...]  # the layers; the final softmax is left out already
    weights: tuple[Mapping[str, Floats], ...]  # the weights of each layer
    scaled: int | None  # V if ids are divided by V; None for ids or one-hot rows
    dtype: Any  # the type in which it computes


class Stage(NamedTuple):
    """A recurrent layer, and the layers between it and the next."""

    cell: Cell
    after: tuple[Timewise, ...] = ()


class Network:
    """The arithmetic of a model."""

    def __init__(self, recipe: Recipe) -> None:
        layers, scaled, dtype = list(zip(recipe.entries, recipe.weights, strict=True)), recipe.scaled, recipe.dtype
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
                cell = Cell(
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
        kernels = [*(cell.kernel for cell in (cells[1:] if fits else cells)), *head]
        # Count of the numbers that a token is multiplied with.
        self.numbers = sum(kernel.whole.size for kernel in kernels) + sum(cell.gates * cell.units**2 for cell in cells)

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
    if entry.kind == "ReLU":
        slope, most, least = get("negative_slope") or 0.0, get("max_value"), get("threshold") or 0.0
        return partial(relu, negative_slope=slope, max_value=most, threshold=least)
    if entry.kind == "LeakyReLU":
        return partial(relu, negative_slope=get("negative_slope", 0.3))
    if entry.kind == "ELU":
        return partial(elu, alpha=get("alpha", 1.0))
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
