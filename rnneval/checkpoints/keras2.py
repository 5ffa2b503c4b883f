"""Files of Keras 2, read without Keras: the configuration is rewritten for Keras 3, the weights are read as arrays.

A setting that is neither known nor known to be harmless is refused: dropping it could change the numbers without a
warning. Weights are in groups named after layers, each a list of arrays in a known order. A GPU may have written the
layout of cuDNN's own layers: one matrix for each gate, with a row for each unit where Keras has a column, and two
biases for each gate, one with the input and one with the state. It is rearranged for Keras.
"""

import re
import tomllib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from rnneval.checkpoints.config import ACTIVATIONS
from rnneval.checkpoints.hdf5 import BROKEN
from rnneval.checkpoints.places import failure
from rnneval.errors import CheckpointError

AnyArray = NDArray[Any]
JsonObject = dict[str, Any]

HARD_SIGMOID = "keras2_hard_sigmoid"
"""0.2 x + 0.5 between 0 and 1, as in Keras 2; the function of the same name in Keras 3 is x / 6 + 0.5."""

IN_ORDER = "layers meet in their order: their names differ from those in the file"
REARRANGED = "weights were in the layout of cuDNN's own layers, and were rearranged"
"""Notes for the user on weights that were read."""

_EVERY = ("name", "trainable")
_LISTED = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
SETTINGS = {name: tuple(words.split()) for name, words in _LISTED["settings"].items()}
"""The settings that each class keeps."""
_HARMLESS = frozenset(_LISTED["harmless"].split())
_ENDINGS = ("_initializer", "_regularizer", "_constraint", "_quantizer")
_OLD_NAMES = {"LeakyReLU": {"alpha": "negative_slope"}}
_HALVES = ("float16", "bfloat16", "mixed_float16", "mixed_bfloat16")
_GRAPHS = ("Functional", "Model")
# With these, more than one incoming tensor means the sequence and the initial states.
_TAKE_STATES = {"GRU", "LSTM", "SimpleRNN", "RNN", "Bidirectional"}
_INNER = ("cell", "layer", "backward_layer")
_TOP = "top_level_model_weights"


def rewrite(
    config: JsonObject, *, path: str, version: str, custom: Sequence[str] = ()
) -> tuple[JsonObject, tuple[str, ...]]:
    """Rewrite the configuration of a Sequential or functional model of Keras 2 for Keras 3; return notes, too."""
    if version.startswith("1."):
        raise CheckpointError(
            f"{path}: written by Keras {version}, whose layers had other weights: load and save it in Keras 2 first"
        )
    rewriter = _Rewriter(path, custom)
    rewriter.note(f"written by Keras {version or '2'}; its configuration was rewritten for Keras 3")
    name = str(config.get("class_name", ""))
    if name != "Sequential" and not _is_graph(config) and name.rpartition(">")[2] not in custom:
        raise CheckpointError(
            f"{path}: a subclassed model ({name or 'without a name'}), which only its own code can make: give it "
            "by --builder FILE.py:NAME, and the weights alone (model.save_weights('name.h5'))"
        )
    return rewriter.entry(config), tuple(rewriter.notes)


def _entry(name: str, config: Any, *, module: str | None = "keras.layers", registered: str | None = None) -> JsonObject:
    return {"module": module, "class_name": name, "config": config, "registered_name": registered}


def _is_graph(layer: JsonObject) -> bool:
    """Return whether an entry is a functional model."""
    config = layer.get("config")
    return layer.get("class_name") in _GRAPHS and isinstance(config, dict) and "layers" in config


