"""Keras' own recurrent layers, run faster: what does not depend on the state is taken out of the loop over time.

While a model runs, the inner loop of each such layer is replaced through the state tap. The input's products are made
for the whole segment at once; behind an Embedding they are looked up, from a table `embeddings @ kernel + bias` made
once. The recurrent products and the gates stay in the loop, and only what is asked for is kept: h where the layer
returns sequences, every state where an observer asks for it. Subclassed, nested and wrapped models need no case of
their own, since the layer's `call` stays as it was.

The formulas are those of Keras' cells (and of its documentation; for the GRU with `reset_after`, cuDNN's variant). Each
gate has a product of its own: nothing is made side by side to be split again.

A layer that is not Keras' own, reads backwards, is given a mask or trains with dropout runs its own loop.

`arranged` chooses whether loops are hoisted, and how many parts of the rows run at the same time: by sizes, never by a
clock, since kernels differ in the last digits, and a run could not be repeated. Figures: docs/evidence/speed.md.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from rnneval.models.keras.layers import RecurrentUnit, overridden, sublayers
from rnneval.models.keras.state_tap import LayerResult, LayerRun, Proceed, leaves_of, tap
from rnneval.models.numpy.layers import GATES

_LAYERS = (keras.layers.GRU, keras.layers.LSTM, keras.layers.SimpleRNN, keras.layers.RNN)
_CELLS = (keras.layers.GRUCell, keras.layers.LSTMCell, keras.layers.SimpleRNNCell)
_TABLE = 2**25  # the most numbers in a table of an embedding's products: 128 MB
_ROWS_A_PART, _WIDE = (32, 64), 700
"""The fewest rows of a part, without and with a layer of more than so many units: wide products want many rows."""
_MOST_PARTS = 4

Tensors = tuple[Any, ...]
At = Callable[[Any], Tensors]  # a step → each gate's part of the input there, `(batch, units)`
Formula = Callable[[Tensors, Tensors], Tensors]  # (each gate's part of the input, state) → new state


class CellStep:
    """One step of a cell, whose weights are read once, as tensors of the graph that is being made."""

    def __init__(self, cell: Any) -> None:
        """Read the weights of each gate.

        Biases of a GRU's z and r are added once, whichever product they belong to; the candidate's stays under the
        reset.
        """
        gates = _gates(cell)
        read = partial(tf.cast, dtype=cell.compute_dtype)
        self._kernels = tf.split(read(cell.kernel), gates, axis=1)
        recurrent = tf.split(read(cell.recurrent_kernel), gates, axis=1)
        bias, inner = None if cell.bias is None else read(cell.bias), None
        self._biases = [] if bias is None else tf.split(bias, gates, axis=-1)
        if bias is not None and len(bias.shape) == 2:  # of a GRU with reset_after
            into, back = (tf.split(part, 3) for part in tf.unstack(bias))
            self._biases, inner = [into[0] + back[0], into[1] + back[1], into[2]], back[2]
        formulas: dict[int, Callable[..., Tensors]] = {1: _simple, 3: partial(_gru, inner), 4: _lstm}
        self.formula: Formula = partial(formulas[gates], cell, recurrent)

    def project(self, rows: Any) -> list[Any]:
        """Return each gate's part of inputs `(n, inputs)`: `(n, units)`."""
        products = [tf.matmul(rows, kernel) for kernel in self._kernels]
        if not self._biases:
            return products
        return [tf.nn.bias_add(product, bias) for product, bias in zip(products, self._biases, strict=True)]


def _gates(cell: Any) -> int:
    return GATES[type(cell).__name__.removesuffix("Cell")]


def _gru(inner: Any, cell: Any, recurrent: Sequence[Any], inputs: Tensors, state: Tensors) -> Tensors:
    """Compute z, r and the candidate ĥ, and return h = z·h + (1 − z)·ĥ."""
    h, gate = state[0], cell.recurrent_activation
    z = gate(inputs[0] + tf.matmul(h, recurrent[0]))
    r = gate(inputs[1] + tf.matmul(h, recurrent[1]))
    if cell.reset_after:
        back = tf.matmul(h, recurrent[2])
        back = r * (back if inner is None else tf.nn.bias_add(back, inner))
    else:
        back = tf.matmul(r * h, recurrent[2])
    candidate = cell.activation(inputs[2] + back)
    return (z * h + (1 - z) * candidate,)


