"""Rewriting the configuration of a full model of Keras 2 for Keras 3: plain dictionaries in and out.

A setting that is neither known nor known to be harmless is refused: dropping it could change the numbers without a
warning. So is an operation of TensorFlow between layers (a `TFOpLambda`) that is not on the list below. The known ones
are computed by Keras 3's own operations (`rnneval.models.opening`); no name is ever looked up in TensorFlow.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rnneval.errors import CheckpointError

JsonObject = dict[str, Any]

HARD_SIGMOID = "keras2_hard_sigmoid"
"""0.2 x + 0.5 between 0 and 1, as in Keras 2; the function of the same name in Keras 3 is x / 6 + 0.5."""
OPERATION = "keras2_operation"
"""Our layer that stands for an operation of TensorFlow."""

_EVERY = ("name", "trainable")
_RECURRENT = ("return_sequences", "return_state", "go_backwards", "stateful", "unroll")
_CELL = ("units", "activation", "use_bias", "dropout", "recurrent_dropout")
_GATED = (*_CELL, "recurrent_activation")
_CONV = (
    "filters", "kernel_size", "strides", "padding", "data_format", "dilation_rate", "groups", "activation", "use_bias",
)  # fmt: skip
_POOL = ("pool_size", "strides", "padding", "data_format")
_MERGE: tuple[str, ...] = ()

# The settings that each class keeps.
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

# Settings that no prediction depends on: how weights were made and trained, and how a layer was placed or run.
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
_GRAPHS = ("Functional", "Model")
# With these, more than one incoming tensor means the sequence and the initial states.
_TAKE_STATES = {"GRU", "LSTM", "SimpleRNN", "RNN", "Bidirectional"}
_INNER = ("cell", "layer", "backward_layer")
_ACTIVATIONS = frozenset(
    (
        "linear", "tanh", "sigmoid", "relu", "relu6", "softmax", "log_softmax", "elu", "selu", "gelu", "softplus",
        "softsign", "swish", "silu", "exponential", "mish", "leaky_relu", "hard_sigmoid",
    )
)  # fmt: skip

# The operations that are known by their name in TensorFlow, and the parameters of the call in their order.
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
_WIDEST = 1 << 20  # one-hot rows; longer ones would take memory that no weight of the file accounts for
_DTYPES = {"float16": "float32", "float32": "float32", "float64": "float32", "int32": "int32", "int64": "int32"}


@dataclass(kw_only=True, eq=False)
class Rewriting:
    """A file that is being rewritten, and the notes for the user so far."""

    path: str
    custom: Sequence[str] = ()
    """Names of the classes and functions that the user's own code brings."""
    notes: dict[str, None] = field(default_factory=dict)

    def note(self, said: str) -> None:
        """Add a note, once."""
        self.notes[said] = None


def rewritten_layer(layer: JsonObject, at: Rewriting) -> JsonObject:
    """Rewrite the entry of a layer or cell.

    Raises:
        CheckpointError: it is of an unknown class, or has a setting that Keras 3 does not have.
    """
    name = str(layer.get("class_name", ""))
    config = dict(layer.get("config") or {})
    _note_dtype(config.get("dtype"), at)
    if name.rpartition(">")[2] in at.custom or name in at.custom:
        return _users_layer(name, config, at)
    if name == "TFOpLambda":
        return _operation(config, at)
    if name not in SETTINGS:
        raise CheckpointError(_unknown_class(name, config, at), rule="config-class")
    kept = _settings(name, config, at)
    return {
        "module": "keras.layers",
        "class_name": name.removeprefix("CuDNN"),
        "config": kept,
        "registered_name": None,
    }


def _note_dtype(dtype: Any, at: Rewriting) -> None:
    """Note that a layer is run in float32 where the file asks for another type."""
    if isinstance(dtype, dict):
        dtype = (dtype.get("config") or {}).get("name")
    if dtype in _HALVES:
        at.note(f"saved under the policy {dtype}: evaluated in float32")
    if dtype == "float64":
        at.note("saved in float64: evaluated in float32")


