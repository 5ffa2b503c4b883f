"""The chain of layers in the configuration of a full model, or the reason why it is none that NumPy can run.

A *chain* is a list of layers, each of which reads the output of the one before it. Its configuration is a Sequential
model, or a functional one without branches; models inside of models are taken apart.

Every setting of a layer is either known here, or known not to change a prediction, or the file is left to Keras.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from rnneval.checkpoints.keras2 import SETTINGS
from rnneval.errors import CheckpointError
from rnneval.models.numpy.layers import FUNCTIONS, SLOTS

Json = Mapping[str, Any]

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
_DTYPES = {
    "float32": "float32", "float64": "float64", "float16": "float16", "bfloat16": "bfloat16",
    "mixed_float16": "float16", "mixed_bfloat16": "bfloat16",
}  # fmt: skip
HALVES = ("float16", "bfloat16")
_MODULES = (None, "keras", "keras.layers", "keras.models")
"""Modules of the layers and models that are known; files of Keras 2 name none."""


class NotForNumpyError(CheckpointError):
    """A checkpoint that may be right, and that only Keras can run."""


def not_for_numpy(path: str, why: str) -> NotForNumpyError:
    """Return the error for a checkpoint that only Keras can run; `why` names the layer and its class."""
    return NotForNumpyError(
        f"{path}: {why}: it is run by Keras alone: pip install 'rnneval[tensorflow]' (and leave out --backend numpy)"
    )


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One layer of a chain that computes something."""

    kind: str  # its class
    name: str  # the name that its author gave it, else its path: the key in records
    path: str  # the names of the models around it and its own, with dots
    own_name: str  # its name in the configuration
    settings: Json
    group: str  # the group of its weights in the weights of a `.keras` file
    holder: str  # the layer of the outermost model that it belongs to: the group of its weights in an `.h5` file
    frozen: bool = False  # whether it was not trained

    def get(self, setting: str, default: Any = None) -> Any:
        """Return a setting, or Keras' default."""
        return self.settings.get(setting, default)


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The layers of a model, from the first to the last."""

    entries: tuple[Entry, ...]
    input_shape: tuple[int | None, ...] | None
    """The shape of a batch of inputs; None where the configuration has none, and ids go in."""
    policies: frozenset[str]  # names of the type policies of its layers, and of itself
    model_dtype: str  # type in which the model itself, around its layers, says that it computes

    @property
    def computed(self) -> frozenset[str]:
        """The types in which its layers compute."""
        return frozenset(_DTYPES[name] for name in self.policies)

    @property
    def recurrent(self) -> tuple[Entry, ...]:
        """The recurrent layers."""
        return tuple(entry for entry in self.entries if entry.kind in SLOTS)


def chain_of(config: Json, path: str) -> Chain:
    """Return the chain of layers in a configuration of a full model, in the form of Keras 3.

    Raises:
        NotForNumpyError: it is no chain of known layers; names the first layer that does not fit.
    """
    reader = _ChainReader(path)
    layers, start = reader.layers_of(config)
    entries = tuple(reader.entries(layers))
    if not any(entry.kind in SLOTS for entry in entries):
        raise not_for_numpy(path, "a model without a GRU, LSTM or SimpleRNN layer")
    for entry in entries[1:]:
        if entry.kind == "Embedding":
            reader.refuse(entry.name, entry.kind, "is not the first layer")
    shape, dtype = start.get("batch_shape"), reader.policy(config["config"])
    return Chain(
        entries=entries,
        input_shape=None if shape is None else tuple(shape),
        policies=frozenset(reader.policies),
        model_dtype=dtype,
    )


class _ChainReader:
    """Reads a configuration, and notes the type policies in it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.policies: set[str] = set()

    def refuse(self, name: str, kind: str, why: str) -> NoReturn:
        raise not_for_numpy(self._path, f"layer {name} ({kind or '?'}) {why}")

    def policy(self, config: Json) -> str:
        """Note a type policy, and return the type in which it computes."""
        dtype = config.get("dtype")
        if isinstance(dtype, dict):
            dtype = (dtype.get("config") or {}).get("name")
        name = "float32" if dtype is None else str(dtype)
        if name not in _DTYPES:
            raise not_for_numpy(self._path, f"layer {config.get('name', '?')} has the type {name[:60]}")
        self.policies.add(name)
        return _DTYPES[name]

    def layers_of(self, model: Json) -> tuple[list[Json], Json]:
        """Return a model's layers, in the order in which a token passes them, and the configuration of its input."""
        kind, config = str(model.get("class_name", "")), model.get("config")
        layers = config.get("layers") if isinstance(config, dict) else None
        if kind not in _MODELS or not isinstance(layers, list) or not layers:
            raise not_for_numpy(self._path, f"a model of class {kind or '?'}")
        if kind != "Sequential":
            layers = self._followed(model["config"], layers)
        if _kind(layers[0]) == "InputLayer":
            return layers[1:], layers[0].get("config") or {}
        return layers, {}

    def _followed(self, config: Json, layers: list[Json]) -> list[Json]:
        """Follow a graph from its output back to its input."""
        ends = []
        for key in ("input_layers", "output_layers"):
            given = config.get(key) or []
            given = [given] if given and isinstance(given, list) and isinstance(given[0], str) else given
            if not isinstance(given, list) or len(given) != 1 or not _is_reference(given[0]):
                what = f"the graph {config.get('name', '')} has other {key.replace('_', ' ')} than a single one"
                raise not_for_numpy(self._path, what)
            ends.append(given[0])
        (start, _, _), (name, _, tensor) = ends
        known = {_name(layer): layer for layer in layers}
        passed: list[Json] = []
        while not passed or _kind(passed[0]) != "InputLayer":
            layer = known.get(name, {})
            if not layer or tensor != 0 or layer in passed:
                self.refuse(name, _kind(layer), "gives an output that is not the sequence that it computed")
            passed.insert(0, layer)
            if _kind(layer) != "InputLayer":
                name, tensor = self._read_by(layer)
        for other in layers:
            if other not in passed or (other is passed[0] and name != start):
                self.refuse(_name(other), _kind(other), "is on another branch of the graph")
        return passed

    def _read_by(self, layer: Json) -> tuple[str, int]:
        """Return the layer whose output a layer reads, and the number of the tensor among its outputs."""
        nodes = layer.get("inbound_nodes") or []
        if len(nodes) != 1:
            self.refuse(_name(layer), _kind(layer), f"is called {len(nodes)} times")
        arguments, named = list(nodes[0].get("args") or []), dict(nodes[0].get("kwargs") or {})
        if any(value is not None for key, value in named.items() if key != "training") or named.get("training"):
            self.refuse(_name(layer), _kind(layer), f"is called with {', '.join(sorted(named))}")
        read = arguments[0] if len(arguments) == 1 else None
        config = read.get("config") if isinstance(read, dict) else None
        history = config.get("keras_history") if isinstance(config, dict) else None
        if history is None or not _is_reference(history):
            self.refuse(_name(layer), _kind(layer), "reads other than one sequence")
        return history[0], history[2]

    def entries(
        self, layers: list[Json], *, path: str = "", group: str = "", holder: str = "", frozen: bool = False
    ) -> Iterator[Entry]:
        """Yield the layers that compute something, of a model and of the models inside of it.

        The other arguments are those of `Entry` for the models around these layers; the group ends with a slash.
        """
        counts: Counter[str] = Counter()
        for layer in layers:
            kind, config, name = _kind(layer), layer.get("config") or {}, _name(layer)
            stem = snake_case("Functional" if kind == "Model" else kind)
            own_group = f"{group}layers/{stem}{f'_{counts[stem]}' if counts[stem] else ''}"
            counts[stem] += 1
            if layer.get("module") not in _MODULES:  # an operation such as keras.ops.softmax, with a layer's name
                self.refuse(name, kind, f"is of the module {layer['module']}")
            own_path, own_holder = f"{path}.{name}" if path else name, holder or name
            own_frozen = frozen or config.get("trainable") is False
            if kind in _MODELS:
                self.policy(config)
                inner, _ = self.layers_of(layer)
                yield from self.entries(
                    inner, path=own_path, group=f"{own_group}/", holder=own_holder, frozen=own_frozen
                )
                continue
            if kind == "TimeDistributed":
                self.policy(config)
                wrapped: Any = config.get("layer")
                kind = _kind(wrapped) if isinstance(wrapped, dict) else ""
                if kind in SLOTS or kind in {"", "Embedding", *_MODELS, "TimeDistributed"}:
                    self.refuse(name, "TimeDistributed", f"is over {kind or 'nothing'}")
                config, own_group = wrapped.get("config") or {}, f"{own_group}/layer"
                name = str(config.get("name", name))
            self._require_known(kind, config, name)
            self.policy(config)
            if kind not in _IDLE:
                is_automatic = not name or re.fullmatch(rf"{re.escape(snake_case(kind))}(_\d+)?", name) is not None
                yield Entry(
                    kind=kind,
                    name=own_path if kind in SLOTS and is_automatic else name,
                    path=own_path,
                    own_name=name,
                    settings=config,
                    group=f"{own_group}/cell/vars" if kind in SLOTS else f"{own_group}/vars",
                    holder=own_holder,
                    frozen=own_frozen,
                )

    def _require_known(self, kind: str, config: Json, name: str) -> None:
        """Refuse a layer of another class, or with a setting that is not known or that needs Keras."""
        if kind not in _KINDS:
            self.refuse(name, kind, "is of a class that NumPy does not run")
        for key, value in config.items():
            known = key in SETTINGS.get(kind, ()) or key in _HARMLESS or key.endswith(_ENDINGS)
            if not known and value:
                self.refuse(name, kind, f"has the setting {key}={str(value)[:60]}")
        if config.get("mask_zero"):
            self.refuse(name, kind, "masks id 0 (mask_zero)")
        if config.get("go_backwards"):
            self.refuse(name, kind, "reads backwards (go_backwards)")
        if kind in SLOTS and not config.get("return_sequences"):
            self.refuse(name, kind, "has return_sequences=False, as in a window model")
        if kind in {"Softmax", "LayerNormalization"} and config.get("axis", -1) not in (-1, 2, [-1], [2]):
            self.refuse(name, kind, f"is over axis {config.get('axis')}")
        for key in ("activation", "recurrent_activation"):
            function = activation_name(config.get(key))
            if function not in FUNCTIONS or (kind in SLOTS and function in {"softmax", "log_softmax"}):
                self.refuse(name, kind, f"has the {key.replace('_', ' ')} {str(function)[:60]}")


def _kind(layer: Json) -> str:
    return str(layer.get("class_name", ""))


def _name(layer: Json) -> str:
    return str(layer.get("name") or (layer.get("config") or {}).get("name") or "")


def _is_reference(end: Any) -> bool:
    return isinstance(end, list) and len(end) == 3 and isinstance(end[0], str)


def activation_name(value: Any) -> str:
    """Return the name of an activation as it stands in a configuration.

    Example:
        >>> activation_name(None), activation_name({"class_name": "function", "config": "relu"})
        ('linear', 'relu')
    """
    if isinstance(value, dict) and value.get("class_name") == "function":
        value = value.get("config")
    return "linear" if value is None else str(value)


def snake_case(name: str) -> str:
    """Return the automatic name that Keras makes out of a class name.

    Example:
        >>> snake_case("SimpleRNN"), snake_case("LayerNormalization")
        ('simple_rnn', 'layer_normalization')
    """
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
