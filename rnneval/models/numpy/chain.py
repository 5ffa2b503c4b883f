"""The chain of layers in the configuration of a full model, or the reason why it is none that NumPy can run.

A *chain* is a list of layers, each of which reads the output of the one before it. Its configuration is a Sequential
model, or a functional one without branches; models inside of models are taken apart. A functional model may also take
and return the states of its recurrent layers.

Every setting of a layer is either known here, or known not to change a prediction, or the file is left to Keras.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from rnneval.checkpoints.keras2 import SETTINGS
from rnneval.errors import CheckpointError
from rnneval.models.numpy.layers import FUNCTIONS, SLOTS
from rnneval.records.wiring import Slot

Json = Mapping[str, Any]

# Layers that do nothing when a model predicts, and all that can be run; `SETTINGS` has the settings that are read.
_IDLE = frozenset((
    "Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization",
    "Identity",
))  # fmt: skip
_KINDS = _IDLE.union(SLOTS, (
    "Embedding", "Dense", "Activation", "Softmax", "ReLU", "LeakyReLU", "ELU", "LayerNormalization",
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
    states: tuple[Slot, ...]  # the states that the model takes and returns, in its order; empty if it takes none
    policies: frozenset[str]  # names of the type policies of its layers, and of itself
    computed: frozenset[str]  # types in which its layers compute, by these policies
    model_dtype: str  # type in which the model itself, around its layers, says that it computes

    @property
    def recurrent(self) -> tuple[Entry, ...]:
        """The recurrent layers."""
        return tuple(entry for entry in self.entries if entry.kind in SLOTS)


class _ChainReader:
    """A configuration that is being read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.policies: set[str] = set()

    def refuse(self, name: str, kind: str, why: str) -> NoReturn:
        raise not_for_numpy(self.path, f"layer {name} ({kind}) {why}")

    def policy(self, config: Json) -> str:
        """Note a type policy, and return the type in which it computes."""
        dtype = config.get("dtype")
        if isinstance(dtype, dict):
            dtype = (dtype.get("config") or {}).get("name")
        name = "float32" if dtype is None else str(dtype)
        if name not in _DTYPES:
            raise not_for_numpy(self.path, f"layer {config.get('name', '?')} has the type {name[:60]}")
        self.policies.add(name)
        return _DTYPES[name]


def chain_of(config: Json, path: str) -> Chain:
    """Return the chain of layers in a configuration of a full model, in the form of Keras 3.

    Raises:
        NotForNumpyError: it is no chain of known layers; names the first layer that does not fit.
    """
    reading = _ChainReader(path)
    model = _Linked(config, reading)
    entries = tuple(_entries(model, reading))
    if not any(entry.kind in SLOTS for entry in entries):
        raise not_for_numpy(path, "a model without a GRU, LSTM or SimpleRNN layer")
    for entry in entries[1:]:
        if entry.kind == "Embedding":
            reading.refuse(entry.name, entry.kind, "is not the first layer")
    shape = None if model.input is None else model.input.get("batch_shape")
    dtype = reading.policy(model.config)
    return Chain(
        entries=entries,
        input_shape=None if shape is None else tuple(shape),
        states=model.states(entries),
        policies=frozenset(reading.policies),
        computed=frozenset(_DTYPES[name] for name in reading.policies),
        model_dtype=dtype,
    )