def _users_layer(name: str, config: JsonObject, at: Rewriting) -> JsonObject:
    """Return the entry of a class of the user's own; only the layers inside of it are rewritten."""
    own = {key: value for key, value in config.items() if key not in {"batch_input_shape", "dtype"}}
    for key in _INNER:
        if isinstance(own.get(key), dict):
            own[key] = rewritten_layer(own[key], at)
    found = name if name in at.custom else name.rpartition(">")[2]
    return {"module": None, "class_name": found, "config": own, "registered_name": found}


def _unknown_class(name: str, config: JsonObject, at: Rewriting) -> str:
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


def _settings(name: str, config: JsonObject, at: Rewriting) -> JsonObject:
    kept: JsonObject = {}
    for key, value in config.items():
        new = _OLD_NAMES.get(name, {}).get(key, key)
        if new in SETTINGS[name] or (key in _EVERY and (name, key) != ("SpatialDropout1D", "trainable")):
            kept[new] = _value(new, value, at)
        elif not (key in (*_EVERY, *_HARMLESS) or key.endswith(_ENDINGS) or not value):
            raise CheckpointError(
                f"{at.path}: layer {config.get('name', '?')} ({name}) has the setting {key}={value!r}, which Keras 3 "
                "does not know: give the code that makes the model, --builder FILE.py:NAME, and the weights alone"
            )
    # The defaults from before a setting existed differ from those of Keras 3.
    if name in {"GRU", "GRUCell"}:
        kept.setdefault("reset_after", False)
    elif name == "CuDNNGRU":
        kept["reset_after"] = True
    elif name == "BatchNormalization" and isinstance(kept.get("axis"), (list, tuple)):
        kept["axis"] = int(kept["axis"][0])
    return kept


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
    """Return whether a value is a number, a word or a list of them; Keras would make an object of a dictionary."""
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


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


def _function(name: str) -> JsonObject:
    return {"module": None, "class_name": "function", "config": name, "registered_name": name}


def _operation(config: JsonObject, at: Rewriting) -> JsonObject:
    """Rewrite an operation of TensorFlow between layers."""
    where = f"{at.path}: refused by rule config-function: layer {config.get('name', '?')}"
    function = operation_of(config, where)
    at.note(f"the operation tf.{function} in the graph is computed by Keras 3's own")
    kept = {"name": str(config.get("name", function)), "function": function}
    return {"module": None, "class_name": OPERATION, "config": kept, "registered_name": OPERATION}


