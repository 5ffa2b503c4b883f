"""The arithmetic of recurrent layers: everything that does not depend on the state is taken out of the loop over time.

The formulas are those of Keras' cells (and of its documentation; for the GRU with `reset_after`, cuDNN's variant). A
gate σ(a) = 1 / (1 + e^−a) only ever multiplies, so that dividing by 1 + e^−a does in one step what a reciprocal and a
product do in two. The signs of a gate's weights are turned when they are read, and e^−a needs no negation.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rnneval.backends.numpy.activations import FUNCTIONS, Floats, Function, sigmoid
from rnneval.backends.numpy.chain import GATES, SLOTS
from rnneval.backends.numpy.products import Matrix

InPlace = Callable[[Floats], Any]
"""Function that overwrites its argument with its result."""


class Inputs(Protocol):
    """The input's part of every gate, `(gates, rows, units)` a step."""

    def at(self, step: int) -> Floats:
        """Return the part of one step; it is overwritten by the next."""
        ...


@dataclass(frozen=True, kw_only=True)
class LookedUp:
    """Inputs' parts that are rows of a table."""

    table: Floats
    """`(gates, V, units)`."""
    ids: NDArray[np.int32]
    """`(steps, rows)`."""
    found: Floats
    """Buffer, `(gates, rows, units)`."""

    def at(self, step: int) -> Floats:
        """Look up the part of one step."""
        # Ids are known to be in the table; mode="raise" would make a copy.
        return np.take(self.table, self.ids[step], axis=1, out=self.found, mode="clip")


