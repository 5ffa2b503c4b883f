"""The arithmetic of layers: activation functions, products of rows with weights, recurrent cells, dense layers."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.checkpoints.keras2 import HARD_SIGMOID

Floats = NDArray[np.floating[Any]]
Function = Callable[[Floats], Floats]
InPlace = Callable[[Floats], object]  # function that overwrites its argument with its result
Parts = Callable[[int], Floats]
"""Function that returns the input's part of every gate of a step, `(gates, rows, units)`, valid until the next."""

SLOTS: Mapping[str, tuple[str, ...]] = {"GRU": ("h",), "LSTM": ("h", "c"), "SimpleRNN": ("h",)}
"""The recurrent layers, and the parts of their states."""
GATES: Mapping[str, int] = {"GRU": 3, "LSTM": 4, "SimpleRNN": 1}  # columns of a kernel for each unit


# Activation functions by their names in Keras, with the formulas of https://keras.io/api/layers/activations


def _sigmoid(x: Floats) -> Floats:
    gate: Floats = np.reciprocal(np.exp(-x) + 1)
    return gate


def _softmax(x: Floats) -> Floats:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    quotient: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return quotient


def _gelu(x: Floats) -> Floats:
    from scipy.special import erf  # slow to import, and rarely needed

    normal: Floats = 0.5 * x * (1 + erf(x / math.sqrt(2)))
    return normal


FUNCTIONS: Mapping[str, Function] = {
    "linear": lambda x: x,
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "softmax": _softmax,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "gelu": _gelu,
    "silu": lambda x: x * _sigmoid(x),
    "swish": lambda x: x * _sigmoid(x),
    "softplus": lambda x: np.logaddexp(x, np.float32(0)),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "hard_sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    HARD_SIGMOID: lambda x: np.clip(0.2 * x + 0.5, 0, 1),  # that of Keras 2
}
"""The functions; each takes an array and returns another of the same shape. Keras runs models with others."""

# Products of rows with weights, in one thread of linear algebra and in pieces of a size that it is fast with.
# OpenBLAS copies the factors of a product into an order of its own first. With AVX-512 it multiplies small ones where
# they lie: a quarter less time for layers of 128 to 256 units if they begin at a cache line (docs/evidence/speed.md).
_LINE = 64  # bytes of a cache line, and of an AVX-512 register
_SMALL = 10**6
"""The most multiplications of a small product (OpenBLAS, `kernel/x86_64/sgemm_small_kernel_permit_skylakex.c`)."""
_ROWS, _FEWEST = 128, 60  # the most rows of a piece, and how many it must be able to have for its width to be chosen
_WIDTHS = 64, 32  # columns of a piece, the best first; all columns where their number is a multiple of neither
_AVX512 = {"SkylakeX", "Cooperlake", "SapphireRapids"}
"""OpenBLAS' names of the processors for which it has such products."""


@cache
def _blas() -> Any:
    """Return the libraries of linear algebra that are loaded; they are searched for once."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let linear algebra run in one thread while the block runs: many threads spin where a machine is busy."""
    with _blas().limit(limits=1, user_api="blas"), np.errstate(all="ignore"):
        yield


@cache
def _small_is_fast() -> bool:
    return any(library.get("architecture") in _AVX512 for library in _blas().info())


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
        self._rows, self._panels = _ROWS, None
        *before, inputs, outputs = weights.shape
        for width in (*_WIDTHS, outputs) if _small_is_fast() else ():
            rows = _SMALL // (inputs * width)
            if outputs % width == 0 and rows >= _FEWEST:
                self._rows = min(rows, _ROWS)
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

    def __init__(
        self, kind: str, weights: Mapping[str, Floats], *, activation: str, gate: str, reset_after: bool
    ) -> None:
        """Arrange Keras' weights, `kernel`, `recurrent_kernel` and, if there is one, `bias`; activations go by name."""
        self.kind, self.slots, self.gates = kind, SLOTS[kind], GATES[kind]
        kernel, recurrent, bias = weights["kernel"], weights["recurrent_kernel"], weights.get("bias")
        self.inputs, self.units = len(kernel), len(recurrent)
        self.inner: Floats | None = None  # bias of the candidate's recurrent product, of a GRU with reset_after
        if bias is not None:
            parts = bias.reshape(-1, self.gates, self.units)
            bias = parts.sum(axis=0)[:, None]
            if len(parts) == 2:  # a GRU with reset_after: the candidate's second bias stays under the reset
                bias[2, 0], self.inner = parts[0, 2], parts[1, 2]
        # Keras' LSTM has i, f, c, o; the three gates belong side by side. Signs of gates are turned.
        order = [0, 1, 3, 2] if kind == "LSTM" else list(range(self.gates))
        sign = np.ones((self.gates, 1, 1), np.float32)
        sign[: self.gates - 1] = -1 if gate == "sigmoid" else 1
        kernel, recurrent = (
            array.reshape(len(array), self.gates, -1).swapaxes(0, 1)[order] * sign for array in (kernel, recurrent)
        )
        self.kernel = Matrix(kernel)  # (gates, inputs, units)
        self.bias = None if bias is None else bias[order] * sign  # (gates, 1, units)
        self.recurrent, self.candidate = Matrix(recurrent), None  # (gates, units, units)
        if kind == "GRU" and not reset_after:  # the candidate has a product of its own, after the reset
            self.recurrent, self.candidate = Matrix(recurrent[:2]), Matrix(recurrent[2])
        self.activate, self.divide = _in_place(activation), _divisor(gate)

    def project(self, rows: Floats | None, out: Floats | None = None) -> Floats:
        """Return the input's part of every gate, `(gates, n, units)`, in `out` if given; see `Matrix.times` on rows."""
        product = self.kernel.times(rows, out)
        if self.bias is not None:
            product += self.bias
        return product

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
        """Compute z, r, ĥ and h = ĥ + z·(h − ĥ).

        ĥ is act(x + r·(h U + b)) with the reset after the product, and act(x + (r·h) U) with the reset before it.
        """
        gates, (update, reset, candidate), kept = work[:2], work, np.empty_like(h)
        multiply = self.recurrent.into(work if self.candidate is None else gates)
        multiply_reset = None if self.candidate is None else self.candidate.into(candidate)
        inner = None if self.inner is None else np.repeat(self.inner[None], len(h), axis=0)
        for t, new in enumerate(hidden):
            multiply(h)
            part = inputs(t)
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
        self, inputs: Parts, state: Sequence[Floats], hidden: Floats, memory: Floats | None, work: Floats
    ) -> None:
        """Compute i, f, o, ĉ, then c = f·c + i·ĉ and h = o·act(c)."""
        gates, (enter, forget, leave, candidate), (h, c) = work[:3], work, state
        multiply = self.recurrent.into(work)
        for t, new in enumerate(hidden):
            multiply(h)
            work += inputs(t)
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Dense:
    """A Dense layer."""

    kernel: Matrix
    bias: Floats | None
    activation: Function

    def __call__(self, rows: Floats | None, out: Floats | None = None) -> Floats:
        """Return act(rows · kernel + bias), `(n, units)`; rows None stands for one-hot rows of every id."""
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
