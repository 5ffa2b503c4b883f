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
from rnneval.backends.numpy.chain import SLOTS

InPlace = Callable[[Floats], Any]
"""Function that overwrites its argument with its result."""


class Inputs(Protocol):
    """The input's part of every gate, `(rows, gates · units)` a step."""

    def at(self, step: int) -> Floats:
        """Return the part of one step; it is overwritten by the next."""
        ...


@dataclass(frozen=True, kw_only=True)
class LookedUp:
    """Inputs' parts that are rows of a table."""

    table: Floats
    """`(V, gates · units)`."""
    ids: NDArray[np.int32]
    """`(steps, rows)`."""
    row: Floats
    """Buffer, `(rows, gates · units)`."""

    def at(self, step: int) -> Floats:
        """Look up the part of one step."""
        # Ids are known to be in the table; mode="raise" would make a copy.
        return np.take(self.table, self.ids[step], axis=0, out=self.row, mode="clip")


@dataclass(frozen=True, kw_only=True)
class Computed:
    """Inputs' parts that were made for all steps at once."""

    parts: Floats
    """`(steps, rows, gates · units)`."""

    def at(self, step: int) -> Floats:
        """Return the part of one step."""
        part: Floats = self.parts[step]
        return part


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """A recurrent layer whose weights are arranged for the loop."""

    kind: str
    """GRU, LSTM or SimpleRNN."""
    units: int
    kernel: Floats
    """Input weights, `(inputs, gates · units)`, in this order of gates: GRU z, r, h; LSTM i, f, o, c."""
    bias: Floats | None
    """Biases of the input's product, `(gates · units,)`."""
    recurrent: tuple[Floats, ...]
    """Recurrent weights, `(units, gates · units)`; of a GRU without reset_after, those of z and r, and those of h."""
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
    def width(self) -> int:
        """Count of numbers of the input's part."""
        return int(self.kernel.shape[1])

    def project(self, rows: Floats | None, out: Floats | None = None) -> Floats:
        """Return the input's part of every gate, `(n, gates · units)`.

        Args:
            rows: Inputs `(n, inputs)`; None for one-hot rows of every id.
            out: Where to put it.
        """
        product: Floats = self.kernel.copy() if rows is None else np.matmul(rows, self.kernel, out=out)
        if self.bias is not None:
            product += self.bias
        return product

    def buffers(self, rows: int) -> tuple[Floats, ...]:
        """Return the arrays in which `run` works."""
        sizes = [weights.shape[1] for weights in self.recurrent]
        return tuple(np.empty((rows, size), self.kernel.dtype) for size in (*sizes, self.units))

    def run(
        self,
        inputs: Inputs,
        state: Sequence[Floats],
        hidden: Floats,
        memory: Floats | None,
        work: tuple[Floats, ...],
    ) -> None:
        """Run over some steps.

        Args:
            inputs: The input's part of every gate.
            state: The parts of the state, `(rows, units)` each; overwritten with the state after the last step.
            hidden: Gets h after every step, `(steps, rows, units)`.
            memory: Gets c after every step; None where it is not wanted.
            work: Buffers of `buffers`.
        """
        loop = {"GRU": self._gru if len(self.recurrent) == 1 else self._gru_reset_before, "LSTM": self._lstm}
        loop.get(self.kind, self._simple)(inputs, state, hidden, memory, work)
        np.copyto(state[0], hidden[-1])

    def _gru(self, inputs: Inputs, state: Any, hidden: Floats, _: Any, work: tuple[Floats, ...]) -> None:
        """Compute z, r, ĥ = act(x + r·(h U + b)) and h = ĥ + z·(h − ĥ), with the reset after the product."""
        (recurrent,), units, total, h = self.recurrent, self.units, work[0], state[0]
        gates, candidate = total[:, : 2 * units], total[:, 2 * units :]
        update, reset = total[:, :units], total[:, units : 2 * units]
        for t, new in enumerate(hidden):
            np.matmul(h, recurrent, out=total)
            part = inputs.at(t)
            gates += part[:, : 2 * units]
            self.divide(gates)
            if self.inner is not None:
                candidate += self.inner
            candidate /= reset
            candidate += part[:, 2 * units :]
            self.activate(candidate)
            np.subtract(h, candidate, out=new)
            np.divide(new, update, out=new)
            np.add(new, candidate, out=new)
            h = new

    def _gru_reset_before(self, inputs: Inputs, state: Any, hidden: Floats, _: Any, work: tuple[Floats, ...]) -> None:
        """Compute z, r, ĥ = act(x + (r·h) U) and h = ĥ + z·(h − ĥ), with the reset before the product."""
        units, (gates, candidate, kept), h = self.units, work, state[0]
        update, reset = gates[:, :units], gates[:, units:]
        for t, new in enumerate(hidden):
            np.matmul(h, self.recurrent[0], out=gates)
            part = inputs.at(t)
            gates += part[:, : 2 * units]
            self.divide(gates)
            np.divide(h, reset, out=kept)
            np.matmul(kept, self.recurrent[1], out=candidate)
            candidate += part[:, 2 * units :]
            self.activate(candidate)
            np.subtract(h, candidate, out=new)
            np.divide(new, update, out=new)
            np.add(new, candidate, out=new)
            h = new

    def _lstm(
        self, inputs: Inputs, state: Any, hidden: Floats, memory: Floats | None, work: tuple[Floats, ...]
    ) -> None:
        """Compute i, f, o, ĉ, then c = f·c + i·ĉ and h = o·act(c)."""
        units, (total, _), (h, c) = self.units, work, state
        gates, candidate = total[:, : 3 * units], total[:, 3 * units :]
        enter, forget, leave = (total[:, k * units : (k + 1) * units] for k in range(3))
        for t, new in enumerate(hidden):
            np.matmul(h, self.recurrent[0], out=total)
            total += inputs.at(t)
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

    def _simple(self, inputs: Inputs, state: Any, hidden: Floats, _: Any, work: tuple[Floats, ...]) -> None:
        """Compute h = act(x + h U)."""
        h = state[0]
        for t, new in enumerate(hidden):
            np.matmul(h, self.recurrent[0], out=new)
            np.add(new, inputs.at(t), out=new)
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
    kernel, recurrent, bias = weights["kernel"], weights["recurrent_kernel"], weights.get("bias")
    units = int(recurrent.shape[0])
    inner = None
    if kind == "GRU" and bias is not None and bias.ndim == 2:
        inner = np.ascontiguousarray(bias[1, 2 * units :])
        bias = np.concatenate([(bias[0] + bias[1])[: 2 * units], bias[0, 2 * units :]])
    if kind == "LSTM":  # Keras has i, f, c, o; the three gates belong side by side
        order = np.concatenate([np.arange(2 * units), np.arange(3 * units, 4 * units), np.arange(2 * units, 3 * units)])
        kernel, recurrent = kernel[:, order], recurrent[:, order]
        bias = None if bias is None else bias[order]
    if gate == "sigmoid":
        sign = np.ones(kernel.shape[1], kernel.dtype)
        sign[: {"GRU": 2, "LSTM": 3, "SimpleRNN": 0}[kind] * units] = -1
        kernel, recurrent = kernel * sign, recurrent * sign
        bias = None if bias is None else bias * sign
    parts = (recurrent,)
    if kind == "GRU" and not reset_after:
        parts = (recurrent[:, : 2 * units], recurrent[:, 2 * units :])
    return Cell(
        kind=kind,
        units=units,
        kernel=np.ascontiguousarray(kernel),
        bias=bias,
        recurrent=tuple(np.ascontiguousarray(part) for part in parts),
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
