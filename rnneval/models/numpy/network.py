"""A chain of layers as arithmetic: ids and states in, losses and new states out.

`Network` holds the weights in the order of the loops, `ForwardPass` runs some rows side by side, and `NumpyScorer` is
what `rnneval.evaluate` calls: it divides the rows of a step into blocks, and scores their logits. Inside of a block,
arrays are time first, so that the rows of one step lie side by side. Products that do not depend on a state are made
for some steps at once; those of the first recurrent layer are rows of a table.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnneval.arrays import Floats
from rnneval.errors import CheckpointError
from rnneval.models.numpy.chain import SLOTS, Entry, NotForNumpyError, RowFunction
from rnneval.models.numpy.layers import Dense, GateInputs, RecurrentLoop, through, timewise
from rnneval.models.numpy.products import aligned_empty, one_blas_thread
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

    def __init__(self, layers: Layers, divisor: int | None) -> None:
        """Arrange the weights; a model that reads numbers reads each id divided by `divisor`, which others have not."""
        layers = list(layers)
        # What the first recurrent layer reads for each id, (ids, inputs); None for one-hot rows.
        lookup: Floats | None = None if divisor is None else (np.arange(divisor, dtype=np.float32) / divisor)[:, None]
        if layers[0][0].kind == "Embedding":
            lookup = layers.pop(0)[1]["embeddings"]
        while layers[0][0].kind not in SLOTS:
            layer = timewise(*layers.pop(0))
            if lookup is None and not isinstance(layer, Dense):
                raise NotForNumpyError("one-hot rows are read by a layer that is neither recurrent nor Dense")
            if lookup is not None and isinstance(layer, Dense) and len(lookup) * layer.kernel.shape[1] > _TABLE:
                ids, numbers = len(lookup), layer.kernel.shape[1]
                raise NotForNumpyError(f"a table of {ids:,} ids times {numbers:,} numbers is too large")
            lookup = layer(lookup)  # type: ignore[arg-type]  # a Dense layer takes None for all one-hot rows
        self.lookup = lookup
        self.loops: list[RecurrentLoop] = []
        self.after_loops: list[list[RowFunction]] = []  # the layers between each recurrent layer and the next
        for entry, weights in layers:
            if entry.kind in SLOTS:
                self.loops.append(RecurrentLoop(entry, weights))
                self.after_loops.append([])
            else:
                self.after_loops[-1].append(timewise(entry, weights))
        self.head, self.after_loops[-1] = self.after_loops[-1], []  # the layers after the last recurrent one
        self.size = sum(loop.units * len(loop.slots) for loop in self.loops)  # D, the count of numbers in a row's state
        head = [layer.kernel for layer in self.head if isinstance(layer, Dense)]
        self.width = int(head[-1].shape[1]) if head else self.loops[-1].units  # V, how many logits there are
        self.ids = self.width if lookup is None else len(lookup)  # how many ids can be read
        fits = lookup is None or len(lookup) * self.loops[0].gates * self.loops[0].units <= _TABLE
        # The input's part of the first layer's gates for each id, (gates, ids, units); None where that is too large.
        self.table = self.loops[0].project(lookup) if fits else None
        self.rows = _ROWS_IF_WIDE if max(loop.units for loop in self.loops) >= _WIDE else _ROWS  # the most of a block

    def split(self, vectors: NDArray[np.floating]) -> list[list[Floats]]:
        """Divide states `(rows, D)` into the parts of each layer's state, `(rows, units)` each: copies."""
        ends = np.cumsum([loop.units for loop in self.loops for _ in loop.slots])
        parts = iter(np.split(vectors, ends[:-1], axis=1))
        return [[np.array(next(parts), np.float32, order="C") for _ in loop.slots] for loop in self.loops]


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
        loops, most = network.loops, max(_AT_ONCE, rows)
        self._hidden = [aligned_empty(most * loop.units) for loop in loops]
        self._gate_buffers = [aligned_empty(loop.gates * most * loop.units) for loop in loops]
        self._work = [aligned_empty(loop.gates * most * loop.units) for loop in loops]

    def run(
        self, ids: Ids, states: list[list[Floats]], consume: Callable[[int, Floats], None], traces: Traces | None = None
    ) -> None:
        """Run over a segment, ids `(time, rows)`, and overwrite the parts of each layer's state with those after it.

        `consume` is called with the number of a step, and what the last recurrent layer gives from there on,
        `(steps, rows, units)`, which is overwritten afterwards. `traces` get what the layers do.
        """
        steps = max(1, min(_STEPS, _AT_ONCE // ids.shape[1]))
        for start in range(0, len(ids), steps):
            some = slice(start, start + steps)
            consume(start, self._run_steps(ids[some], states, traces and traces.part(some, slice(None))))

    def _run_steps(self, ids: Ids, states: list[list[Floats]], traces: Traces | None) -> Floats:
        (steps, rows), inputs = ids.shape, None
        for k, loop in enumerate(self.network.loops):
            hidden = _shaped(self._hidden[k], steps, rows, loop.units)
            if traces is not None and traces.inputs:
                traces.inputs[k][...] = self._look_up(ids) if inputs is None else inputs
            memory = traces.states[k][1] if traces is not None and len(states[k]) > 1 else None
            work = _shaped(self._work[k], loop.gates, rows, loop.units)
            loop.run(self._gate_inputs(k, ids, inputs), states[k], hidden, memory, work)
            if traces is not None:
                traces.states[k][0][...] = hidden
            inputs = through(self.network.after_loops[k], hidden.reshape(-1, loop.units)).reshape(steps, rows, -1)
        assert inputs is not None  # noqa: S101 - there is a recurrent layer
        return inputs

    def _gate_inputs(self, k: int, ids: Ids, inputs: Floats | None) -> GateInputs:
        """Return a function of the step that returns the input's part of the gates of layer k; the first reads ids."""
        rows, loop, table = ids.shape[1], self.network.loops[k], self.network.table
        if inputs is None and table is not None:
            part = _shaped(self._gate_buffers[0], len(table), rows, table.shape[2])
            # Ids are known to be in the table; mode="raise" would make a copy.
            return lambda step: np.take(table, ids[step], axis=1, out=part, mode="clip")
        flat = (self._look_up(ids) if inputs is None else inputs).reshape(ids.size, loop.inputs)
        parts = loop.project(flat, _shaped(self._gate_buffers[k], loop.gates, len(flat), loop.units))
        return lambda step: parts[:, step * rows : (step + 1) * rows]

    def _look_up(self, ids: Ids) -> Floats:
        """Return what the first recurrent layer reads, `(steps, rows, inputs)`."""
        lookup, width = self.network.lookup, self.network.width
        read: Floats = lookup[ids] if lookup is not None else (ids[..., None] == np.arange(width)).astype(np.float32)
        return read


def _shaped(buffer: Floats, *shape: int) -> Floats:
    """Return the first numbers of a buffer as an array of a shape."""
    return buffer[: math.prod(shape)].reshape(shape)


def blocks_of(rows: int, most: int) -> list[slice]:
    """Divide the rows of a step into blocks of nearly equal size: 5 rows, at most 2 each, into 2, 2 and 1."""
    parts = np.array_split(np.arange(rows), max(1, -(-rows // most)))
    return [slice(part[0], part[-1] + 1) for part in parts if len(part)]


class NumpyScorer:
    """Scores a chain of layers: a `Scorer`. What it observes of a step is valid until the next."""

    def __init__(self, network: Network, layout: Layout, *, sees: Sees, shape: Shape) -> None:
        self._network, self._layout = network, layout
        self._forward = ForwardPass(network, network.rows)
        self._logits = aligned_empty(_LOGITS + network.width)
        self._traces: Traces | None = None
        if sees != "losses":
            loops, room = network.loops, (shape.segment, shape.rows)
            self._traces = Traces(
                [[np.empty((*room, loop.units), np.float32) for _ in loop.slots] for loop in loops],
                [np.empty((*room, loop.inputs), np.float32) for loop in loops] if sees == "gates" else [],
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
        traces = self._traces and self._traces.part(slice(time), slice(rows))
        with one_blas_thread():
            for some in blocks_of(rows, network.rows):
                parts = [[part[some].copy() for part in layer] for layer in before]
                # Time comes first in what is scored, as in a block: `(time · rows,)`.
                block_targets = np.ascontiguousarray(targets[some].T).reshape(-1)
                block_scores: list[NDArray[Any]] = [np.empty(len(block_targets), array.dtype) for array in predicted]
                block_traces = traces and traces.part(slice(None), some)
                consume = partial(self._score, block_targets, block_scores)  # fills block_scores; `run` changes `parts`
                self._forward.run(np.ascontiguousarray(ids[some].T), parts, consume, block_traces)
                for array, values in zip(predicted, block_scores, strict=True):
                    array[some] = values.reshape(time, -1).T
                np.concatenate([*chain(*parts)], axis=1, out=after[some])
        return Stepped(Predicted(*predicted), after, None if traces is None else self._observed(before, traces))

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

    def _observed(self, before: list[list[Floats]], traces: Traces) -> Trajectories:
        """Return what the layers did from the states before, rows first."""
        parts = zip(self._layout.states, chain(*traces.states), chain(*before), strict=True)
        trajectories = {key: Trajectory(states.swapaxes(0, 1), start) for key, states, start in parts}
        layers = zip(self._layout.cells.items(), traces.inputs, strict=True)
        inputs = {layer: values.swapaxes(0, 1) for (layer, cells), values in layers if cells}
        return Trajectories(self._layout, trajectories, inputs)
