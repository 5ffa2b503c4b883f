"""Models of half precision are evaluated in float32: the same weights, without rounding every product to 3 digits."""

from typing import Any

import keras
import tensorflow as tf

from rnneval.models.layers import sublayers
from rnneval.models.lm import model_variables

_HALVES = ("float16", "bfloat16")


def in_float32(model: Any) -> tuple[str, ...]:
    """Let every layer compute in float32, whatever the policy under which it was made.

    Returns:
        What is to be said of it: nothing, or one sentence that names the policies.
    """
    layers = [layer for layer in (model, *sublayers(model)) if isinstance(layer, keras.layers.Layer)]
    named = {layer.dtype_policy.name for layer in layers if layer.compute_dtype in _HALVES}
    if not named:
        return ()
    for layer in layers:
        if layer.compute_dtype in _HALVES:
            layer.dtype_policy = "float32"
    for variable in model_variables(model):
        _widen(variable)
    return (f"saved under the policy {' and '.join(sorted(named))}: evaluated in float32",)


def _widen(variable: Any) -> None:
    """Hold the same numbers in float32: a float16 weight beside float32 inputs would be an error, not a cast."""
    if isinstance(variable, keras.Variable) and variable.dtype in _HALVES:
        values = tf.cast(variable.value, "float32")
        variable._dtype = "float32"
        variable._initialize(values)
