"""Recurrent layers in float64, one stream and one step at a time, in NumPy alone.

Written from the formulas of the Keras documentation (and for the GRU from Cho et al. 2014 and the cuDNN variant that
`reset_after=True` names), never from rnneval: what they give is the answer that rnneval's must equal.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def sigmoid(x: Floats) -> Floats:
    return 0.5 * (1 + np.tanh(0.5 * x))


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A recurrent layer: its kind and the arrays of Keras' `get_weights()`."""

    kind: str
    kernel: Floats
    recurrent: Floats
    bias: Floats | None = None
    reset_after: bool = True

    @property
    def units(self) -> int:
        return self.recurrent.shape[0]

    @property
    def parts(self) -> int:
        """How many vectors its state has."""
        return 2 if self.kind == "LSTM" else 1

    def zeros(self) -> list[Floats]:
        return [np.zeros(self.units) for _ in range(self.parts)]

    def step(self, x: Floats, state: Sequence[Floats]) -> tuple[Floats, list[Floats]]:
        """Give the output and the new state of one step; x is `(inputs,)`."""
        return {"GRU": self._gru, "LSTM": self._lstm, "SimpleRNN": self._simple}[self.kind](x, state)

    def _biases(self) -> tuple[Floats, Floats]:
        zero = np.zeros(self.recurrent.shape[1])
        if self.bias is None:
            return zero, zero
        return (self.bias[0], self.bias[1]) if self.bias.ndim == 2 else (self.bias, zero)

    def _gru(self, x: Floats, state: Sequence[Floats]) -> tuple[Floats, list[Floats]]:
        (h,), u = state, self.units
        into, back = self._biases()
        xz, xr, xh = np.split(x @ self.kernel + into, 3)
        r_z, r_r, r_h = (self.recurrent[:, k * u : (k + 1) * u] for k in range(3))
        b_z, b_r, b_h = np.split(back, 3)
        z = sigmoid(xz + h @ r_z + b_z)
        r = sigmoid(xr + h @ r_r + b_r)
        inner = r * (h @ r_h + b_h) if self.reset_after else (r * h) @ r_h
        new = z * h + (1 - z) * np.tanh(xh + inner)
        return new, [new]

    def _lstm(self, x: Floats, state: Sequence[Floats]) -> tuple[Floats, list[Floats]]:
        h, c = state
        i, f, g, o = np.split(x @ self.kernel + h @ self.recurrent + self._biases()[0], 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        return h, [h, c]

    def _simple(self, x: Floats, state: Sequence[Floats]) -> tuple[Floats, list[Floats]]:
        new = np.tanh(x @ self.kernel + state[0] @ self.recurrent + self._biases()[0])
        return new, [new]


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Embedding, recurrent layers, dense: a language model."""

    embedding: Floats
    layers: tuple[Layer, ...]
    kernel: Floats
    bias: Floats

    def start(self) -> list[list[Floats]]:
        return [layer.zeros() for layer in self.layers]

    def logits(self, ids: ArrayLike, start: Sequence[Sequence[Floats]] | None = None) -> Floats:
        """Give `(time, V)` logits for one stream of ids `(time,)`."""
        return self.run(ids, start)[0]

    def run(self, ids: ArrayLike, start: Sequence[Sequence[Floats]] | None = None) -> tuple[Floats, list[list[Floats]]]:
        """Give the logits and each layer's last state."""
        states = [list(map(np.asarray, state)) for state in (start or self.start())]
        rows = []
        for token in np.asarray(ids):
            x = self.embedding[token]
            for k, layer in enumerate(self.layers):
                x, states[k] = layer.step(x, states[k])
            rows.append(x @ self.kernel + self.bias)
        return np.array(rows), states

    def losses(self, ids: ArrayLike, start: Sequence[Sequence[Floats]] | None = None) -> Floats:
        """Give −ln p of each token after the first, `(time − 1,)`."""
        ids = np.asarray(ids)
        return nats(self.logits(ids[:-1], start), ids[1:])


def nats(logits: Floats, targets: ArrayLike) -> Floats:
    """Give −ln softmax(logits)[target] of each row."""
    top = logits.max(axis=-1, keepdims=True)
    log_sum = top[:, 0] + np.log(np.exp(logits - top).sum(axis=-1))
    return log_sum - logits[np.arange(len(logits)), np.asarray(targets)]


def layer_of(keras_layer: object) -> Layer:
    """Take a Keras recurrent layer's or cell's numbers, in the order in which the documentation lists them."""
    weights = [np.asarray(w, np.float64) for w in keras_layer.get_weights()]  # type: ignore[attr-defined]
    return Layer(
        kind=type(keras_layer).__name__.removesuffix("Cell"),
        kernel=weights[0],
        recurrent=weights[1],
        bias=weights[2] if len(weights) > 2 else None,
        reset_after=bool(getattr(keras_layer, "reset_after", True)),
    )


def stack_of(embedding: object, recurrent: Sequence[object], dense: object) -> Stack:
    """Take the numbers of a Keras embedding, recurrent layers and dense layer."""
    kernel, bias = (np.asarray(w, np.float64) for w in dense.get_weights())  # type: ignore[attr-defined]
    table = np.asarray(embedding.get_weights()[0], np.float64)  # type: ignore[attr-defined]
    return Stack(embedding=table, layers=tuple(map(layer_of, recurrent)), kernel=kernel, bias=bias)