def operation_of(config: Mapping[str, Any], where: str) -> str:
    """Return the known function that a `TFOpLambda` stands for.

    Raises:
        CheckpointError: the function is not known.
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


def arguments_of(function: str, named: Mapping[str, Any], where: str) -> JsonObject:
    """Return the arguments of an operation beside its first tensor.

    Raises:
        CheckpointError: the operation has no such parameter, or a value is neither a tensor nor a plain one.
    """
    found: JsonObject = {}
    for key, value in named.items():
        if key == "name" or value is None:
            continue
        tensor = isinstance(value, dict) and value.get("class_name") == "__keras_tensor__"
        known = key in ARGUMENTS[function][1:] and (tensor or isinstance(value, (bool, int, float, str)))
        if not known or (key == "depth" and not (isinstance(value, int) and 0 < value <= _WIDEST)):
            called = f"tf.{function} is called with {key}={str(value)[:60]}"
            raise CheckpointError(f"{where}: {called}, which is not known", rule="config-function")
        found[key] = _DTYPES.get(str(value), value) if key == "dtype" else value
    return found


# The graph of a model


@dataclass(frozen=True, kw_only=True)
class Rewritten:
    """A configuration that Keras 3 reads, and notes for the user."""

    config: JsonObject
    notes: tuple[str, ...]


def rewrite(config: JsonObject, *, path: str, version: str, custom: Sequence[str] = ()) -> Rewritten:
    """Rewrite the configuration of a Sequential or functional model of Keras 2.

    Args:
        config: The configuration in the file, read as JSON.
        path: The file, for messages.
        version: The version of Keras that wrote it.
        custom: Names of the classes and functions that the user's own code brings.

    Raises:
        CheckpointError: it is neither Sequential nor functional, or has a layer or a setting that is not known.
    """
    if version.startswith("1."):
        raise CheckpointError(
            f"{path}: written by Keras {version}, whose layers had other weights: load and save it in Keras 2 first"
        )
    at = Rewriting(path=path, custom=custom)
    at.note(f"written by Keras {version or '2'}; its configuration was rewritten for Keras 3")
    return Rewritten(config=_model(config, at), notes=tuple(at.notes))


def _model(model: JsonObject, at: Rewriting) -> JsonObject:
    name, config = str(model.get("class_name", "")), model.get("config")
    if name == "Sequential":
        return _sequential(config, at)
    if name in _GRAPHS and isinstance(config, dict) and "layers" in config:
        return _functional(config, at)
    if name.rpartition(">")[2] in at.custom:
        return rewritten_layer(model, at)
    raise CheckpointError(
        f"{at.path}: a subclassed model ({name or 'without a name'}), which only its own code can make: give it by "
        "--builder FILE.py:NAME, and the weights alone (model.save_weights('name.h5'))"
    )


def _layer(layer: JsonObject, at: Rewriting) -> JsonObject:
    """Rewrite a layer of a graph, or a model inside of it."""
    name = layer.get("class_name")
    if name == "InputLayer":
        return _input(layer.get("config") or {}, at)
    if name == "Sequential" or (name in _GRAPHS and "layers" in (layer.get("config") or {})):
        return _model(layer, at)
    return rewritten_layer(layer, at)


def _input(config: JsonObject, at: Rewriting) -> JsonObject:
    if config.get("sparse") or config.get("ragged"):
        raise CheckpointError(f"{at.path}: input {config.get('name')} is sparse or ragged: dense ids are needed")
    dtype = config.get("dtype")
    kept = {
        "batch_shape": config.get("batch_input_shape", config.get("batch_shape")),
        "dtype": dtype if dtype in {"int32", "int64"} else "float32",
        "name": config.get("name"),
    }
    return {"module": "keras.layers", "class_name": "InputLayer", "config": kept, "registered_name": None}


def _sequential(config: Any, at: Rewriting) -> JsonObject:
    """Rewrite a Sequential model.

    Until Keras 2.2.3 the configuration was the list of layers itself, and the first layer had the shape of the input.
    """
    given = config if isinstance(config, list) else (config or {}).get("layers", [])
    _require_layers(given, at)
    layers = [_layer(layer, at) for layer in given]
    first = given[0].get("config") or {}
    if given[0].get("class_name") != "InputLayer" and isinstance(first, dict) and first.get("batch_input_shape"):
        shaped = {**first, "name": f"{first.get('name', 'layer')}_input"}
        takes_ids = given[0].get("class_name") == "Embedding"
        layers.insert(0, _input(shaped if takes_ids else {**shaped, "dtype": "float32"}, at))
    name = config.get("name") if isinstance(config, dict) else None
    kept = {"name": name or "sequential", "layers": layers}
    return {"module": "keras", "class_name": "Sequential", "config": kept, "registered_name": "Sequential"}


def _functional(config: JsonObject, at: Rewriting) -> JsonObject:
    _require_layers(config["layers"], at)
    sequentials = {str(layer.get("name")) for layer in config["layers"] if layer.get("class_name") == "Sequential"}
    layers = [_connected(layer, sequentials, at) for layer in config["layers"]]
    kept = {"name": config.get("name", "model"), "trainable": True, "layers": layers}
    for ends in ("input_layers", "output_layers"):
        kept[ends] = [_reference(entry, sequentials) for entry in _flat(config.get(ends))]
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": kept,
        "registered_name": "Functional",
    }


def _require_layers(layers: Any, at: Rewriting) -> None:
    if not isinstance(layers, list) or not layers or not all(isinstance(layer, dict) for layer in layers):
        raise CheckpointError(f"{at.path}: its configuration holds no layers: the file is damaged")


def _flat(ends: Any) -> list[Any]:
    """Flatten inputs or outputs as Keras does: one may stand alone, several may be in a dictionary."""
    if isinstance(ends, dict):
        return [entry for key in sorted(ends) for entry in _flat(ends[key])]
    if isinstance(ends, list) and ends and isinstance(ends[0], str):
        return [ends]
    return [entry for part in ends or [] for entry in _flat(part)]


def _connected(layer: JsonObject, sequentials: Collection[str], at: Rewriting) -> JsonObject:
    """Rewrite a layer of a functional model and its inbound nodes."""
    entry = _layer(layer, at)
    name = str(layer.get("name") or entry["config"].get("name"))
    nodes = rewritten_nodes(
        layer.get("inbound_nodes") or [],
        recurrent=entry["class_name"] in _TAKE_STATES,
        where=f"{at.path}: {name}",
        sequentials=sequentials,
    )
    if entry["class_name"] == OPERATION:
        function, where = entry["config"]["function"], f"{at.path}: refused by rule config-function: layer {name}"
        nodes = [{**node, "kwargs": arguments_of(function, node["kwargs"], where)} for node in nodes]
    return {**entry, "name": name, "inbound_nodes": nodes}


def rewritten_nodes(
    nodes: list[Any], *, recurrent: bool, where: str, sequentials: Collection[str] = ()
) -> list[JsonObject]:
    """Rewrite the inbound nodes of one layer.

    Keras 2 has a list of `[layer, node, tensor, keyword arguments]` for each call. The initial states of a recurrent
    layer are further tensors of that list; Keras 3 wants them by name. For a model inside of the model, Keras 2 counts
    its construction as call 0; so does Keras 3 for functional models, but not for `sequentials`.

    Raises:
        CheckpointError: a node is none of these.

    Example:
        >>> node = rewritten_nodes([[["a", 0, 0, {}], ["b", 0, 1, {}]]], recurrent=True, where="gru")[0]
        >>> node["kwargs"]["initial_state"][0]["config"]["keras_history"]
        ['b', 0, 1]
    """
    try:
        return [_node(node, recurrent=recurrent, sequentials=sequentials) for node in nodes]
    except (IndexError, TypeError, ValueError, KeyError) as error:
        raise CheckpointError(f"{where}: how it is connected cannot be read ({error}): the file is damaged") from error


def _node(node: Any, *, recurrent: bool, sequentials: Collection[str]) -> JsonObject:
    if node and isinstance(node[0], str):  # one tensor, not in a list of its own
        node = [node]
    tensors = [_tensor(entry, sequentials) for entry in node]
    given = node[0][3] if len(node[0]) > 3 and isinstance(node[0][3], dict) else {}
    named = {
        key: _argument(value, sequentials) for key, value in given.items() if value is not None and key != "training"
    }
    if recurrent and len(tensors) > 1:
        return {"args": [tensors[0]], "kwargs": {**named, "initial_state": tensors[1:]}}
    return {"args": [tensors[0] if len(tensors) == 1 else tensors], "kwargs": named}


def _argument(value: Any, sequentials: Collection[str]) -> Any:
    if not isinstance(value, list):
        return value
    if len(value) in {3, 4} and isinstance(value[0], str) and all(isinstance(index, int) for index in value[1:3]):
        return _tensor(value, sequentials)
    return [_argument(item, sequentials) for item in value]


def _tensor(entry: Any, sequentials: Collection[str]) -> JsonObject:
    """Return a reference to a tensor; Keras replaces it by the tensor, which has its own shape and type."""
    config = {"shape": [None], "dtype": "float32", "keras_history": _reference(entry, sequentials)}
    return {"class_name": "__keras_tensor__", "config": config}


def _reference(entry: Any, sequentials: Collection[str]) -> list[Any]:
    """Rewrite one `[layer, node, tensor]`."""
    layer, node, index = str(entry[0]), int(entry[1]), int(entry[2])
    return [layer, max(0, node - 1) if layer in sequentials else node, index]
