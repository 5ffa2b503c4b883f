"""A chain of layers as arithmetic: ids and states in, logits and new states out, for a block of rows.

Arrays are time first, so that the rows of one step lie side by side. Products that do not depend on a state are made
for some steps at once; those of the first recurrent layer are rows of a table.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.backends.numpy.activations import FUNCTIONS, Floats, Function, elu, linear, relu
from rnneval.backends.numpy.cells import Cell, Computed, LookedUp, cell_of
from rnneval.backends.numpy.chain import SLOTS, Entry, activation_name
from rnneval.backends.numpy.products import Matrix, aligned_empty

_AT_ONCE = 1024
"""Tokens, rows times steps, whose products are made at once: the buffers of most models then fit into a cache."""
_STEPS = 128
"""The most steps that are made at once: a second thread makes the logits of earlier steps meanwhile."""
_TABLE = 2**25
"""The most numbers in a table of the first layer's products: 128 MB."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Dense:
    """A Dense layer."""

    kernel: Matrix
    bias: Floats | None
    activation: Function = linear

    def __call__(self, rows: Floats | None, out: Floats | None = None) -> Floats:
        """Return act(rows · kernel + bias), `(n, units)`; rows None stands for one-hot rows of every id."""
        product = self.kernel.times(rows, out)
        if self.bias is not None:
            product += self.bias
        return self.activation(product)


@dataclass(frozen=True, kw_only=True, eq=False)
class Normalization:
    """A LayerNormalization layer (Ba et al. 2016, equation 4)."""

    gamma: Floats | None
    beta: Floats | None
    epsilon: float

    def __call__(self, rows: Floats) -> Floats:
        """Return γ (x − μ) / √(σ² + ε) + β, with mean and variance of each row, `(n, units)`."""
        centred: Floats = rows - rows.mean(axis=1, keepdims=True)
        variance = np.square(centred).mean(axis=1, keepdims=True)
        centred /= np.sqrt(variance + rows.dtype.type(self.epsilon))
        if self.gamma is not None:
            centred *= self.gamma
        if self.beta is not None:
            centred += self.beta
        return centred


Timewise = Callable[[Floats], Floats]
"""A layer that treats each token alone: `(n, inputs)` → `(n, outputs)`."""


def through(layers: Sequence[Timewise], rows: Floats) -> Floats:
    """Apply layers one after the other."""
    for layer in layers:
        rows = layer(rows)
    return rows


