"""Operations of TensorFlow between the layers of a functional model of Keras 2, which stored each as a `TFOpLambda`.

Of the functions that a file may name, those below are known by what they compute, and are computed by Keras 3's own
operations (`rnneval.models.keras2_operations`). What is not here is refused; no name is ever looked up in TensorFlow.
"""

from collections.abc import Mapping
from typing import Any

from rnneval.errors import CheckpointError

OPERATION = "keras2_operation"
"""Our layer that stands for one."""

# What TensorFlow calls each, and the parameters of the call in their order.
ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "one_hot": ("indices", "depth", "on_value", "off_value", "axis", "dtype"),
    "cast": ("x", "dtype"),
    "math.add": ("x", "y"),
    "__operators__.add": ("x", "y"),
    "math.subtract": ("x", "y"),
    "math.multiply": ("x", "y"),
    "math.truediv": ("x", "y"),
    "math.divide": ("x", "y"),
    "math.negative": ("x",),
    "math.tanh": ("x",),
    "math.sigmoid": ("x",),
    "math.exp": ("x",),
    "math.square": ("x",),
    "nn.relu": ("features",),
    "nn.softmax": ("logits", "axis"),
    "nn.log_softmax": ("logits", "axis"),
    "expand_dims": ("input", "axis"),
    "squeeze": ("input", "axis"),
    "identity": ("input",),
}
_HARMLESS = {"name"}
_WIDEST = 1 << 20
_DTYPES = {"float16": "float32", "float32": "float32", "float64": "float32", "int32": "int32", "int64": "int32"}


def operation_of(config: Mapping[str, Any], where: str) -> str:
    """Give the known function that a `TFOpLambda` stands for.

    Raises:
        CheckpointError: another one.
    """
    function = str(config.get("function", ""))
    function = {"tf.one_hot": "one_hot", "math.softmax": "nn.softmax"}.get(function, function)
    if function not in ARGUMENTS:
        known = ", ".join(sorted(ARGUMENTS))
        raise CheckpointError(
            f"{where}: an operation of TensorFlow, tf.{function or '?'}, which is none of those that are known "
            f"({known}): save the weights alone (model.save_weights('name.h5')), and give the code that makes the "
            "model, --builder FILE.py:NAME",
            rule="config-function",
        )
    return function


def arguments_of(function: str, named: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Give what an operation is called with beside its first tensor; what is not known is not dropped.

    Raises:
        CheckpointError: a parameter that it has not, or a value that is neither a tensor nor a plain one.
    """
    found: dict[str, Any] = {}
    for key, value in named.items():
        if key in _HARMLESS or value is None:
            continue
        if key not in ARGUMENTS[function][1:] or not _is_plain(value) or (key == "depth" and not _is_width(value)):
            called = f"tf.{function} is called with {key}={str(value)[:60]}"
            raise CheckpointError(f"{where}: {called}, which is not known", rule="config-function")
        found[key] = _DTYPES.get(str(value), value) if key == "dtype" else value
    return found


def _is_width(value: Any) -> bool:
    """Whether one-hot rows may be so long; more would be memory that no weight of the file asks for."""
    return isinstance(value, int) and 0 < value <= _WIDEST


def _is_plain(value: Any) -> bool:
    tensor = isinstance(value, dict) and value.get("class_name") == "__keras_tensor__"
    return tensor or isinstance(value, (bool, int, float, str))
