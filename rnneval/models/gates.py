"""One step of Keras' GRU, LSTM and SimpleRNN cells, with the input's products made beforehand.

The formulas are those of Keras' cells (and of its documentation; for the GRU with `reset_after`, cuDNN's variant). Each
gate has a product of its own: nothing is made side by side to be split again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import tensorflow as tf

_GATES = {keras.layers.GRUCell: 3, keras.layers.LSTMCell: 4, keras.layers.SimpleRNNCell: 1}

Tensors = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The input's part of each gate at every step: one tensor a gate."""

    parts: Tensors
    """`(time, batch, units)`; with ids, tables `(V, units)`."""
    ids: Any = None
    """`(time, batch)`: what is looked up at each step."""

    @property
    def time(self) -> Any:
        """How many steps."""
        over = self.parts[0] if self.ids is None else self.ids
        return over.shape[0] or tf.shape(over)[0]

    def at(self, t: Any) -> Tensors:
        """Each gate's part at one step, `(batch, units)`."""
        if self.ids is None:
            return tuple(part[t] for part in self.parts)
        ids = self.ids[t]
        return tuple(tf.gather(table, ids) for table in self.parts)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One cell's step, its weights read once."""

    kernels: Tensors
    """`(inputs, units)` a gate."""
    biases: Tensors
    """Of the input's products, `(units,)` a gate; none without biases."""
    formula: Callable[[Tensors, Tensors], Tensors]
    """From each gate's input part and the state to the state after."""

    def __call__(self, inputs: Tensors, state: Tensors) -> Tensors:
        """Give the state after."""
        return self.formula(inputs, state)

    def project(self, rows: Any) -> list[Any]:
        """Give each gate's part of inputs `(n, inputs)`: `(n, units)`."""
        products = [tf.matmul(rows, kernel) for kernel in self.kernels]
        if not self.biases:
            return products
        return [tf.nn.bias_add(product, bias) for product, bias in zip(products, self.biases, strict=True)]


def has_formula(cell: Any) -> bool:
    """Whether it is one of Keras' own cells, and not a class derived from one."""
    return type(cell) in _GATES


def numbers_a_step(cell: Any) -> int:
    """How many numbers the input's part of all gates has."""
    return int(_GATES[type(cell)] * cell.units)


def step_of(cell: Any) -> Step:
    """Read a cell's weights, as tensors of the graph that is being made."""
    gates = _GATES[type(cell)]
    read = partial(tf.cast, dtype=cell.compute_dtype)
    kernels = tf.split(read(cell.kernel), gates, axis=1)
    recurrent = tf.split(read(cell.recurrent_kernel), gates, axis=1)
    bias = None if cell.bias is None else read(cell.bias)
    if type(cell) is keras.layers.GRUCell:
        return _gru(cell, kernels, recurrent, bias)
    biases = () if bias is None else tuple(tf.split(bias, gates))
    formula = partial(_lstm if gates == 4 else _simple, cell, recurrent)
    return Step(kernels=tuple(kernels), biases=biases, formula=formula)


def _gru(cell: Any, kernels: Sequence[Any], recurrent: Sequence[Any], bias: Any) -> Step:
    """Biases of z and r are added once, whichever product they belong to; the candidate's stays under the reset."""
    biases: Tensors = ()
    inner = None
    if bias is not None and cell.reset_after:
        into, back = (tf.split(part, 3) for part in tf.unstack(bias))
        biases, inner = (into[0] + back[0], into[1] + back[1], into[2]), back[2]
    elif bias is not None:
        biases = tuple(tf.split(bias, 3))
    return Step(kernels=tuple(kernels), biases=biases, formula=partial(_gru_step, cell, recurrent, inner))


def _gru_step(cell: Any, recurrent: Sequence[Any], inner: Any, inputs: Tensors, state: Tensors) -> Tensors:
    """z, r, and the candidate: h = z·h + (1 − z)·ĥ."""
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
    """i, f, the candidate, o: c = f·c + i·ĉ, h = o·act(c)."""
    h, c = state
    i, f, candidate, o = (part + tf.matmul(h, kernel) for part, kernel in zip(inputs, recurrent, strict=True))
    gate = cell.recurrent_activation
    c = gate(f) * c + gate(i) * cell.activation(candidate)
    return gate(o) * cell.activation(c), c


def _simple(cell: Any, recurrent: Sequence[Any], inputs: Tensors, state: Tensors) -> Tensors:
    """Give act(x·W + h·U + b)."""
    total = inputs[0] + tf.matmul(state[0], recurrent[0])
    return (total if cell.activation is None else cell.activation(total),)
