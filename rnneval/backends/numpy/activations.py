"""Activation functions by their names in Keras, on NumPy arrays: the formulas of `keras.activations`.

The docs of Keras have each formula: https://keras.io/api/layers/activations. Results keep the type of the input.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Function = Callable[[Floats], Floats]

_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772  # Klambauer et al. 2017, section 2


def sigmoid(x: Floats) -> Floats:
    """Return 1 / (1 + e^−x)."""
    return np.reciprocal(np.exp(-x) + x.dtype.type(1))


def softmax(x: Floats) -> Floats:
    """Return e^x / Σ e^x along the last axis."""
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    quotient: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return quotient


def log_softmax(x: Floats) -> Floats:
    """Return ln softmax(x) along the last axis."""
    shifted = x - x.max(axis=-1, keepdims=True)
    logarithm: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return logarithm


def relu(x: Floats, *, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Floats:
    """Return x from `threshold` up to `max_value`, and below the threshold `negative_slope · (x − threshold)`.

    Example:
        >>> relu(np.array([-2.0, 1.0, 9.0]), negative_slope=0.5, max_value=6.0).tolist()
        [-1.0, 1.0, 6.0]
    """
    above = np.where(x > threshold, x, 0) if threshold else np.maximum(x, 0)
    if max_value is not None:
        above = np.minimum(above, max_value)
    if negative_slope:
        above = above + negative_slope * np.minimum(x - threshold, 0)
    return above.astype(x.dtype, copy=False)


def elu(x: Floats, *, alpha: float = 1.0) -> Floats:
    """Return x, or α (e^x − 1) where x is negative."""
    either: Floats = np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))).astype(x.dtype, copy=False)
    return either


def _softplus(x: Floats) -> Floats:
    return np.logaddexp(x, x.dtype.type(0))


def _gelu(x: Floats) -> Floats:
    from scipy.special import erf  # slow to import, and rarely needed

    normal: Floats = 0.5 * x * (1 + erf(x / x.dtype.type(np.sqrt(2))))
    return normal


def _hard_sigmoid(x: Floats) -> Floats:
    gate: Floats = np.clip(x + 3, 0, 6) / 6
    return gate


def keras2_hard_sigmoid(x: Floats) -> Floats:
    """Return 0.2 x + 0.5 between 0 and 1, as in Keras 2."""
    gate: Floats = np.clip(0.2 * x + 0.5, 0, 1)
    return gate


def _sparse_plus(x: Floats) -> Floats:
    return np.where(x <= -1, 0, np.where(x < 1, np.square(x + 1) / 4, x)).astype(x.dtype, copy=False)


def linear(x: Floats) -> Floats:
    """Return x."""
    return x


_SILU: Function = lambda x: x * sigmoid(x)  # noqa: E731 - it has two names
_HARD_SILU: Function = lambda x: x * _hard_sigmoid(x)  # noqa: E731

FUNCTIONS: Mapping[str, Function] = {
    "linear": linear,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "relu": relu,
    "relu6": lambda x: relu(x, max_value=6.0),
    "leaky_relu": lambda x: relu(x, negative_slope=0.2),
    "softmax": softmax,
    "log_softmax": log_softmax,
    "elu": elu,
    "celu": elu,
    "selu": lambda x: x.dtype.type(_SELU_SCALE) * elu(x, alpha=_SELU_ALPHA),
    "gelu": _gelu,
    "softplus": _softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "silu": _SILU,
    "swish": _SILU,
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "exponential": np.exp,
    "hard_sigmoid": _hard_sigmoid,
    "keras2_hard_sigmoid": keras2_hard_sigmoid,  # the name that `rnneval.files.keras2` gives it
    "hard_silu": _HARD_SILU,
    "hard_swish": _HARD_SILU,
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "log_sigmoid": lambda x: -_softplus(-x),
    "squareplus": lambda x: (x + np.sqrt(np.square(x) + 4)) / 2,
    "tanh_shrink": lambda x: x - np.tanh(x),
    "soft_shrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - x.dtype.type(0.5), 0),
    "hard_shrink": lambda x: np.where(np.abs(x) > 0.5, x, x.dtype.type(0)),
    "sparse_plus": _sparse_plus,
    "sparse_sigmoid": lambda x: np.clip(0.5 * (x + 1), 0, 1),
}
"""The functions; each takes an array and returns another of the same type and shape."""