class _Rewriter:
    """A file that is being rewritten, and the notes for the user so far."""

    def __init__(self, path: str, custom: Sequence[str]) -> None:
        self._path, self._custom = path, custom
        self.notes: dict[str, None] = {}

    def note(self, text: str) -> None:
        """Add a note, once."""
        self.notes[text] = None

    def entry(self, layer: JsonObject) -> JsonObject:
        """Rewrite a model, a layer, or a layer or model inside of another."""
        if layer.get("class_name") == "InputLayer":
            return self._input(layer.get("config") or {})
        if layer.get("class_name") == "Sequential":
            return self._sequential(layer.get("config"))
        return self._functional(layer["config"]) if _is_graph(layer) else self._layer(layer)

    def _sequential(self, config: Any) -> JsonObject:
        # Until Keras 2.2.3 the configuration was the list of layers itself, and the first one had the input's shape.
        config = config if isinstance(config, dict) else {"layers": config}
        given = self._layers_of(config)
        layers = [self.entry(layer) for layer in given]
        kind, first = given[0].get("class_name"), given[0].get("config") or {}
        if kind != "InputLayer" and isinstance(first, dict) and first.get("batch_input_shape"):
            shaped = {**first, "name": f"{first.get('name', 'layer')}_input"}
            layers.insert(0, self._input(shaped if kind == "Embedding" else {**shaped, "dtype": "float32"}))
        settings = {"name": config.get("name") or "sequential", "layers": layers}
        return _entry("Sequential", settings, module="keras", registered="Sequential")

    def _functional(self, config: JsonObject) -> JsonObject:
        given = self._layers_of(config)
        sequentials = {str(layer.get("name")) for layer in given if layer.get("class_name") == "Sequential"}
        layers = []
        for layer in given:
            entry = self.entry(layer)
            name = str(layer.get("name") or entry["config"].get("name"))
            nodes, recurrent = layer.get("inbound_nodes") or [], entry["class_name"] in _TAKE_STATES
            nodes = _nodes(nodes, recurrent=recurrent, where=f"{self._path}: {name}", sequentials=sequentials)
            layers.append({**entry, "name": name, "inbound_nodes": nodes})
        settings = {"name": config.get("name", "model"), "trainable": True, "layers": layers}
        for ends in ("input_layers", "output_layers"):
            settings[ends] = [_reference(entry, sequentials) for entry in _flat(config.get(ends))]
        return _entry("Functional", settings, module="keras.src.models.functional", registered="Functional")

    def _layers_of(self, config: JsonObject) -> list[JsonObject]:
        layers = config.get("layers")
        if not isinstance(layers, list) or not layers or not all(isinstance(layer, dict) for layer in layers):
            raise CheckpointError(f"{self._path}: its configuration holds no layers: the file is damaged")
        return layers

    def _input(self, config: JsonObject) -> JsonObject:
        if config.get("sparse") or config.get("ragged"):
            raise CheckpointError(f"{self._path}: input {config.get('name')} is sparse or ragged: dense ids are needed")
        dtype = config.get("dtype")
        settings = {
            "batch_shape": config.get("batch_input_shape", config.get("batch_shape")),
            "dtype": dtype if dtype in {"int32", "int64"} else "float32",
            "name": config.get("name"),
        }
        return _entry("InputLayer", settings)

    def _layer(self, layer: JsonObject) -> JsonObject:
        """Rewrite the entry of a layer or cell; of a class of the user's own, only the layers inside of it."""
        name, config = str(layer.get("class_name", "")), dict(layer.get("config") or {})
        dtype = config.get("dtype")
        dtype = (dtype.get("config") or {}).get("name") if isinstance(dtype, dict) else dtype
        if dtype in (*_HALVES, "float64"):
            policy = "in float64" if dtype == "float64" else f"under the policy {dtype}"
            self.note(f"saved {policy}: evaluated in float32")
        if users := self._users(name):
            own = {key: value for key, value in config.items() if key not in {"batch_input_shape", "dtype"}}
            own |= {key: self._layer(own[key]) for key in _INNER if isinstance(own.get(key), dict)}
            return _entry(users, own, module=None, registered=users)
        if name not in SETTINGS:
            what = "which is no layer that is opened from files of Keras 2"
            if name in {"TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"}:
                what = "an operation of TensorFlow in the graph, which Keras 3 has no layer for"
            seen = f"layer {config['name']} of class {name}" if config.get("name") else f"class {name or '?'}"
            raise CheckpointError(
                f"{self._path}: refused by rule config-class: {seen}: {what}: save the weights alone "
                "(model.save_weights('name.h5')), and give the code that makes the model, "
                "--builder FILE.py:NAME; or, for a layer of your own, name the module that has it",
                rule="config-class",
            )
        return _entry(name.removeprefix("CuDNN"), self._settings(name, config))

    def _users(self, name: str) -> str:
        """Return the name by which the user's own code brings a class or function, maybe without its package; or ""."""
        return next((known for known in (name, name.rpartition(">")[2]) if known in self._custom), "")

    def _settings(self, name: str, config: JsonObject) -> JsonObject:
        settings: JsonObject = {}
        for key, value in config.items():
            new = _OLD_NAMES.get(name, {}).get(key, key)
            if new in SETTINGS[name] or (key in _EVERY and (name, key) != ("SpatialDropout1D", "trainable")):
                settings[new] = self._value(new, value)
            elif not (key in (*_EVERY, *_HARMLESS) or key.endswith(_ENDINGS) or not value):
                raise CheckpointError(
                    f"{self._path}: layer {config.get('name', '?')} ({name}) has the setting {key}={value!r}, which "
                    "Keras 3 does not know: give the code that makes the model, --builder FILE.py:NAME, and the "
                    "weights alone"
                )
        # The defaults from before a setting existed differ from those of Keras 3.
        if name in {"GRU", "GRUCell"}:
            settings.setdefault("reset_after", False)
        elif name == "CuDNNGRU":
            settings["reset_after"] = True
        elif name == "BatchNormalization" and isinstance(settings.get("axis"), (list, tuple)):
            settings["axis"] = int(settings["axis"][0])
        return settings

    def _value(self, key: str, value: Any) -> Any:
        if key.endswith("activation"):
            return self._activation(value)
        if key in _INNER:
            return None if value is None else self._layer(value)
        if key == "cells":
            return [self._layer(cell) for cell in value]
        if not _is_plain(value):
            raise CheckpointError(
                f"{self._path}: the setting {key} holds {str(value)[:60]!r}: a number or a word is expected"
            )
        return value

    def _activation(self, value: Any) -> Any:
        if isinstance(value, dict):  # {"class_name": "function", "config": "tanh"}, or a layer such as LeakyReLU
            inner = value.get("config")
            value = inner if isinstance(inner, str) else value.get("class_name")
        name = "linear" if value is None else str(value)
        function = self._users(name)
        if not function and name not in ACTIVATIONS:
            raise CheckpointError(
                f"{self._path}: refused by rule config-function: the activation {name} is not one of Keras: name the "
                "module that has it, --builder FILE.py:NAME",
                rule="config-function",
            )
        if not function and name == "hard_sigmoid":
            self.note("hard_sigmoid is Keras 2's (0.2 x + 0.5), not that of Keras 3 (x / 6 + 0.5)")
            function = HARD_SIGMOID
        return _entry("function", function, module=None, registered=function) if function else name


