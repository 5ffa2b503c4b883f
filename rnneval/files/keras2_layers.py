"""One layer of Keras 2 in the words of Keras 3: which settings it has there, and which mean nothing any more.

A setting that is neither known nor known to be harmless is refused: dropping it could change the numbers in silence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rnneval.errors import CheckpointError
from rnneval.files.keras2_operations import OPERATION, operation_of

Config = dict[str, Any]

HARD_SIGMOID = "keras2_hard_sigmoid"
"""0.2 x + 0.5 between 0 and 1, as Keras 2 has it; that of Keras 3 under the same name is x / 6 + 0.5."""

_EVERY = ("name", "trainable")
_RECURRENT = ("return_sequences", "return_state", "go_backwards", "stateful", "unroll")
_CELL = ("units", "activation", "use_bias", "dropout", "recurrent_dropout")
_GATED = (*_CELL, "recurrent_activation")
_CONV = (
    "filters",
    "kernel_size",
    "strides",
    "padding",
    "data_format",
    "dilation_rate",
    "groups",
    "activation",
    "use_bias",
)
_POOL = ("pool_size", "strides", "padding", "data_format")
_MERGE: tuple[str, ...] = ()

# What each class keeps.
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "Embedding": ("input_dim", "output_dim", "mask_zero"),
    "Dense": ("units", "activation", "use_bias"),
    "GRU": (*_GATED, *_RECURRENT, "reset_after"),
    "LSTM": (*_GATED, *_RECURRENT),
    "SimpleRNN": (*_CELL, *_RECURRENT),
    "CuDNNGRU": ("units", *_RECURRENT),
    "CuDNNLSTM": ("units", *_RECURRENT),
    "GRUCell": (*_GATED, "reset_after"),
    "LSTMCell": _GATED,
    "SimpleRNNCell": _CELL,
    "RNN": (*_RECURRENT, "cell"),
    "StackedRNNCells": ("cells",),
    "TimeDistributed": ("layer",),
    "Bidirectional": ("layer", "backward_layer", "merge_mode"),
    "Dropout": ("rate", "noise_shape"),
    "SpatialDropout1D": ("rate",),
    "GaussianNoise": ("stddev",),
    "GaussianDropout": ("rate",),
    "AlphaDropout": ("rate",),
    "Activation": ("activation",),
    "Softmax": ("axis",),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "LeakyReLU": ("negative_slope",),
    "ELU": ("alpha",),
    "PReLU": ("shared_axes",),
    "BatchNormalization": ("axis", "momentum", "epsilon", "center", "scale"),
    "LayerNormalization": ("axis", "epsilon", "center", "scale"),
    "Masking": ("mask_value",),
    "Flatten": ("data_format",),
    "Reshape": ("target_shape",),
    "Permute": ("dims",),
    "RepeatVector": ("n",),
    "Concatenate": ("axis",),
    "Dot": ("axes", "normalize"),
    **dict.fromkeys(("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"), _MERGE),
    "Conv1D": _CONV,
    **dict.fromkeys(("MaxPooling1D", "AveragePooling1D"), _POOL),
    **dict.fromkeys(("GlobalMaxPooling1D", "GlobalAveragePooling1D"), ("data_format", "keepdims")),
    "Attention": ("use_scale", "score_mode", "dropout"),
    "AdditiveAttention": ("use_scale", "dropout"),
    "ActivityRegularization": (),
}

# What no prediction depends on: how weights were made and trained, and how a layer was placed or run.
_HARMLESS = frozenset(
    (
        "batch_input_shape", "batch_shape", "input_length", "input_dtype", "dtype", "implementation", "consume_less",
        "time_major", "unit_forget_bias", "seed", "build_config", "shared_object_id", "batch_size", "ragged",
        "zero_output_for_mask", "reverse_state_order", "noise_shape", "fused", "autocast", "l1", "l2", "synchronized",
        "momentum", "lora_rank",
    )
)  # fmt: skip
_ENDINGS = ("_initializer", "_regularizer", "_constraint", "_quantizer")
_OLD_NAMES = {"LeakyReLU": {"alpha": "negative_slope"}}
_HALVES = ("float16", "bfloat16", "mixed_float16", "mixed_bfloat16")
_INNER = {"cell": "cell", "layer": "layer", "backward_layer": "backward_layer"}


@dataclass(kw_only=True, eq=False)
class Rewriting:
    """What is being rewritten, and what was noticed on the way."""

    path: str
    custom: Sequence[str] = ()
    """Names of the classes and functions that the user's own code brings."""
    notes: dict[str, None] = field(default_factory=dict)

    def note(self, said: str) -> None:
        """Keep a sentence for whoever opens the file, once."""
        self.notes[said] = None


def rewritten_layer(layer: Config, at: Rewriting) -> Config:
    """Give a layer's (or cell's) entry as Keras 3 reads it.

    Raises:
        CheckpointError: it is of an unknown class, or has a setting that Keras 3 has not.
    """
    name = str(layer.get("class_name", ""))
    config = dict(layer.get("config") or {})
    _look_at_dtype(config.get("dtype"), at)
    if name.rpartition(">")[2] in at.custom or name in at.custom:
        return _users(name, config, at)
    if name == "TFOpLambda":
        return _operation(config, at)
    if name not in SETTINGS:
        raise CheckpointError(_unknown_class(name, config, at), rule="config-class")
    return _entry(name.removeprefix("CuDNN"), _settings(name, config, at))