class _Linked:
    """The layers of one model of the configuration, in the order in which a token passes them."""

    def __init__(self, model: Json, reading: _ChainReader) -> None:
        kind, config, self._reading = str(model.get("class_name", "")), model.get("config"), reading
        self.config: Json = config if isinstance(config, dict) else {}
        layers = self.config.get("layers")
        if kind not in _MODELS or not isinstance(layers, list) or not layers:
            raise not_for_numpy(reading.path, f"a model of class {kind or '?'}")
        self._graph = f"the graph {self.config.get('name', '')}"
        self.input: Json | None = None
        self.leaves: list[tuple[str, int]] = []
        """The recurrent layer and the number of the slot of each state that goes in."""
        if kind != "Sequential":
            self.layers = self._linked(layers)
        elif layers[0].get("class_name") == "InputLayer":
            self.input, self.layers = layers[0].get("config") or {}, layers[1:]
        else:
            self.layers = layers

    def _linked(self, layers: Sequence[Json]) -> list[Json]:
        """Follow the graph from its output back to its input."""
        known = {_name(layer): layer for layer in layers}
        inputs = [end[0] for end in self._ends("input_layers")]
        outputs = self._ends("output_layers")
        if not inputs or not outputs or len(inputs) != len(outputs):
            raise not_for_numpy(
                self._reading.path, f"{self._graph} takes {len(inputs)} and gives {len(outputs)} tensors"
            )
        found: list[Json] = []
        name, index = outputs[0][0], outputs[0][2]
        starts: dict[str, list[str]] = {}
        while True:
            layer = known.get(name)
            if layer is None or index != 0 or layer in found:
                self._refuse(name, layer, "gives an output that is not the sequence that it computed")
            if layer.get("class_name") == "InputLayer":
                break
            found.append(layer)
            (name, index), states = self._before(layer)
            if states:
                starts[_name(layer)] = states
        if name != inputs[0]:
            self._refuse(name, known.get(name), "is not the first input")
        self.input = known[name].get("config") or {}
        found.reverse()
        self._take_states(found, starts, inputs[1:], outputs[1:])
        for other in layers:
            if other not in found and _name(other) not in inputs:
                self._refuse(_name(other), other, "is on another branch of the graph")
        return found

    def _take_states(
        self, found: Sequence[Json], starts: Mapping[str, list[str]], inputs: list[str], outputs: list[Any]
    ) -> None:
        """Match the states that go in with those that come out."""
        places = {name: (layer, slot) for layer, names in starts.items() for slot, name in enumerate(names)}
        count = sum(map(len, starts.values()))
        for name in inputs:
            if name not in places or len(places) != count:
                self._reading.refuse(name, "InputLayer", "is not the initial state of one recurrent layer")
        self.leaves = [places[name] for name in inputs]
        if len(places) != len(self.leaves):
            raise not_for_numpy(self._reading.path, f"{self._graph} makes an initial state by itself")
        for (layer, slot), (given, _, index) in zip(self.leaves, outputs, strict=True):
            if (given, index) != (layer, slot + 1):
                self._refuse(given, None, f"gives the state that goes back into {layer}")
        without = [_name(layer) for layer in found if layer.get("class_name") in SLOTS and _name(layer) not in starts]
        if starts and without:
            self._refuse(without[0], None, "begins anew at every call, while others are given a state")

    def states(self, entries: Sequence[Entry]) -> tuple[Slot, ...]:
        """Return the states that go in, by the names of the layers in records."""
        named = {entry.own_name: entry for entry in entries if "." not in entry.path}
        found = []
        for layer, slot in self.leaves:
            entry = named[layer]
            if slot >= len(SLOTS[entry.kind]):
                self._refuse(layer, None, "is given more states than it has")
            found.append(Slot(layer=entry.name, slot=SLOTS[entry.kind][slot]))
        if found and len(found) != sum(len(SLOTS[entry.kind]) for entry in entries if entry.kind in SLOTS):
            raise not_for_numpy(self._reading.path, f"{self._graph} is given a part of its states alone")
        return tuple(found)

    def _ends(self, key: str) -> list[Any]:
        """Return the inputs or outputs, each `[layer, call, tensor]`."""
        ends = self.config.get(key) or []
        if isinstance(ends, list) and ends and isinstance(ends[0], str):
            return [ends]
        if not isinstance(ends, list) or not all(_is_reference(end) for end in ends):
            raise not_for_numpy(self._reading.path, f"{self._graph} has {key.replace('_', ' ')} with names")
        return ends

    def _before(self, layer: Json) -> tuple[tuple[str, int], list[str]]:
        """Return the name and the number of the tensor that a layer reads, and the inputs that are its start."""
        nodes = layer.get("inbound_nodes") or []
        if len(nodes) != 1:
            self._refuse(_name(layer), layer, f"is called {len(nodes)} times")
        arguments, named = list(nodes[0].get("args") or []), dict(nodes[0].get("kwargs") or {})
        start = named.pop("initial_state", None)
        if any(value is not None for key, value in named.items() if key != "training") or named.get("training"):
            self._refuse(_name(layer), layer, f"is called with {', '.join(sorted(named))}")
        read = _history(arguments[0]) if len(arguments) == 1 else None
        if read is None:
            self._refuse(_name(layer), layer, "reads other than one sequence")
        given = [] if start is None else start if isinstance(start, list) else [start]
        states = [_history(state) for state in given]
        if not all(state is not None and state[1] == 0 for state in states):
            self._refuse(_name(layer), layer, "is given an initial state that no input is")
        return read, [state[0] for state in states if state is not None]

    def _refuse(self, name: str, layer: Json | None, why: str) -> NoReturn:
        self._reading.refuse(name, str((layer or {}).get("class_name", "?")), why)