def _is_plain(value: Any) -> bool:
    """Return whether a value is a number, a word or a list of them; Keras would make an object of a dictionary."""
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def _flat(ends: Any) -> list[Any]:
    """Flatten inputs or outputs as Keras does: one may stand alone, several may be in a dictionary."""
    if isinstance(ends, dict):
        return [entry for key in sorted(ends) for entry in _flat(ends[key])]
    if isinstance(ends, list) and ends and isinstance(ends[0], str):
        return [ends]
    return [entry for part in ends or [] for entry in _flat(part)]


def _nodes(nodes: list[Any], *, recurrent: bool, where: str, sequentials: Collection[str] = ()) -> list[JsonObject]:
    """Rewrite the inbound nodes of one layer.

    Keras 2 has a list of `[layer, node, tensor, keyword arguments]` for each call. The initial states of a recurrent
    layer are further tensors of that list; Keras 3 wants them by name. For a model inside of the model, Keras 2 counts
    its construction as call 0; so does Keras 3 for functional models, but not for `sequentials`.
    """
    found = []
    try:
        for node in nodes:
            calls = [node] if node and isinstance(node[0], str) else node  # one tensor, not in a list of its own
            tensors = [_tensor(entry, sequentials) for entry in calls]
            given = calls[0][3] if len(calls[0]) > 3 and isinstance(calls[0][3], dict) else {}
            named = {key: value for key, value in given.items() if value is not None and key != "training"}
            kwargs = {key: _argument(value, sequentials) for key, value in named.items()}
            if recurrent and len(tensors) > 1:
                found.append({"args": [tensors[0]], "kwargs": {**kwargs, "initial_state": tensors[1:]}})
            else:
                found.append({"args": [tensors[0] if len(tensors) == 1 else tensors], "kwargs": kwargs})
    except (IndexError, TypeError, ValueError, KeyError) as error:
        raise CheckpointError(f"{where}: how it is connected cannot be read ({error}): the file is damaged") from error
    return found


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
    layer, node, index = str(entry[0]), int(entry[1]), int(entry[2])
    return [layer, max(0, node - 1) if layer in sequentials else node, index]


