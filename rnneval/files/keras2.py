"""The configuration of a whole model of Keras 2, rewritten for Keras 3: plain dictionaries in and out."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from rnneval.errors import CheckpointError
from rnneval.files.keras2_layers import Config, Rewriting, rewritten_layer
from rnneval.files.keras2_nodes import rewritten_nodes, rewritten_reference
from rnneval.files.keras2_operations import OPERATION, arguments_of

_GRAPHS = ("Functional", "Model")


@dataclass(frozen=True, kw_only=True)
class Rewritten:
    """A configuration that Keras 3 reads, and what whoever opens the file should know."""

    config: Config
    notes: tuple[str, ...]


def rewrite(config: Config, *, path: str, version: str, custom: Sequence[str] = ()) -> Rewritten:
    """Rewrite the configuration of a Sequential or functional model of Keras 2.

    Args:
        config: What the file holds, read as JSON.
        path: Of the file, for messages.
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


def _model(model: Config, at: Rewriting) -> Config:
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


def _layer(layer: Config, at: Rewriting) -> Config:
    """A layer of a graph, or a model inside of it."""
    name = layer.get("class_name")
    if name == "InputLayer":
        return _input(layer.get("config") or {}, at)
    if name == "Sequential" or (name in _GRAPHS and "layers" in (layer.get("config") or {})):
        return _model(layer, at)
    return rewritten_layer(layer, at)


def _input(config: Config, at: Rewriting) -> Config:
    shape = config.get("batch_input_shape", config.get("batch_shape"))
    if config.get("sparse") or config.get("ragged"):
        raise CheckpointError(f"{at.path}: input {config.get('name')} is sparse or ragged: dense ids are needed")
    dtype = config.get("dtype")
    kept = {
        "batch_shape": shape,
        "dtype": dtype if dtype in {"int32", "int64"} else "float32",
        "name": config.get("name"),
    }
    return {"module": "keras.layers", "class_name": "InputLayer", "config": kept, "registered_name": None}


def _sequential(config: Any, at: Rewriting) -> Config:
    """Until Keras 2.2.3 the configuration was the list of layers itself, and the first one said the input's shape."""
    given = config if isinstance(config, list) else (config or {}).get("layers", [])
    _require_layers(given, at)
    layers = [_layer(layer, at) for layer in given]
    first = given[0].get("config") or {}
    if given[0].get("class_name") != "InputLayer" and isinstance(first, dict) and first.get("batch_input_shape"):
        shaped = {**first, "name": f"{first.get('name', 'layer')}_input"}
        layers.insert(0, _input(shaped if _is_ids(given[0]) else {**shaped, "dtype": "float32"}, at))
    name = config.get("name") if isinstance(config, dict) else None
    kept = {"name": name or "sequential", "layers": layers}
    return {"module": "keras", "class_name": "Sequential", "config": kept, "registered_name": "Sequential"}


def _is_ids(layer: Config) -> bool:
    return layer.get("class_name") == "Embedding"


def _functional(config: Config, at: Rewriting) -> Config:
    _require_layers(config["layers"], at)
    sequentials = {str(layer.get("name")) for layer in config["layers"] if layer.get("class_name") == "Sequential"}
    layers = [_connected(layer, sequentials, at) for layer in config["layers"]]
    kept = {"name": config.get("name", "model"), "trainable": True, "layers": layers}
    for ends in ("input_layers", "output_layers"):
        kept[ends] = [rewritten_reference(entry, sequentials) for entry in _entries(config.get(ends))]
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": kept,
        "registered_name": "Functional",
    }


def _connected(layer: Config, sequentials: Collection[str], at: Rewriting) -> Config:
    entry = _layer(layer, at)
    name = str(layer.get("name") or entry["config"].get("name"))
    nodes = rewritten_nodes(
        layer.get("inbound_nodes") or [],
        recurrent=_takes_states(entry),
        where=f"{at.path}: {name}",
        sequentials=sequentials,
    )
    if entry["class_name"] == OPERATION:
        function = entry["config"]["function"]
        nodes = [
            {
                **node,
                "kwargs": arguments_of(
                    function, node["kwargs"], f"{at.path}: refused by rule config-function: layer {name}"
                ),
            }
            for node in nodes
        ]
    return {**entry, "name": name, "inbound_nodes": nodes}


def _entries(ends: Any) -> list[Any]:
    """Inputs or outputs as a list, flattened as Keras flattens it: one may stand alone, several in a dictionary."""
    if isinstance(ends, dict):
        return [entry for key in sorted(ends) for entry in _entries(ends[key])]
    if isinstance(ends, list) and ends and isinstance(ends[0], str):
        return [ends]
    return [entry for part in ends or [] for entry in _entries(part)]


def _takes_states(entry: Config) -> bool:
    """Whether more than one tensor going in means the sequence and the initial states."""
    return entry["class_name"] in {"GRU", "LSTM", "SimpleRNN", "RNN", "Bidirectional"}


def _require_layers(layers: Any, at: Rewriting) -> None:
    if not isinstance(layers, list) or not layers or not all(isinstance(layer, dict) for layer in layers):
        raise CheckpointError(f"{at.path}: its configuration holds no layers: the file is damaged")
