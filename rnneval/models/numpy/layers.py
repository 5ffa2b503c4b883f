"""Layers as arithmetic: recurrent ones as loops over time, and those that treat each token alone.

The docstring of each loop has its formula, a step at a time, in NumPy. The formulas are those of Keras' cells (and of
its documentation; for the GRU with `reset_after`, cuDNN's variant): `x` is the input's part of the gates of a step,
which no state enters, `U` the recurrent weights, `σ` the activation of the gates and `act` the layer's. The statements
do the same without new arrays. A gate σ(a) = 1 / (1 + exp(-a)) only ever multiplies, so that dividing by 1 + exp(-a)
does in one step what a reciprocal and a product do in two: `turn` makes 1 / gate of the arguments of gates. The signs
of a gate's weights are turned when they are read, and exp(-a) needs no negation.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from rnneval.arrays import Floats
from rnneval.models.numpy.chain import FUNCTIONS, GATES, SLOTS, Entry, RowFunction, activation_name
from rnneval.models.numpy.products import InPlace, Matrix

GateInputs = Callable[[int], Floats]
"""Function that returns the input's part of every gate of a step, `(gates, rows, units)`, valid until the next."""


@dataclass(frozen=True, eq=False)
class Dense:
    """A Dense layer."""

    kernel: Matrix
    bias: Floats | None
    activation: RowFunction

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


def through(layers: Iterable[RowFunction], rows: Floats) -> Floats:
    """Apply layers that treat each token alone, one after the other: `(n, inputs)` → `(n, outputs)`."""
    for layer in layers:
        rows = layer(rows)
    return rows


def timewise(entry: Entry, weights: Mapping[str, Floats]) -> RowFunction:
    """Return the function of a layer that treats each token alone."""
    if entry.kind == "Dense":
        function = FUNCTIONS[activation_name(entry.get("activation"))]
        return Dense(Matrix(weights["kernel"]), weights.get("bias"), function)
    if entry.kind == "LayerNormalization":
        gamma, beta = weights.get("gamma"), weights.get("beta")
        return partial(normalized, gamma=gamma, beta=beta, epsilon=float(entry.get("epsilon", 1e-3)))
    return FUNCTIONS["softmax" if entry.kind == "Softmax" else activation_name(entry.get("activation"))]


class RecurrentLoop:
    """A recurrent layer whose weights are arranged for the loop: gates first, GRU z, r, h; LSTM i, f, o, c."""

    def __init__(self, entry: Entry, weights: Mapping[str, Floats]) -> None:
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
        self.activate, self.turn = _in_place(activation_name(entry.get("activation", "tanh"))), _turned(gate)

    def run(
        self, inputs: GateInputs, state: Sequence[Floats], hidden: Floats, memory: Floats | None, work: Floats
    ) -> None:
        """Run over some steps, and overwrite the parts of the state, `(rows, units)` each, with those after the last.

        `hidden` gets h after every step, `(steps, rows, units)`, and `memory` c, unless that is not wanted. `work` is a
        buffer for the arguments of the gates, `(gates, rows, units)`.
        """
        if self.kind == "LSTM":
            self._lstm(inputs, state, hidden, memory, work)
        elif self.kind == "SimpleRNN":
            self._simple(inputs, state[0], hidden, work)
        elif self.candidate is None:
            self._gru(inputs, state[0], hidden, work)
        else:
            self._gru_reset_before(inputs, state[0], hidden, work, self.candidate)
        np.copyto(state[0], hidden[-1])

    def _simple(self, inputs: GateInputs, h: Floats, hidden: Floats, work: Floats) -> None:
        """Compute h = act(x + h @ U)."""
        multiply = self.recurrent.into(work)
        for t, new in enumerate(hidden):
            multiply(h)
            np.add(work[0], inputs(t)[0], out=new)
            self.activate(new)
            h = new

    def _lstm(
        self, inputs: GateInputs, state: Sequence[Floats], hidden: Floats, memory: Floats | None, work: Floats
    ) -> None:
        """Compute a = x + h @ U; i, f, o = σ(a[:3]); ĉ = act(a[3]); c = f * c + i * ĉ; h = o * act(c)."""
        gates, (enter, forget, leave, candidate), (h, c) = work[:3], work, state
        multiply = self.recurrent.into(work)
        for t, new in enumerate(hidden):
            multiply(h)
            work += inputs(t)
            self.turn(gates)
            self.activate(candidate)
            c /= forget  # f * c
            candidate /= enter  # i * ĉ
            c += candidate
            if memory is not None:
                np.copyto(memory[t], c)
            np.copyto(new, c)
            self.activate(new)
            np.divide(new, leave, out=new)  # o * act(c)
            h = new

    def _gru(self, inputs: GateInputs, h: Floats, hidden: Floats, work: Floats) -> None:
        """Compute a = h @ U; z, r = σ(x[:2] + a[:2]); ĥ = act(x[2] + r * (a[2] + b)); h = ĥ + z * (h - ĥ)."""
        gates, (update, reset, candidate) = work[:2], work
        multiply = self.recurrent.into(work)
        inner = None if self.inner is None else np.repeat(self.inner[None], len(h), axis=0)
        for t, new in enumerate(hidden):
            multiply(h)
            x = inputs(t)
            gates += x[:2]
            self.turn(gates)
            if inner is not None:
                candidate += inner
            candidate /= reset  # r * (…)
            candidate += x[2]
            self.activate(candidate)
            h = _between(candidate, h, update, new)

    def _gru_reset_before(self, inputs: GateInputs, h: Floats, hidden: Floats, work: Floats, weights: Matrix) -> None:
        """Compute z, r = σ(x[:2] + h @ U[:2]); ĥ = act(x[2] + (r * h) @ U[2]); h = ĥ + z * (h - ĥ)."""
        gates, (update, reset, candidate), scaled = work[:2], work, np.empty_like(h)
        multiply, multiply_scaled = self.recurrent.into(gates), weights.into(candidate)
        for t, new in enumerate(hidden):
            multiply(h)
            x = inputs(t)
            gates += x[:2]
            self.turn(gates)
            multiply_scaled(np.divide(h, reset, out=scaled))
            candidate += x[2]
            self.activate(candidate)
            h = _between(candidate, h, update, new)


def _between(candidate: Floats, h: Floats, update: Floats, new: Floats) -> Floats:
    """Return ĥ + z * (h - ĥ), in `new`; `update` holds 1 / z."""
    np.subtract(h, candidate, out=new)
    np.divide(new, update, out=new)
    np.add(new, candidate, out=new)
    return new


def _in_place(activation: str) -> InPlace:
    """Return an activation that overwrites its argument."""
    if activation == "tanh":
        return lambda a: np.tanh(a, out=a)
    function = FUNCTIONS[activation]
    return function if activation == "linear" else lambda a: np.copyto(a, function(a))


def _turned(gate: str) -> InPlace:
    """Return what overwrites the arguments of gates with 1 / gate; for σ they are -a, and become 1 + exp(-a)."""

    def turn(negated: Floats) -> None:
        np.exp(negated, out=negated)
        negated += 1

    function = FUNCTIONS[gate]
    return turn if gate == "sigmoid" else lambda a: np.reciprocal(function(a), out=a)