def read_layers(path: Path, *, label: Path) -> dict[str, dict[str, AnyArray]]:
    """Read the arrays of a file that breaks no rule, by layer and name, in the order in which Keras 2 wrote them.

    A name is such as `gru/gru_cell/kernel:0`; a layer without weights is left out. Errors name `label`.
    """
    layers: dict[str, dict[str, AnyArray]] = {}
    try:
        with h5py.File(path, "r") as file:
            group = file["model_weights"] if "layer_names" not in file.attrs and "model_weights" in file else file
            for layer in (*_names(group, "layer_names"), *([_TOP] if _TOP in group else [])):
                weights = _names(group[layer], "weight_names")
                layers[layer] = {weight: np.asarray(group[layer][weight][()]) for weight in weights}
    except BROKEN as error:
        raise failure(label, error, "HDF5 file") from error
    return {layer: weights for layer, weights in layers.items() if weights}


def role_of(name: str) -> str:
    """Return the role of an array in its layer, such as `kernel`, `recurrent_kernel`, `bias` or `embeddings`."""
    return name.rpartition("/")[2].partition(":")[0]


def version_of(path: Path) -> str:
    """Return the version of Keras that an `.h5` file of weights says it was written by, such as `2.2.4`; or ""."""
    with h5py.File(path, "r") as file:
        named = file.attrs.get("keras_version", "")
    found = re.fullmatch(r"[0-9]+\.[0-9][0-9a-z.-]{0,20}", named.decode() if isinstance(named, bytes) else str(named))
    return found[0] if found else ""


def _names(group: Any, attribute: str) -> Iterator[str]:
    """Yield a list of names; Keras 2 divides one above 64 kB into `layer_names0`, `layer_names1` and so on."""
    if attribute in group.attrs:
        parts = [attribute]
    else:
        parts = [f"{attribute}{k}" for k in range(len(group.attrs)) if f"{attribute}{k}" in group.attrs]
    for part in parts:
        for name in group.attrs[part]:
            yield name.decode() if isinstance(name, bytes) else str(name)


def is_cudnn(bias_shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Return whether a stored bias is cuDNN's: twice as long as the LSTM's, or the flat form of the GRU's two rows."""
    if len(bias_shape) != 1:
        return False
    lstm = len(wanted) == 1 and bias_shape[0] == 2 * wanted[0]
    return lstm or (len(wanted) == 2 and wanted[0] == 2 and bias_shape[0] == 2 * wanted[1])


def from_cudnn(
    kernel: AnyArray, recurrent: AnyArray, bias: AnyArray, wanted: tuple[int, ...]
) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Rearrange kernel `(inputs, gates · units)`, recurrent kernel `(units, gates · units)` and bias (as `wanted`)."""
    units = recurrent.shape[0]
    gates = recurrent.shape[1] // units
    into = [gate.reshape(units, kernel.shape[0]).T for gate in np.hsplit(kernel, gates)]
    back = [gate.T for gate in np.hsplit(recurrent, gates)]
    pair = bias.reshape(2, -1)
    return np.hstack(into), np.hstack(back), pair.sum(axis=0) if len(wanted) == 1 else pair