def _operation(config: Config, at: Rewriting) -> Config:
    """An operation of TensorFlow between layers, computed by Keras 3's own."""
    where = f"{at.path}: refused by rule config-function: layer {config.get('name', '?')}"
    function = operation_of(config, where)
    at.note(f"the operation tf.{function} in the graph is computed by Keras 3's own")
    kept = {"name": str(config.get("name", function)), "function": function}
    return {"module": None, "class_name": OPERATION, "config": kept, "registered_name": OPERATION}


def _entry(name: str, config: Config) -> Config:
    return {"module": "keras.layers", "class_name": name, "config": config, "registered_name": None}


def _users(name: str, config: Config, at: Rewriting) -> Config:
    """A class of the user's own: its configuration is its own affair."""
    own = {key: value for key, value in config.items() if key not in {"batch_input_shape", "dtype"}}
    for key in _INNER.keys() & own.keys():
        if isinstance(own[key], dict):
            own[key] = rewritten_layer(own[key], at)
    found = name if name in at.custom else name.rpartition(">")[2]
    return {"module": None, "class_name": found, "config": own, "registered_name": found}


def _unknown_class(name: str, config: Config, at: Rewriting) -> str:
    where = f"layer {config['name']} of class {name}" if config.get("name") else f"class {name or '?'}"
    if name in {"SlicingOpLambda", "TensorFlowOpLayer"}:
        what = "an operation of TensorFlow in the graph, which Keras 3 has no layer for"
    else:
        what = "which is no layer that is opened from files of Keras 2"
    return (
        f"{at.path}: refused by rule config-class: {where}: {what}: save the weights alone "
        "(model.save_weights('name.h5')), and give the code that makes the model, "
        "--builder FILE.py:NAME; or, for a layer of your own, name the module that has it"
    )


def _settings(name: str, config: Config, at: Rewriting) -> Config:
    kept: Config = {}
    for key, value in config.items():
        new = _OLD_NAMES.get(name, {}).get(key, key)
        if new in SETTINGS[name] or (key in _EVERY and (name, key) != ("SpatialDropout1D", "trainable")):
            kept[new] = _value(new, value, at)
        elif not (key in (*_EVERY, *_HARMLESS) or key.endswith(_ENDINGS) or not value):
            raise CheckpointError(
                f"{at.path}: layer {config.get('name', '?')} ({name}) has the setting {key}={value!r}, which Keras 3 "
                "does not know: give the code that makes the model, --builder FILE.py:NAME, and the weights alone"
            )
    return kept | _defaults_of_then(name, kept)


def _defaults_of_then(name: str, kept: Config) -> Config:
    """What was the default when a setting did not exist yet."""
    if name in {"GRU", "GRUCell"} and "reset_after" not in kept:
        return {"reset_after": False}
    if name == "CuDNNGRU":
        return {"reset_after": True}
    if name == "BatchNormalization" and isinstance(kept.get("axis"), (list, tuple)):
        return {"axis": int(kept["axis"][0])}
    return {}


def _value(key: str, value: Any, at: Rewriting) -> Any:
    if key.endswith("activation"):
        return _activation(value, at)
    if key in _INNER:
        return None if value is None else rewritten_layer(value, at)
    if key == "cells":
        return [rewritten_layer(cell, at) for cell in value]
    if not _is_plain(value):
        raise CheckpointError(f"{at.path}: the setting {key} holds {str(value)[:60]!r}: a number or a word is expected")
    return value


def _is_plain(value: Any) -> bool:
    """No object hides in a number: Keras would make one of a dictionary."""
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


_ACTIVATIONS = frozenset(
    (
        "linear", "tanh", "sigmoid", "relu", "relu6", "softmax", "log_softmax", "elu", "selu", "gelu", "softplus",
        "softsign", "swish", "silu", "exponential", "mish", "leaky_relu", "hard_sigmoid",
    )
)  # fmt: skip


def _activation(value: Any, at: Rewriting) -> Any:
    if isinstance(value, dict):  # {"class_name": "function", "config": "tanh"}, or a layer such as LeakyReLU
        inner = value.get("config")
        value = inner if isinstance(inner, str) else value.get("class_name")
    name = "linear" if value is None else str(value)
    plain = name.rpartition(">")[2]
    if plain in at.custom or name in at.custom:
        return _function(name if name in at.custom else plain)
    if name not in _ACTIVATIONS:
        raise CheckpointError(
            f"{at.path}: refused by rule config-function: the activation {name} is not one of Keras: name the module "
            "that has it, --builder FILE.py:NAME",
            rule="config-function",
        )
    if name == "hard_sigmoid":
        at.note("hard_sigmoid is Keras 2's (0.2 x + 0.5), not that of Keras 3 (x / 6 + 0.5)")
        return _function(HARD_SIGMOID)
    return name


def _function(name: str) -> Config:
    return {"module": None, "class_name": "function", "config": name, "registered_name": name}


def _look_at_dtype(dtype: Any, at: Rewriting) -> None:
    """Every layer is run in float32; where the file asks for less, that is said."""
    if isinstance(dtype, dict):
        dtype = (dtype.get("config") or {}).get("name")
    if dtype in _HALVES:
        at.note(f"saved under the policy {dtype}: evaluated in float32")
    if dtype == "float64":
        at.note("saved in float64: evaluated in float32")
