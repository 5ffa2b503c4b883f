"""What an operation of TensorFlow in a graph of Keras 2 computes, by Keras 3's own operations."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops


def _one_hot(
    x: Any, *, depth: int, on_value: float = 1, off_value: float = 0, axis: int = -1, dtype: str = "float32"
) -> Any:
    rows = ops.one_hot(x, depth, axis=axis, dtype=dtype)
    return rows if (on_value, off_value) == (1, 0) else rows * (on_value - off_value) + off_value


_COMPUTED: Mapping[str, Callable[..., Any]] = {
    "one_hot": _one_hot,
    "cast": ops.cast,
    "math.add": lambda x, y: x + y,
    "__operators__.add": lambda x, y: x + y,
    "math.subtract": lambda x, y: x - y,
    "math.multiply": lambda x, y: x * y,
    "math.truediv": lambda x, y: x / y,
    "math.divide": lambda x, y: x / y,
    "math.negative": ops.negative,
    "math.tanh": ops.tanh,
    "math.sigmoid": ops.sigmoid,
    "math.exp": ops.exp,
    "math.square": ops.square,
    "nn.relu": ops.relu,
    "nn.softmax": lambda x, axis=-1: ops.softmax(x, axis=axis),
    "nn.log_softmax": lambda x, axis=-1: ops.log_softmax(x, axis=axis),
    "expand_dims": ops.expand_dims,
    "squeeze": lambda x, axis=None: ops.squeeze(x, axis=axis),
    "identity": lambda x: x,
}


class Keras2Operation(keras.layers.Layer):
    """A function of the tensors that go in and of constants; it has no weights."""

    def __init__(self, function: str, **named: Any) -> None:
        super().__init__(autocast=False, **named)
        self.function = function

    def call(self, x: Any, **named: Any) -> Any:
        """Compute it."""
        return _COMPUTED[self.function](x, **named)

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes."""
        return {**super().get_config(), "function": self.function}
