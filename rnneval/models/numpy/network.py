"""A chain of layers as arithmetic: ids and states in, losses and new states out.

`Network` holds the weights in the order of the loops, `Block` runs some rows side by side, and `NumpyScorer` is what
`rnneval.evaluate` calls: it divides the rows of a step into blocks, and scores their logits. Inside of a block, arrays
are time first, so that the rows of one step lie side by side. Products that do not depend on a state are made for some
steps at once; those of the first recurrent layer are rows of a table.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnneval.arrays import Floats
from rnneval.errors import CheckpointError
from rnneval.models.numpy.chain import (
    FUNCTIONS,
    GATES,
    SLOTS,
    Entry,
    Function,
    NotForNumpyError,
    activation_name,
)
from rnneval.models.protocol import Layout, Predicted, Seen, Sees, Shape, Stepped, Trajectory, Vectors
from rnneval.models.scoring import score_in_place
from rnneval.processes import blas

Ids = NDArray[np.int32]
Layers = Sequence[tuple[Entry, Mapping[str, Floats]]]  # layers without the final softmax, each with its weights by role

InPlace = Callable[[Floats], object]  # function that overwrites its argument with its result
Parts = Callable[[int], Floats]
"""Function that returns the input's part of every gate of a step, `(gates, rows, units)`, valid until the next."""

_AT_ONCE = 1024
"""Tokens, rows times steps, whose products are made at once: the buffers of most models then fit into a cache."""
_STEPS = 128  # the most steps that are made at once
_TABLE = 2**25  # the most numbers in a table of the first layer's products: 128 MB
# The most rows of a block. They depend on the model alone, so that no digit depends on how many cores there are. With
# 128 rows the product of a wide layer is a fifth faster; all numbers of a narrow one stay in the cache with 64.
_ROWS, _ROWS_IF_WIDE, _WIDE = 64, 128, 512
_LOGITS = 2**20  # the most logits that are made at once: 4 MB


# Products of rows with weights, in one thread of linear algebra and in pieces of a size that it is fast with.
# OpenBLAS copies the factors of a product into an order of its own first. With AVX-512 it multiplies small ones where
# they lie: a quarter less time for layers of 128 to 256 units if they begin at a cache line (docs/evidence/speed.md).
_LINE = 64  # bytes of a cache line, and of an AVX-512 register
_SMALL = 10**6
"""The most multiplications of a small product (OpenBLAS, `kernel/x86_64/sgemm_small_kernel_permit_skylakex.c`)."""
_PIECE, _FEWEST = 128, 60  # the most rows of a piece, and how many it must be able to have for its width to be chosen
_WIDTHS = 64, 32  # columns of a piece, the best first; all columns where their number is a multiple of neither
_AVX512 = {"SkylakeX", "Cooperlake", "SapphireRapids"}
"""OpenBLAS' names of the processors for which it has such products."""


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let linear algebra run in one thread while the block runs: many threads spin where a machine is busy."""
    with blas().limit(limits=1, user_api="blas"), np.errstate(all="ignore"):
        yield


def aligned_empty(*shape: int) -> Floats:
    """Return a float32 array that begins at a cache line; NumPy's own large arrays begin 16 or 32 bytes after one."""
    size = 4 * math.prod(shape)
    room = np.empty(size + _LINE, np.uint8)
    start = -room.ctypes.data % _LINE
    array: Floats = room[start : start + size].view(np.float32).reshape(shape)
    return array


def _aligned(array: Floats) -> Floats:
    """Return a copy, in the order of C, that begins at a cache line."""
    copy = aligned_empty(*array.shape)
    np.copyto(copy, array)
    return copy


