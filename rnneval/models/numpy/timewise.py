"""Layers that treat each token alone: Dense, activations, LayerNormalization."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from rnneval.arrays import Floats
from rnneval.models.numpy.chain import FUNCTIONS, Entry, RowFunction, activation_name
from rnneval.models.numpy.products import Matrix


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