def _name(layer: Json) -> str:
    return str(layer.get("name") or (layer.get("config") or {}).get("name") or "")


def _is_reference(end: Any) -> bool:
    return isinstance(end, list) and len(end) == 3 and isinstance(end[0], str)


def _history(argument: Any) -> tuple[str, int] | None:
    """Return the layer and the number of the tensor that an argument refers to; None for any other argument."""
    config = argument.get("config") if isinstance(argument, dict) else None
    history = config.get("keras_history") if isinstance(config, dict) else None
    return (history[0], history[2]) if history is not None and _is_reference(history) else None


def _entries(
    model: _Linked, reading: _ChainReader, *, path: str = "", group: str = "", holder: str = "", frozen: bool = False
) -> Iterator[Entry]:
    """Yield the layers that compute something, of a model and of the models inside of it.

    The other arguments are those of `Entry` for the models around these layers; the group ends with a slash.
    """
    counts: Counter[str] = Counter()
    for layer in model.layers:
        kind, config, name = str(layer.get("class_name", "")), layer.get("config") or {}, _name(layer)
        stem = snake_case("Functional" if kind == "Model" else kind)
        own_group = f"{group}layers/{stem}{f'_{counts[stem]}' if counts[stem] else ''}"
        counts[stem] += 1
        if layer.get("module") not in _MODULES:  # an operation such as keras.ops.softmax, which has a layer's name
            reading.refuse(name, kind or "?", f"is of the module {layer['module']}")
        own_path, own_holder = f"{path}.{name}" if path else name, holder or name
        own_frozen = frozen or config.get("trainable") is False
        if kind in _MODELS:
            inner = _Linked(layer, reading)
            reading.policy(config)
            if inner.leaves:
                reading.refuse(name, kind, "takes states")
            yield from _entries(
                inner, reading, path=own_path, group=f"{own_group}/", holder=own_holder, frozen=own_frozen
            )
            continue
        if kind == "TimeDistributed":
            reading.policy(config)
            wrapped = config.get("layer")
            kind = str(wrapped.get("class_name", "")) if isinstance(wrapped, dict) else ""
            if not isinstance(wrapped, dict) or kind in SLOTS or kind in {"Embedding", *_MODELS, "TimeDistributed"}:
                reading.refuse(name, "TimeDistributed", f"is over {kind or 'nothing'}")
            config, own_group = wrapped.get("config") or {}, f"{own_group}/layer"
            name = str(config.get("name", name))
        _require_known(kind, config, name, reading)
        reading.policy(config)
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


def _require_known(kind: str, config: Json, name: str, reading: _ChainReader) -> None:
    """Refuse a layer of another class, or with a setting that is not known or that needs Keras."""
    if kind not in _KINDS:
        reading.refuse(name, kind or "?", "is of a class that NumPy does not run")
    for key, value in config.items():
        known = key in SETTINGS.get(kind, ()) or key in _HARMLESS or key.endswith(_ENDINGS)
        if not known and value:
            reading.refuse(name, kind, f"has the setting {key}={str(value)[:60]}")
    if config.get("mask_zero"):
        reading.refuse(name, kind, "masks id 0 (mask_zero)")
    if config.get("go_backwards"):
        reading.refuse(name, kind, "reads backwards (go_backwards)")
    if kind in SLOTS and not config.get("return_sequences"):
        reading.refuse(name, kind, "has return_sequences=False, as in a window model")
    if kind in {"Softmax", "LayerNormalization"} and config.get("axis", -1) not in (-1, 2, [-1], [2]):
        reading.refuse(name, kind, f"is over axis {config.get('axis')}")
    for key in ("activation", "recurrent_activation"):
        function = activation_name(config.get(key))
        if function not in FUNCTIONS or (kind in SLOTS and function in {"softmax", "log_softmax"}):
            reading.refuse(name, kind, f"has the {key.replace('_', ' ')} {str(function)[:60]}")


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
