"""Keras' own recurrent layers, run faster: what does not depend on the state is taken out of the loop over time.

While a model runs, each such layer's `inner_loop` is replaced. The input's products are made for the whole segment at
once; behind an Embedding they are looked up, from a table `embeddings @ kernel + bias` made once. In the loop are left
the recurrent products and the gates, and only what is asked for is kept: h for who reads the layer, c for a watch.
Subclassed, nested and wrapped models need no case of their own, since the layer's `call` stays what it was.

A layer that is not Keras' own, reads backwards, is given a mask or trains with dropout runs its own loop.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

from rnneval.models.gates import Inputs, Step, has_formula, numbers_a_step, step_of
from rnneval.models.layers import Unit, sublayers
from rnneval.models.state_tap import Proceed, Result, Run, leaves_of, overridden, tap

_TABLE = 2**25  # numbers in a table of an embedding's products at the most: 128 MB
_LAYERS = (keras.layers.GRU, keras.layers.LSTM, keras.layers.SimpleRNN, keras.layers.RNN)


@dataclass(kw_only=True, eq=False)
class Hoisting:
    """The hoisted loops of a model's layers, its tables, and what became of each layer."""

    model: Any
    units: tuple[Unit, ...]
    own: dict[str, str] = field(default_factory=dict)
    """By name: the layers that ran their own loop, and why."""
    ran: set[str] = field(default_factory=set)
    """The names of layers whose loop was hoisted."""
    _tables: dict[tuple[int, int], tuple[Any, ...]] = field(default_factory=dict)
    _embeddings: list[Any] = field(init=False)

    def __post_init__(self) -> None:
        found = [layer for layer in sublayers(self.model) if type(layer) is keras.layers.Embedding]
        self._embeddings = list({id(layer): layer for layer in found}.values())

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the model in the block with its loops hoisted; the model is as before after it."""
        looked_up = _LookedUp()
        with ExitStack() as stack:
            for embedding in self._embeddings:
                stack.enter_context(overridden(embedding, "call", looked_up.watching(embedding)))
            for unit in (unit for unit in self.units if unit.place == 1):
                reason = why_own(unit)
                if reason is None:
                    stack.enter_context(tap(unit.layer, HoistedLoop(self, unit, looked_up)))
                else:
                    self.own[unit.name] = reason
            yield

    def table(self, embedding: Any, cell: Any) -> tuple[Any, ...] | None:
        """Give `embeddings @ kernel + bias`, a tensor `(V, units)` a gate; None where it would be too large."""
        numbers = embedding.input_dim * numbers_a_step(cell)
        if numbers > _TABLE:
            return None
        key = (id(embedding), id(cell))
        if key not in self._tables:
            with tf.init_scope():  # made once, out of the graph that is being traced
                rows = tf.cast(tf.convert_to_tensor(embedding.embeddings), embedding.compute_dtype)
                self._tables[key] = tuple(step_of(cell).project(tf.cast(rows, cell.compute_dtype)))
        return self._tables[key]


def why_own(unit: Unit) -> str | None:
    """Tell why a unit's own loop has to run; None where it can be hoisted."""
    layer = unit.layer
    if not unit.is_layer:
        return "a cell called by hand"
    if type(layer) not in _LAYERS or not has_formula(layer.cell):
        return f"{type(layer).__name__} of {type(layer.cell).__name__}"
    if layer.go_backwards:
        return "it reads backwards"
    return None


class _LookedUp:
    """The outputs of embeddings in one trace, and the ids they were looked up by."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[Any, Any, Any]] = {}

    def watching(self, embedding: Any) -> Callable[..., Any]:
        """Give what stands for the embedding's `call`."""
        original = embedding.call

        def call(inputs: Any, *rest: Any, **options: Any) -> Any:
            output = original(inputs, *rest, **options)
            self._found[id(output)] = (output, inputs, embedding)  # the output is held, so that its id stays its own
            return output

        return call

    def behind(self, sequences: Any) -> tuple[Any, Any] | None:
        """Give the ids `(batch, time)` and the embedding that made a tensor, or None."""
        found = self._found.get(id(sequences))
        if found is None or found[0] is not sequences or len(found[1].shape) != 2:
            return None
        return found[1], found[2]


class HoistedLoop:
    """Run one layer's loop over time, in place of its own."""

    def __init__(self, hoisting: Hoisting, unit: Unit, looked_up: _LookedUp) -> None:
        self._of, self._unit, self._looked_up = hoisting, unit, looked_up
        self._cell = unit.layer.cell

    def __call__(self, run: Run, proceed: Proceed) -> Result:
        """Run the layer over `(batch, time, inputs)`; its own loop where that has to run."""
        reason = self._why_own(run)
        if reason:
            self._of.own[self._unit.name] = reason
            return proceed(run)
        self._of.ran.add(self._unit.name)
        step = step_of(self._cell)
        state = leaves_of(run.state)
        kept = len(state) if run.every_step else int(self._unit.layer.return_sequences)
        after, seen = over_time(step, self._inputs(run.inputs, step), state, kept)
        outputs = seen[0] if self._unit.layer.return_sequences else after[0][:, None]
        return Result(after[0], outputs, list(after), seen if run.every_step else None)

    def _why_own(self, run: Run) -> str | None:
        if run.mask is not None:
            return "it is given a mask"
        if run.training and (self._cell.dropout or self._cell.recurrent_dropout):
            return "it trains with dropout"
        return None if run.nudge is None else "its states are nudged"

    def _inputs(self, sequences: Any, step: Step) -> Inputs:
        """The input's part of each gate, for the whole segment or by looking it up."""
        looked_up = self._looked_up.behind(sequences)
        if looked_up is not None:
            ids, embedding = looked_up
            table = self._of.table(embedding, self._cell)
            if table is not None:
                return Inputs(parts=table, ids=tf.transpose(tf.cast(ids, tf.int32)))
        time, batch = (sequences.shape[k] or tf.shape(sequences)[k] for k in (1, 0))
        flat = tf.reshape(tf.transpose(sequences, [1, 0, 2]), [-1, sequences.shape[2]])
        return Inputs(parts=tuple(tf.reshape(part, [time, batch, part.shape[-1]]) for part in step.project(flat)))


def over_time(step: Step, inputs: Inputs, state: Sequence[Any], kept: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Run a step over time; give the last state, and the first `kept` slots at every step, `(batch, time, units)`."""
    time = inputs.time
    if time == 1:
        after = step(inputs.at(0), tuple(state))
        return after, tuple(slot[:, None] for slot in after[:kept])
    arrays = tuple(tf.TensorArray(slot.dtype, time, element_shape=slot.shape) for slot in state[:kept])

    def body(t: Any, arrays: tuple[Any, ...], before: tuple[Any, ...]) -> tuple[Any, ...]:
        after = step(inputs.at(t), before)
        for slot, like in zip(after, before, strict=True):
            slot.set_shape(like.shape)
        return t + 1, tuple(a.write(t, slot) for a, slot in zip(arrays, after[:kept], strict=True)), after

    _, arrays, after = tf.while_loop(lambda t, *_: t < time, body, (0, arrays, tuple(state)), parallel_iterations=1)
    return after, tuple(tf.transpose(array.stack(), [1, 0, 2]) for array in arrays)
