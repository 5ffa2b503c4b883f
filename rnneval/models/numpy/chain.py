"""The chain of layers in the configuration of a full model, or the reason why it is none that NumPy can run.

A *chain* is a list of layers, each of which reads the output of the one before it: a Sequential model, or a functional
one without branches; models inside of models are taken apart. A layer with a setting that is neither known here nor
known not to change a prediction is left to Keras.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NoReturn

import numpy as np

from rnneval.arrays import Floats
from rnneval.checkpoints.keras2 import HARD_SIGMOID, SETTINGS
from rnneval.errors import CheckpointError

Json = Mapping[str, Any]
RowFunction = Callable[[Floats], Floats]  # of rows, `(…, n)`, each for itself; the result may be longer

SLOTS: Mapping[str, tuple[str, ...]] = {"GRU": ("h",), "LSTM": ("h", "c"), "SimpleRNN": ("h",)}
"""The recurrent layers, and the parts of their states."""
GATES: Mapping[str, int] = {"GRU": 3, "LSTM": 4, "SimpleRNN": 1}  # columns of a kernel for each unit


# Activation functions by their names in Keras, with the formulas of https://keras.io/api/layers/activations


def _sigmoid(x: Floats) -> Floats:
    gate: Floats = np.reciprocal(np.exp(-x) + 1)
    return gate


def _softmax(x: Floats) -> Floats:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    quotient: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return quotient


def _gelu(x: Floats) -> Floats:
    from scipy.special import erf  # slow to import, and rarely needed

    normal: Floats = 0.5 * x * (1 + erf(x / math.sqrt(2)))
    return normal


FUNCTIONS: Mapping[str, RowFunction] = {
    "linear": lambda x: x,
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "softmax": _softmax,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "gelu": _gelu,
    "silu": lambda x: x * _sigmoid(x),
    "swish": lambda x: x * _sigmoid(x),
    "softplus": lambda x: np.logaddexp(x, np.float32(0)),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "hard_sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    HARD_SIGMOID: lambda x: np.clip(0.2 * x + 0.5, 0, 1),  # that of Keras 2
}
"""The functions; each takes an array and returns another of the same shape. Keras runs models with others."""


# Layers that do nothing when a model predicts, and all that can be run; `SETTINGS` has the settings that are read.
_IDLE = frozenset((
    "Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization",
    "Identity",
))  # fmt: skip
_KINDS = _IDLE.union(SLOTS, (
    "Embedding", "Dense", "Activation", "Softmax", "LayerNormalization",
))  # fmt: skip
_MODELS = ("Sequential", "Functional", "Model")
# Settings that no prediction depends on.
_HARMLESS = frozenset((
    "name", "trainable", "dtype", "implementation", "seed", "autocast", "unit_forget_bias", "zero_output_for_mask",
    "l1", "l2", "batch_shape", "batch_input_shape", "input_length",
))  # fmt: skip
_ENDINGS = ("_initializer", "_regularizer", "_constraint")
_MODULES = (None, "keras", "keras.layers", "keras.models")
"""Modules of the layers and models that are known; files of Keras 2 name none."""


class NotForNumpyError(CheckpointError):
    """A checkpoint that may be right, and that only Keras can run; the message names the layer and its class."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One layer of a chain that computes something."""

    kind: str  # its class
    name: str  # the name that its author gave it, else its path: the key in records
    path: str  # the names of the models around it and its own, with dots
    settings: Json
    group: str  # the group of its weights in the weights of a `.keras` file

    def get(self, setting: str, default: Any = None) -> Any:
        """Return a setting, or Keras' default."""
        return self.settings.get(setting, default)


def chain_of(config: Json) -> tuple[tuple[Entry, ...], tuple[int | None, ...] | None]:
    """Return the layers in a configuration of Keras 3, and the shape of a batch of inputs, None if there is none."""
    layers, shape = _layers_of(config)
    _require_float32(config["config"])
    entries = tuple(_entries(layers))
    if not any(entry.kind in SLOTS for entry in entries):
        raise NotForNumpyError("a model without a GRU, LSTM or SimpleRNN layer")
    for entry in entries[1:]:
        if entry.kind == "Embedding":
            _refuse(entry.name, entry.kind, "is not the first layer")
    return entries, None if shape is None else tuple(shape)


def _refuse(name: str, kind: str, why: str) -> NoReturn:
    raise NotForNumpyError(f"layer {name} ({kind or '?'}) {why}")


def _require_float32(config: Json) -> None:
    dtype = config.get("dtype")
    if isinstance(dtype, dict):
        dtype = (dtype.get("config") or {}).get("name")
    if dtype not in (None, "float32"):
        raise NotForNumpyError(f"layer {config.get('name', '?')} has the type {str(dtype)[:60]}")


def _layers_of(model: Json) -> tuple[list[Json], Any]:
    """Return a model's layers, in the order in which a token passes them, and the shape of a batch of its input."""
    kind, config = _kind(model), model.get("config")
    layers = config.get("layers") if isinstance(config, dict) else None
    if kind not in _MODELS or not isinstance(layers, list) or not layers:
        raise NotForNumpyError(f"a model of class {kind or '?'}")
    if kind != "Sequential":
        _require_one_path(model["config"], layers)
    if _kind(layers[0]) == "InputLayer":
        return layers[1:], (layers[0].get("config") or {}).get("batch_shape")
    return layers, None