@dataclass(frozen=True, kw_only=True)
class Computed:
    """Inputs' parts that were made for some steps at once."""

    parts: Floats
    """`(gates, steps · rows, units)`."""
    rows: int

    def at(self, step: int) -> Floats:
        """Return the part of one step."""
        part: Floats = self.parts[:, step * self.rows : (step + 1) * self.rows]
        return part


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """A recurrent layer whose weights are arranged for the loop: gates first, GRU z, r, h; LSTM i, f, o, c."""

    kind: str
    """GRU, LSTM or SimpleRNN."""
    kernel: Matrix
    """Input weights, `(gates, inputs, units)`."""
    recurrent: Matrix
    """Recurrent weights, `(gates, units, units)`; of a GRU with the reset before the product, those of z and r."""
    candidate: Matrix | None
    """Recurrent weights of the candidate of such a GRU, `(units, units)`."""
    bias: Floats | None
    """Biases of the input's products, `(gates, 1, units)`."""
    inner: Floats | None
    """Bias of the candidate's recurrent product, `(units,)`, of a GRU with reset_after."""
    activate: InPlace
    """The activation of the candidate, in place."""
    divide: InPlace
    """Turns the arguments of gates into what a product is divided by, in place."""

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of the parts of its state."""
        return SLOTS[self.kind]

    @property
    def gates(self) -> int:
        """Count of its gates, the candidate included."""
        return GATES[self.kind]

    @property
    def units(self) -> int:
        """Count of its units."""
        return self.recurrent.shape[2]

    @property
    def inputs(self) -> int:
        """Count of numbers that it reads for a token."""
        return self.kernel.shape[1]

    def project(self, rows: Floats | None, out: Floats | None = None) -> Floats:
        """Return the input's part of every gate, `(gates, n, units)`.

        Args:
            rows: Inputs `(n, inputs)`; None for one-hot rows of every id.
            out: Where to put it.
        """
        product = self.kernel.times(rows, out)
        if self.bias is not None:
            product += self.bias
        return product

    def run(self, inputs: Inputs, state: Sequence[Floats], hidden: Floats, memory: Floats | None, work: Floats) -> None:
        """Run over some steps.

        Args:
            inputs: The input's part of every gate.
            state: The parts of the state, `(rows, units)` each; overwritten with the state after the last step.
            hidden: Gets h after every step, `(steps, rows, units)`.
            memory: Gets c after every step; None where it is not wanted.
            work: Buffer for the arguments of the gates, `(gates, rows, units)`.
        """
        if self.kind == "LSTM":
            self._lstm(inputs, state, hidden, memory, work)
        elif self.kind == "SimpleRNN":
            self._simple(inputs, state[0], hidden, work)
        else:
            self._gru(inputs, state[0], hidden, work)
        np.copyto(state[0], hidden[-1])

    def _gru(self, inputs: Inputs, h: Floats, hidden: Floats, work: Floats) -> None:
        """Compute z, r, ĥ and h = ĥ + z·(h − ĥ).

        ĥ is act(x + r·(h U + b)) with the reset after the product, and act(x + (r·h) U) with the reset before it.
        """
        gates, (update, reset, candidate), kept = work[:2], work, np.empty_like(h)
        multiply = self.recurrent.into(work if self.candidate is None else gates)
        multiply_reset = None if self.candidate is None else self.candidate.into(candidate)
        inner = None if self.inner is None else np.repeat(self.inner[None], len(h), axis=0)
        for t, new in enumerate(hidden):
            multiply(h)
            part = inputs.at(t)
            gates += part[:2]
            self.divide(gates)
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
        self, inputs: Inputs, state: Sequence[Floats], hidden: Floats, memory: Floats | None, work: Floats
    ) -> None:
        """Compute i, f, o, ĉ, then c = f·c + i·ĉ and h = o·act(c)."""
        gates, (enter, forget, leave, candidate), (h, c) = work[:3], work, state
        multiply = self.recurrent.into(work)
        for t, new in enumerate(hidden):
            multiply(h)
            work += inputs.at(t)
            self.divide(gates)
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

    def _simple(self, inputs: Inputs, h: Floats, hidden: Floats, work: Floats) -> None:
        """Compute h = act(x + h U)."""
        multiply = self.recurrent.into(work)
        for t, new in enumerate(hidden):
            multiply(h)
            np.add(work[0], inputs.at(t)[0], out=new)
            self.activate(new)
            h = new


def cell_of(
    kind: str, weights: Mapping[str, Floats], *, activation: str, gate: str = "sigmoid", reset_after: bool = True
) -> Cell:
    """Arrange Keras' weights for the loop.

    Args:
        kind: GRU, LSTM or SimpleRNN.
        weights: `kernel`, `recurrent_kernel` and, if there is one, `bias`, as Keras has them.
        activation: The name of the activation.
        gate: The name of the recurrent activation.
        reset_after: Whether a GRU resets after the recurrent product.
    """
    count = GATES[kind]
    kernel, recurrent, bias = weights["kernel"], weights["recurrent_kernel"], weights.get("bias")
    inner = None
    if bias is not None:
        parts = bias.reshape(-1, count, recurrent.shape[0])
        bias = parts.sum(axis=0)[:, None]
        if len(parts) == 2:  # a GRU with reset_after: the candidate's second bias stays under the reset
            bias[2, 0], inner = parts[0, 2], parts[1, 2]
    # Keras' LSTM has i, f, c, o; the three gates belong side by side. Signs of gates are turned.
    order = [0, 1, 3, 2][:count] if kind == "LSTM" else list(range(count))
    sign = np.ones((count, 1, 1), kernel.dtype)
    sign[: count - 1] = -1 if gate == "sigmoid" else 1
    kernel, recurrent = (
        array.reshape(len(array), count, -1).swapaxes(0, 1)[order] * sign for array in (kernel, recurrent)
    )
    resets_before = kind == "GRU" and not reset_after
    return Cell(
        kind=kind,
        kernel=Matrix(kernel),
        recurrent=Matrix(recurrent[:2] if resets_before else recurrent),
        candidate=Matrix(recurrent[2]) if resets_before else None,
        bias=None if bias is None else bias[order] * sign,
        inner=inner,
        activate=_in_place(activation),
        divide=_divisor_of_turned if gate == "sigmoid" else partial(_divisor, FUNCTIONS[gate]),
    )


def _in_place(activation: str) -> InPlace:
    """Return an activation that overwrites its argument."""
    if activation == "tanh":
        return lambda a: np.tanh(a, out=a)
    if activation == "linear":
        return lambda a: a
    return partial(_overwrite, FUNCTIONS[activation])


def _overwrite(function: Function, a: Floats) -> None:
    np.copyto(a, function(a))


def _divisor_of_turned(turned: Floats) -> None:
    """Turn −a into 1 + e^−a = 1 / σ(a)."""
    np.exp(turned, out=turned)
    turned += 1


def _divisor(function: Function, a: Floats) -> None:
    np.reciprocal(function(a), out=a)


def gate_function(name: str) -> Function | None:
    """Return the function of the gates as an observer needs it; None for the logistic function."""
    return None if FUNCTIONS[name] is sigmoid else FUNCTIONS[name]