class Matrix:
    """Weights `(…, inputs, outputs)` that rows are multiplied with."""

    def __init__(self, weights: Floats) -> None:
        self.whole, self.shape = _aligned(weights), weights.shape
        self._rows, self._panels = _PIECE, None
        *before, inputs, outputs = weights.shape
        small_is_fast = any(library.get("architecture") in _AVX512 for library in blas().info())
        for width in (*_WIDTHS, outputs) if small_is_fast else ():
            rows = _SMALL // (inputs * width)
            if outputs % width == 0 and rows >= _FEWEST:
                self._rows = min(rows, _PIECE)
                self._panels = _aligned(self.whole.reshape(*before, inputs, -1, width).swapaxes(-3, -2))
                break

    def times(self, rows: Floats | None, out: Floats | None = None) -> Floats:
        """Return rows `(n, inputs)` · weights, `(…, n, outputs)`, in `out` if given; rows None are all one-hot rows."""
        if rows is None:
            return self.whole.copy()
        if out is None:
            out = aligned_empty(*self.shape[:-2], len(rows), self.shape[-1])
        self.into(out)(rows)
        return out

    def into(self, out: Floats) -> InPlace:
        """Return a function that multiplies rows `(n, inputs)`, and puts the product into `out`, `(…, n, outputs)`."""
        weights, panels, count = self.whole, self._panels, out.shape[-2]
        if count == 1 or panels is None:
            return lambda rows: np.matmul(rows, weights, out=out)
        pieces = math.ceil(count / self._rows)
        places = out.reshape(*out.shape[:-1], -1, panels.shape[-1]).swapaxes(-3, -2)
        bounds = pairwise(count * k // pieces for k in range(pieces + 1))
        parts = [(slice(*both), places[..., slice(*both), :]) for both in bounds]

        def multiply(rows: Floats) -> None:
            for part, place in parts:
                np.matmul(rows[part], panels, out=place)

        return multiply


class RecurrentLoop:
    """A recurrent layer whose weights are arranged for the loop: gates first, GRU z, r, h; LSTM i, f, o, c.

    Everything that does not depend on the state is taken out of the loop over time. The formulas are those of Keras'
    cells (and of its documentation; for the GRU with `reset_after`, cuDNN's variant). A gate σ(a) = 1 / (1 + e^−a) only
    ever multiplies, so that dividing by 1 + e^−a does in one step what a reciprocal and a product do in two. The signs
    of a gate's weights are turned when they are read, and e^−a needs no negation.
    """

    def __init__(self, entry: Entry, weights: Mapping[str, Floats]) -> None:
        """Arrange Keras' weights, `kernel`, `recurrent_kernel` and, if there is one, `bias`."""
        self.kind, self.slots, self.gates = entry.kind, SLOTS[entry.kind], GATES[entry.kind]
        gate = activation_name(entry.get("recurrent_activation", "sigmoid"))
        kernel, recurrent, bias = weights["kernel"], weights["recurrent_kernel"], weights.get("bias")
        self.inputs, self.units = len(kernel), len(recurrent)
        self.inner: Floats | None = None  # bias of the candidate's recurrent product, of a GRU with reset_after
        if bias is not None:
            parts = bias.reshape(-1, self.gates, self.units)
            bias = parts.sum(axis=0)[:, None]
            if len(parts) == 2:  # a GRU with reset_after: the candidate's second bias stays under the reset
                bias[2, 0], self.inner = parts[0, 2], parts[1, 2]
        # Keras' LSTM has i, f, c, o; the three gates belong side by side. Signs of gates are turned.
        order = [0, 1, 3, 2] if self.kind == "LSTM" else list(range(self.gates))
        sign = np.ones((self.gates, 1, 1), np.float32)
        sign[: self.gates - 1] = -1 if gate == "sigmoid" else 1
        kernel, recurrent = (
            array.reshape(len(array), self.gates, -1).swapaxes(0, 1)[order] * sign for array in (kernel, recurrent)
        )
        # Makes the input's part of every gate, `(gates, n, units)`, of rows `(n, inputs)`.
        self.project = Dense(Matrix(kernel), None if bias is None else bias[order] * sign, FUNCTIONS["linear"])
        self.recurrent, self.candidate = Matrix(recurrent), None  # (gates, units, units)
        if self.kind == "GRU" and not entry.get("reset_after", True):  # the candidate has a product of its own
            self.recurrent, self.candidate = Matrix(recurrent[:2]), Matrix(recurrent[2])
        self.activate, self.divide = _in_place(activation_name(entry.get("activation", "tanh"))), _divisor(gate)

    def run(self, inputs: Parts, state: Sequence[Floats], hidden: Floats, memory: Floats | None, work: Floats) -> None:
        """Run over some steps, and overwrite the parts of the state, `(rows, units)` each, with those after the last.

        `hidden` gets h after every step, `(steps, rows, units)`, and `memory` c, unless that is not wanted. `work` is a
        buffer for the arguments of the gates, `(gates, rows, units)`.
        """
        if self.kind == "LSTM":
            self._lstm(inputs, state, hidden, memory, work)
        elif self.kind == "SimpleRNN":
            self._simple(inputs, state[0], hidden, work)
        else:
            self._gru(inputs, state[0], hidden, work)
        np.copyto(state[0], hidden[-1])

    def _gru(self, inputs: Parts, h: Floats, hidden: Floats, work: Floats) -> None:
        """Compute z, r, ĥ = act(x + r·(h U + b)), or act(x + (r·h) U) with the reset before, and h = ĥ + z·(h − ĥ)."""
        gates, (update, reset, candidate), kept = work[:2], work, np.empty_like(h)
        multiply = self.recurrent.into(work if self.candidate is None else gates)
        multiply_reset = None if self.candidate is None else self.candidate.into(candidate)
        inner = None if self.inner is None else np.repeat(self.inner[None], len(h), axis=0)
        for t, new in enumerate(hidden):
            multiply(h)
            part = inputs(t)
            gates += part[:2]
            self.divide(gates)  # the gates hold 1/gate from here on: to divide by one applies it
            if multiply_reset is not None:
                multiply_reset(np.divide(h, reset, out=kept))
            else:
                if inner is not None:
                    candidate += inner
                candidate /= reset
            candidate += part[2]
            self.activate(candidate)
            np.subtract(h, candidate, out=new)
            np.divide(new, update, out=new)
            np.add(new, candidate, out=new)
            h = new

    def _lstm(
        self, inputs: Parts, state: Sequence[Floats], hidden: Floats, memory: Floats | None, work: Floats
    ) -> None:
        """Compute i, f, o, ĉ, then c = f·c + i·ĉ and h = o·act(c)."""
        gates, (enter, forget, leave, candidate), (h, c) = work[:3], work, state
        multiply = self.recurrent.into(work)
        for t, new in enumerate(hidden):
            multiply(h)
            work += inputs(t)
            self.divide(gates)  # the gates hold 1/gate from here on: to divide by one applies it
            self.activate(candidate)
            c /= forget
            candidate /= enter
            c += candidate
            if memory is not None:
                np.copyto(memory[t], c)
            np.copyto(new, c)
            self.activate(new)
            np.divide(new, leave, out=new)
            h = new

    def _simple(self, inputs: Parts, h: Floats, hidden: Floats, work: Floats) -> None:
        """Compute h = act(x + h U)."""
        multiply = self.recurrent.into(work)
        for t, new in enumerate(hidden):
            multiply(h)
            np.add(work[0], inputs(t)[0], out=new)
            self.activate(new)
            h = new


def _in_place(activation: str) -> InPlace:
    """Return an activation that overwrites its argument."""
    if activation == "tanh":
        return lambda a: np.tanh(a, out=a)
    function = FUNCTIONS[activation]
    return function if activation == "linear" else lambda a: np.copyto(a, function(a))


def _divisor(gate: str) -> InPlace:
    """Return what overwrites the arguments of gates with 1 / gate; for σ they are −a, and become 1 + e^−a."""

    def divisor_of_turned(turned: Floats) -> None:
        np.exp(turned, out=turned)
        turned += 1

    function = FUNCTIONS[gate]
    return divisor_of_turned if gate == "sigmoid" else lambda a: np.reciprocal(function(a), out=a)


@dataclass(frozen=True, eq=False)
class Dense:
    """A Dense layer."""

    kernel: Matrix
    bias: Floats | None
    activation: Function

    def __call__(self, rows: Floats | None, out: Floats | None = None) -> Floats:
        """Return act(rows · kernel + bias), in `out` if given; rows None stands for one-hot rows of every id."""
        product = self.kernel.times(rows, out)
        if self.bias is not None:
            product += self.bias
        return self.activation(product)


def normalized(rows: Floats, *, gamma: Floats | None, beta: Floats | None, epsilon: float) -> Floats:
    """Return γ (x − μ) / √(σ² + ε) + β, with mean and variance of each row, `(n, units)` (Ba et al. 2016, eq. 4)."""
    centred: Floats = rows - rows.mean(axis=1, keepdims=True)
    variance = np.square(centred).mean(axis=1, keepdims=True)
    centred /= np.sqrt(variance + epsilon)
    if gamma is not None:
        centred *= gamma
    if beta is not None:
        centred += beta
    return centred


def through(layers: Iterable[Function], rows: Floats) -> Floats:
    """Apply layers that treat each token alone, one after the other: `(n, inputs)` → `(n, outputs)`."""
    for layer in layers:
        rows = layer(rows)
    return rows


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
            layer = _timewise(*layers.pop(0))
            if source is None and not isinstance(layer, Dense):
                raise NotForNumpyError("one-hot rows are read by a layer that is neither recurrent nor Dense")
            if source is not None and isinstance(layer, Dense) and len(source) * layer.kernel.shape[1] > _TABLE:
                raise NotForNumpyError(
                    f"a table of {len(source):,} ids times {layer.kernel.shape[1]:,} numbers is too large"
                )
            source = layer(source)  # type: ignore[arg-type]  # a Dense layer takes None for all one-hot rows
        cells: list[RecurrentLoop] = []
        self.between: list[list[Function]] = []  # the layers between each recurrent layer and the next
        for entry, held in layers:
            if entry.kind in SLOTS:
                cells.append(RecurrentLoop(entry, held))
                self.between.append([])
            else:
                self.between[-1].append(_timewise(entry, held))
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


def _timewise(entry: Entry, weights: Mapping[str, Floats]) -> Function:
    """Return the function of a layer that treats each token alone."""
    if entry.kind == "Dense":
        function = FUNCTIONS[activation_name(entry.get("activation"))]
        return Dense(Matrix(weights["kernel"]), weights.get("bias"), function)
    if entry.kind == "LayerNormalization":
        gamma, beta = weights.get("gamma"), weights.get("beta")
        return partial(normalized, gamma=gamma, beta=beta, epsilon=float(entry.get("epsilon", 1e-3)))
    return FUNCTIONS["softmax" if entry.kind == "Softmax" else activation_name(entry.get("activation"))]


class Traces(NamedTuple):
    """Places for everything that the recurrent layers do in one step; arrays are time first."""

    states: list[list[Floats]]  # for each layer and each part of its state, `(time, rows, units)`
    inputs: list[Floats]  # for each layer, `(time, rows, inputs)`; empty where they are not wanted

    def part(self, time: slice, rows: slice) -> "Traces":
        """Return the places of some tokens and rows."""
        states = [[each[time, rows] for each in parts] for parts in self.states]
        return Traces(states, [each[time, rows] for each in self.inputs])


class Block:
    """The buffers in which a network runs rows side by side."""

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

    def _parts_of(self, k: int, ids: Ids, inputs: Floats | None) -> Parts:
        """Return a function of the step that returns the input's part of the gates of layer k; the first reads ids."""
        rows, cell, table = ids.shape[1], self.network.cells[k], self.network.table
        if inputs is None and table is not None:
            found = _shaped(self._parts[0], len(table), rows, table.shape[2])
            # Ids are known to be in the table; mode="raise" would make a copy.
            return lambda step: np.take(table, ids[step], axis=1, out=found, mode="clip")
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
        self._block = Block(network, network.rows)
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
                parts = [[part[some].copy() for part in own] for own in before]
                # Time comes first in what is scored, as in a block: `(time · rows,)`.
                wanted = np.ascontiguousarray(targets[some].T).reshape(-1)
                found: list[NDArray[Any]] = [np.empty(len(wanted), array.dtype) for array in predicted]
                own_paths = paths and paths.part(slice(None), some)
                take = partial(self._score, wanted, found)
                self._block.run(np.ascontiguousarray(ids[some].T), parts, take, own_paths)
                for array, values in zip(predicted, found, strict=True):
                    array[some] = values.reshape(time, -1).T
                np.concatenate([*chain(*parts)], axis=1, out=after[some])
        return Stepped(Predicted(*predicted), after, None if paths is None else self._seen(before, paths))

    def _score(self, targets: Ids, found: list[NDArray[Any]], start: int, hidden: Floats) -> None:
        """Score the outputs of a block from a step on, `(steps, rows, units)`, as many at once as the buffer holds."""
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
            for whole, values in zip(found, score_in_place(logits, targets[some]), strict=True):
                whole[some] = values

    def _seen(self, before: list[list[Floats]], paths: Traces) -> Seen:
        """Return what the layers did from the states before, rows first."""
        parts = zip(self._layout.states, chain(*paths.states), chain(*before), strict=True)
        trajectories = {key: Trajectory(states.swapaxes(0, 1), start) for key, states, start in parts}
        own = zip(self._layout.cells.items(), paths.inputs, strict=True)
        inputs = {layer: values.swapaxes(0, 1) for (layer, cells), values in own if cells}
        return Seen(self._layout, trajectories, inputs)