def _require_one_path(config: Json, layers: list[Json]) -> None:
    """Refuse a graph in which a layer reads other than what the layer before it gives; Keras lists them in order."""
    ends = []
    for key in ("input_layers", "output_layers"):
        given = config.get(key) or []
        given = [given] if given and isinstance(given[0], str) else given
        if len(given) != 1:
            what = key.replace("_", " ")
            raise NotForNumpyError(f"the graph {config.get('name', '')} has other {what} than a single one")
        ends.append((given[0][0], given[0][2]))
    for before, layer in pairwise(layers):
        nodes, name, kind = layer.get("inbound_nodes") or [], _name(layer), _kind(layer)
        if len(nodes) != 1:
            _refuse(name, kind, f"is called {len(nodes)} times")
        arguments, named = list(nodes[0].get("args") or []), dict(nodes[0].get("kwargs") or {})
        if any(value is not None for key, value in named.items() if key != "training") or named.get("training"):
            _refuse(name, kind, f"is called with {', '.join(sorted(named))}")
        if len(arguments) != 1 or not isinstance(arguments[0], dict):
            _refuse(name, kind, "reads other than one sequence")
        source, _, tensor = arguments[0]["config"]["keras_history"]
        if (source, tensor) != (_name(before), 0):
            _refuse(name, kind, "is on another branch of the graph")
    if ends != [(_name(layers[0]), 0), (_name(layers[-1]), 0)]:
        raise NotForNumpyError(f"the graph {config.get('name', '')} gives other than its last layer computed")


def _entries(layers: list[Json], path: str = "", group: str = "") -> Iterator[Entry]:
    """Yield the layers that compute something, of a model and of the models inside of it; `group` ends with a slash."""
    counts: Counter[str] = Counter()
    for layer in layers:
        kind, config, name = _kind(layer), layer.get("config") or {}, _name(layer)
        stem = snake_case("Functional" if kind == "Model" else kind)
        own_group = f"{group}layers/{stem}{f'_{counts[stem]}' if counts[stem] else ''}"
        counts[stem] += 1
        if layer.get("module") not in _MODULES:  # an operation such as keras.ops.softmax, with a layer's name
            _refuse(name, kind, f"is of the module {layer['module']}")
        _require_float32(config)
        own_path = f"{path}.{name}" if path else name
        if kind in _MODELS:
            yield from _entries(_layers_of(layer)[0], own_path, f"{own_group}/")
            continue
        if kind == "TimeDistributed":
            wrapped: Any = config.get("layer")
            kind = _kind(wrapped) if isinstance(wrapped, dict) else ""
            if kind in SLOTS or kind in {"", "Embedding", *_MODELS, "TimeDistributed"}:
                _refuse(name, "TimeDistributed", f"is over {kind or 'nothing'}")
            config, own_group = wrapped.get("config") or {}, f"{own_group}/layer"
            _require_float32(config)
            name = str(config.get("name", name))
        _require_known(kind, config, name)
        if kind not in _IDLE:
            is_automatic = not name or re.fullmatch(rf"{re.escape(snake_case(kind))}(_\d+)?", name) is not None
            shown = own_path if kind in SLOTS and is_automatic else name
            weights = f"{own_group}/cell/vars" if kind in SLOTS else f"{own_group}/vars"
            yield Entry(kind=kind, name=shown, path=own_path, settings=config, group=weights)


def _require_known(kind: str, config: Json, name: str) -> None:
    """Refuse a layer of another class, or with a setting that is not known or that needs Keras."""
    if kind not in _KINDS:
        _refuse(name, kind, "is of a class that NumPy does not run")
    for key, value in config.items():
        known = key in SETTINGS.get(kind, ()) or key in _HARMLESS or key.endswith(_ENDINGS)
        if not known and value:
            _refuse(name, kind, f"has the setting {key}={str(value)[:60]}")
    for setting, why in (("mask_zero", "masks id 0 (mask_zero)"), ("go_backwards", "reads backwards (go_backwards)")):
        if config.get(setting):
            _refuse(name, kind, why)
    if kind in SLOTS and not config.get("return_sequences"):
        _refuse(name, kind, "has return_sequences=False, as in a window model")
    if kind in {"Softmax", "LayerNormalization"} and config.get("axis", -1) not in (-1, 2, [-1], [2]):
        _refuse(name, kind, f"is over axis {config.get('axis')}")
    for key in ("activation", "recurrent_activation"):
        function = activation_name(config.get(key))
        if function not in FUNCTIONS or (kind in SLOTS and function == "softmax"):
            _refuse(name, kind, f"has the {key.replace('_', ' ')} {str(function)[:60]}")


def _kind(layer: Json) -> str:
    return str(layer.get("class_name", ""))


def _name(layer: Json) -> str:
    return str(layer.get("name") or (layer.get("config") or {}).get("name") or "")


def activation_name(value: Any) -> str:
    """Return the name of an activation as it stands in a configuration."""
    if isinstance(value, dict) and value.get("class_name") == "function":
        value = value.get("config")
    return "linear" if value is None else str(value)


def snake_case(name: str) -> str:
    """Return the automatic name that Keras makes out of a class name: `simple_rnn` of SimpleRNN."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