def _lstm(cell: Any, recurrent: Sequence[Any], inputs: Tensors, state: Tensors) -> Tensors:
    """Compute i, f, the candidate ĉ and o, and return h = o·act(c) and c = f·c + i·ĉ."""
    h, c = state
    i, f, candidate, o = (part + tf.matmul(h, kernel) for part, kernel in zip(inputs, recurrent, strict=True))
    gate = cell.recurrent_activation
    c = gate(f) * c + gate(i) * cell.activation(candidate)
    return gate(o) * cell.activation(c), c


def _simple(cell: Any, recurrent: Sequence[Any], inputs: Tensors, state: Tensors) -> Tensors:
    total = inputs[0] + tf.matmul(state[0], recurrent[0])
    return (total if cell.activation is None else cell.activation(total),)


class Hoisting:
    """The hoisted loops of a model's layers, its tables, and which layers ran which loop."""

    def __init__(self, model: Any, units: Sequence[RecurrentUnit]) -> None:
        self._units = tuple(units)
        embeddings = [layer for layer in sublayers(model) if type(layer) is keras.layers.Embedding]
        self._embeddings = list({id(layer): layer for layer in embeddings}.values())
        self.own: dict[str, str] = {}  # reasons why layers ran their own loop, by the layer's name
        self.ran: set[str] = set()  # the names of layers whose loop was hoisted
        self._tables: dict[tuple[int, int], tuple[Any, ...]] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the model in the block with its loops hoisted; the model is as before after it."""
        outputs: dict[int, Any] = {}
        with ExitStack() as stack:
            for embedding in self._embeddings:
                watched = partial(_remembered, outputs, embedding, embedding.call)
                stack.enter_context(overridden(embedding, "call", watched))
            for unit in self._units:
                if unit.place > 1:
                    continue
                reason = why_own(unit)
                if reason is None:
                    stack.enter_context(tap(unit.layer, partial(self._run, unit, outputs)))
                else:
                    self.own[unit.name] = reason
            yield

    def _run(self, unit: RecurrentUnit, outputs: dict[int, Any], run: LayerRun, proceed: Proceed) -> LayerResult:
        """Run one layer's loop over `(batch, time, inputs)` in place of its own, unless that has to run."""
        cell, reason = unit.layer.cell, None
        if run.mask is not None:
            reason = "it is given a mask"
        elif run.training and (cell.dropout or cell.recurrent_dropout):
            reason = "it trains with dropout"
        elif run.nudge is not None:
            reason = "its states are nudged"
        if reason:
            self.own[unit.name] = reason
            return proceed(run)
        self.ran.add(unit.name)
        step, state = CellStep(cell), leaves_of(run.state)
        kept = len(state) if run.every_step else int(unit.layer.return_sequences)
        time, at = self._inputs(run.inputs, cell, step, outputs)
        after, seen = _over_time(step.formula, time, at, state, kept)
        sequences = seen[0] if unit.layer.return_sequences else after[0][:, None]
        return LayerResult(after[0], sequences, list(after), seen if run.every_step else None)

    def _inputs(self, sequences: Any, cell: Any, step: CellStep, outputs: dict[int, Any]) -> tuple[Any, At]:
        """Return the number of steps, and the input's part of each: made for the whole segment, or looked up by id."""
        output, ids, embedding = outputs.get(id(sequences), (None, None, None))
        tables = self._tables_of(embedding, cell) if output is sequences and len(ids.shape) == 2 else None
        if tables is not None:
            ids = tf.transpose(tf.cast(ids, tf.int32))

            def looked_up(t: Any) -> Tensors:
                now = ids[t]
                return tuple(tf.gather(table, now) for table in tables)

            return ids.shape[0] or tf.shape(ids)[0], looked_up
        time, batch = (sequences.shape[k] or tf.shape(sequences)[k] for k in (1, 0))
        flat = tf.reshape(tf.transpose(sequences, [1, 0, 2]), [-1, sequences.shape[2]])
        parts = [tf.reshape(part, [time, batch, part.shape[-1]]) for part in step.project(flat)]
        return parts[0].shape[0] or tf.shape(parts[0])[0], lambda t: tuple(part[t] for part in parts)

    def _tables_of(self, embedding: Any, cell: Any) -> tuple[Any, ...] | None:
        """Return `embeddings @ kernel + bias`, a tensor `(V, units)` a gate; None where it would be too large."""
        if embedding.input_dim * _gates(cell) * cell.units > _TABLE:
            return None
        key = (id(embedding), id(cell))
        if key not in self._tables:
            with tf.init_scope():  # made once, out of the graph that is being traced
                rows = tf.cast(tf.convert_to_tensor(embedding.embeddings), embedding.compute_dtype)
                self._tables[key] = tuple(CellStep(cell).project(tf.cast(rows, cell.compute_dtype)))
        return self._tables[key]