@dataclass(frozen=True, kw_only=True, eq=False)
class Stage:
    """A recurrent layer, and the layers between it and the next."""

    cell: Cell
    after: tuple[Timewise, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """The arithmetic of a model."""

    source: Floats | None
    """What the first recurrent layer reads for each id, `(ids, inputs)`; None for one-hot rows."""
    table: Floats | None
    """The input's part of its gates for each id, `(gates, ids, units)`; None where that would be too large."""
    stages: tuple[Stage, ...]
    head: tuple[Timewise, ...]
    """The layers after the last recurrent one."""
    width: int
    """V, how many logits there are."""

    @property
    def ids(self) -> int:
        """Count of ids that can be read."""
        return self.width if self.source is None else len(self.source)

    @property
    def dtype(self) -> Any:
        """The type of all arrays."""
        return self.stages[0].cell.kernel.whole.dtype

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

    @property
    def numbers(self) -> int:
        """Count of the numbers that a token is multiplied with."""
        looked_up = self.table is not None
        cells = [stage.cell for stage in self.stages]
        kernels = sum(cell.kernel.whole.size for k, cell in enumerate(cells) if k or not looked_up)
        head = sum(layer.kernel.whole.size for layer in self.head if isinstance(layer, Dense))
        return kernels + sum(cell.gates * cell.units**2 for cell in cells) + head

    @property
    def size(self) -> int:
        """D, the count of numbers in the state of one row."""
        return sum(stage.cell.units * len(stage.cell.slots) for stage in self.stages)


@dataclass(frozen=True, kw_only=True, eq=False)
class Recipe:
    """Everything that a network is made from, as plain data: another process can make the same."""

    entries: tuple[Entry, ...]
    """The layers; the final softmax is left out already."""
    weights: tuple[Mapping[str, Floats], ...]
    """The weights of each layer."""
    scaled: int | None
    """V if ids are divided by V; None for ids or one-hot rows."""
    dtype: Any
    """The type in which it computes."""

    def network(self) -> Network:
        """Make the network.

        Raises:
            ValueError: one-hot rows are read by a layer that is neither recurrent nor Dense, or the layers before
                the first recurrent one give too many numbers to be looked up.
        """
        layers, scaled, dtype = list(zip(self.entries, self.weights, strict=True)), self.scaled, self.dtype
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
                stages.insert(0, Stage(cell=_cell(entry, held), after=tuple(after)))
                after = []
            else:
                after.insert(0, _timewise(entry, held))
        head, stages[-1] = stages[-1].after, Stage(cell=stages[-1].cell)
        first = stages[0].cell
        fits = source is None or len(source) * first.gates * first.units <= _TABLE
        sizes = [layer.kernel.shape[1] for layer in head if isinstance(layer, Dense)]
        return Network(
            source=source,
            table=first.project(source) if fits else None,
            stages=tuple(stages),
            head=head,
            width=int(sizes[-1]) if sizes else stages[-1].cell.units,
        )


def _cell(entry: Entry, weights: Mapping[str, Floats]) -> Cell:
    return cell_of(
        entry.kind,
        weights,
        activation=activation_name(entry.get("activation", "tanh")),
        gate=activation_name(entry.get("recurrent_activation", "sigmoid")),
        reset_after=bool(entry.get("reset_after", True)),
    )


def _timewise(entry: Entry, weights: Mapping[str, Floats]) -> Timewise:
    """Return the function of a layer that treats each token alone."""
    get = entry.get
    if entry.kind == "Dense":
        function = FUNCTIONS[activation_name(get("activation"))]
        return Dense(kernel=Matrix(weights["kernel"]), bias=weights.get("bias"), activation=function)
    if entry.kind == "LayerNormalization":
        return Normalization(gamma=weights.get("gamma"), beta=weights.get("beta"), epsilon=float(get("epsilon", 1e-3)))
    if entry.kind == "ReLU":
        slope, most, least = get("negative_slope") or 0.0, get("max_value"), get("threshold") or 0.0
        return partial(relu, negative_slope=slope, max_value=most, threshold=least)
    if entry.kind == "LeakyReLU":
        return partial(relu, negative_slope=get("negative_slope", 0.3))
    if entry.kind == "ELU":
        return partial(elu, alpha=get("alpha", 1.0))
    return FUNCTIONS["softmax" if entry.kind == "Softmax" else activation_name(get("activation"))]


def _shaped(buffer: Floats, *shape: int) -> Floats:
    """Return the first numbers of a buffer as an array of a shape."""
    return buffer[: math.prod(shape)].reshape(shape)


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Places for everything that the recurrent layers do in one segment; arrays are time first."""

    states: list[list[Floats]]
    """For each layer and each part of its state, `(time, rows, units)`."""
    inputs: list[Floats] | None = None
    """For each layer, `(time, rows, inputs)`; None where they are not wanted."""


class Block:
    """The buffers in which a network runs rows side by side."""

    def __init__(self, network: Network, rows: int = 1) -> None:
        """Make the buffers; so many rows at least can be run, and more if their number is not large."""
        self.network = network
        cells = [stage.cell for stage in network.stages]
        most = max(_AT_ONCE, rows)
        self._hidden = [aligned_empty(most * cell.units, network.dtype) for cell in cells]
        self._parts = [aligned_empty(cell.gates * most * cell.units, network.dtype) for cell in cells]
        self._work = [aligned_empty(cell.gates * most * cell.units, network.dtype) for cell in cells]

    def run(
        self,
        ids: NDArray[np.int32],
        states: list[list[Floats]],
        take: Callable[[int, Floats], None],
        paths: Paths | None = None,
    ) -> None:
        """Run over a segment.

        Args:
            ids: `(time, rows)`.
            states: The parts of each layer's state; overwritten with those after the segment.
            take: Is called with the number of a step, and what the last recurrent layer gives from there on for some
                steps, `(steps, rows, units)`, which is overwritten afterwards.
            paths: Places for what the layers do.
        """
        steps = max(1, min(_STEPS, _AT_ONCE // ids.shape[1]))
        for start in range(0, len(ids), steps):
            stop = min(start + steps, len(ids))
            take(start, self._some_steps(ids[start:stop], states, paths, slice(start, stop)))

    def _some_steps(self, ids: NDArray[np.int32], states: list[list[Floats]], paths: Paths | None, at: slice) -> Floats:
        (steps, rows), inputs = ids.shape, None
        for k, stage in enumerate(self.network.stages):
            cell, hidden = stage.cell, _shaped(self._hidden[k], steps, rows, stage.cell.units)
            if paths is not None and paths.inputs is not None:
                paths.inputs[k][at] = self._read(ids) if inputs is None else inputs
            parts = self._parts_of(k, inputs) if inputs is not None else self._first_parts(ids)
            memory = paths.states[k][1][at] if paths is not None and len(states[k]) > 1 else None
            cell.run(parts, states[k], hidden, memory, _shaped(self._work[k], cell.gates, rows, cell.units))
            if paths is not None:
                paths.states[k][0][at] = hidden
            flat = through(stage.after, hidden.reshape(steps * rows, cell.units))
            inputs = flat.reshape(steps, rows, -1)
        assert inputs is not None  # noqa: S101 - there is a recurrent layer
        return inputs

    def _first_parts(self, ids: NDArray[np.int32]) -> LookedUp | Computed:
        table = self.network.table
        if table is None:
            return self._parts_of(0, self._read(ids))
        return LookedUp(table=table, ids=ids, found=_shaped(self._parts[0], len(table), ids.shape[1], table.shape[2]))

    def _parts_of(self, k: int, inputs: Floats) -> Computed:
        """Make the input's part of the gates of layer k for some steps."""
        cell, flat = self.network.stages[k].cell, inputs.reshape(-1, inputs.shape[2])
        parts = cell.project(flat, _shaped(self._parts[k], cell.gates, len(flat), cell.units))
        return Computed(parts=parts, rows=inputs.shape[1])

    def _read(self, ids: NDArray[np.int32]) -> Floats:
        """Return what the first recurrent layer reads, `(steps, rows, inputs)`."""
        if self.network.source is not None:
            read: Floats = self.network.source[ids]
            return read
        one_hot: Floats = (ids[..., None] == np.arange(self.network.width)).astype(self.network.dtype)
        return one_hot
