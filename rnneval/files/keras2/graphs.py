"""Rewriting the configuration of a full model of Keras 2 for Keras 3: plain dictionaries in and out."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from rnneval.errors import CheckpointError
from rnneval.files.keras2.layer_settings import OPERATION, JsonObject, Rewriting, arguments_of, rewritten_layer

_GRAPHS = ("Functional", "Model")
# With these, more than one incoming tensor means the sequence and the initial states.
_TAKE_STATES = {"GRU", "LSTM", "SimpleRNN", "RNN", "Bidirectional"}


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