def why_own(unit: RecurrentUnit) -> str | None:
    """Return why a unit's own loop has to run; None where it can be hoisted."""
    layer = unit.layer
    if not unit.is_layer:
        return "a cell called by hand"
    if type(layer) not in _LAYERS or type(layer.cell) not in _CELLS:
        return f"{type(layer).__name__} of {type(layer.cell).__name__}"
    if layer.go_backwards:
        return "it reads backwards"
    return None


def _remembered(
    outputs: dict[int, Any], embedding: Any, original: Callable[..., Any], inputs: Any, *rest: Any, **options: Any
) -> Any:
    """Call an embedding, and remember which ids its output was looked up by."""
    output = original(inputs, *rest, **options)
    outputs[id(output)] = (output, inputs, embedding)  # the output is held, so that its id stays its own
    return output


def _over_time(formula: Formula, time: Any, at: At, state: Sequence[Any], kept: int) -> tuple[Tensors, Tensors]:
    """Run a formula over time; return the last state, and its first `kept` parts after each step, batch first."""
    if time == 1:
        after = formula(at(0), tuple(state))
        return after, tuple(part[:, None] for part in after[:kept])
    arrays = tuple(tf.TensorArray(part.dtype, time, element_shape=part.shape) for part in state[:kept])

    def body(t: Any, arrays: Tensors, before: Tensors) -> Tensors:
        after = formula(at(t), before)
        for part, like in zip(after, before, strict=True):
            part.set_shape(like.shape)
        return t + 1, tuple(a.write(t, part) for a, part in zip(arrays, after[:kept], strict=True)), after

    _, arrays, after = tf.while_loop(lambda t, *_: t < time, body, (0, arrays, tuple(state)), parallel_iterations=1)
    return after, tuple(tf.transpose(array.stack(), [1, 0, 2]) for array in arrays)


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """Settings with which a model is run in the graph of a step."""

    parts: int = 1  # most parts into which rows are divided; parts run at the same time
    rows_a_part: int = 1  # fewest rows of a part
    hoisting: Hoisting | None = None  # the loops that are hoisted; None: every layer runs its own

    def divided(self, *tensors: Any) -> Iterator[tuple[Any, ...]]:
        """Divide tensors of the same rows."""
        rows = tensors[0].shape[0]
        parts = max(1, min(self.parts, rows // self.rows_a_part))
        sizes = [rows * (k + 1) // parts - rows * k // parts for k in range(parts)]
        yield from zip(*(tf.split(tensor, sizes) if parts > 1 else [tensor] for tensor in tensors), strict=True)

    def running(self) -> AbstractContextManager[None]:
        """Run the model in the block as arranged."""
        return nullcontext() if self.hoisting is None else self.hoisting.running()

    @property
    def said(self) -> str:
        """The kernel that ran, for the record: `hoisted`, `layers`, or which layers ran which and why."""
        if self.hoisting is None or not self.hoisting.ran:
            return "layers"
        if not self.hoisting.own:
            return "hoisted"
        own = "; ".join(f"{name}: {why}" for name, why in self.hoisting.own.items())
        return f"hoisted ({', '.join(sorted(self.hoisting.ran))}), layers ({own})"


def arranged(model: Any, units: Sequence[RecurrentUnit], kernel: str) -> Arrangement:
    """Choose how a model is run; if TensorFlow sees a GPU, `auto` leaves the cuDNN loops to the layers of Keras."""
    gpu = bool(tf.config.list_logical_devices("GPU"))
    if kernel == "layers" or (kernel == "auto" and gpu):
        return Arrangement()
    # As many parts as cores: the operations of a small model are too short to be shared by two.
    parts = 1 if gpu else max(1, min(_MOST_PARTS, os.cpu_count() or 1))
    hoisting = Hoisting(model, units) if any(why_own(unit) is None for unit in units) else None
    rows = _ROWS_A_PART[any(unit.sizes[0] > _WIDE for unit in units)]
    return Arrangement(parts=parts, rows_a_part=rows, hoisting=hoisting)
