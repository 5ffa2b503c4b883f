"""The recurrent layers of a model, and what to call them.

A *unit* is a recurrent layer, or a cell that is called outside of one. Its path is how its author reaches it
(`gru2`, `stack[1].lstm`, `enc.forward_layer`); its name is the key used in records and on the command line.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras

from rnneval.wiring.places import place_name

# What every Keras layer or model carries for its own ends: never an attribute of the author's.
OWN_ATTRIBUTES = frozenset(vars(keras.layers.Layer())) | frozenset(vars(keras.Model()))
_SLOTS = {"LSTM": ("h", "c"), "LSTMCell": ("h", "c")}


@dataclass(frozen=True, kw_only=True, eq=False)
class Unit:
    """One recurrent layer or free cell, at one of its places in a call; equal only to itself."""

    layer: Any
    """The Keras object."""
    path: str
    name: str
    place: int = 1
    """Which of its places: a layer that reads two streams has a state at each of its two (`rnneval.wiring.places`)."""
    _others: dict[int, "Unit"] = field(default_factory=dict, init=False, repr=False)

    def at(self, place: int) -> "Unit":
        """Return the same layer at another place, named `gru#2`; always the same object."""
        if place == self.place:
            return self
        if place not in self._others:
            name = place_name(self.name, place)
            self._others[place] = Unit(layer=self.layer, path=self.path, name=name, place=place)
        return self._others[place]

    @property
    def kind(self) -> str:
        """The name of its class, such as GRU."""
        return type(self.layer).__name__

    @property
    def is_layer(self) -> bool:
        """Whether it runs over time by itself (a layer), or is one step of a loop of the author's (a cell)."""
        return isinstance(self.layer, keras.layers.RNN)

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of the parts of its state, in Keras' order."""
        return slot_names(self.layer.cell if self.is_layer else self.layer)

    @property
    def has_memory_cells(self) -> bool:
        """Whether it keeps a c beside its h, as an LSTM does; of stacked cells, whether one of them does."""
        return any(slot.rsplit(".", 1)[-1] == "c" for slot in self.slots)

    @property
    def units(self) -> int:
        """The width of the first part of its state."""
        sizes = keras.tree.flatten(_state_size(self.layer.cell if self.is_layer else self.layer))
        return int(sizes[0])


def recurrent_units(model: Any) -> tuple[Unit, ...]:
    """Find every recurrent layer, and every cell outside of one, each once, in the order of the author's attributes."""
    return tuple(
        Unit(layer=layer, path=path, name=key_of(layer, path))
        for path, layer in _walk(model, "", set())
        if _recurs(layer)
    )


def walk_below(thing: Any, *, into_recurrent: bool = False) -> Iterator[tuple[str, Any]]:
    """Give every layer below `thing`, each once, with its path; inside of recurrent layers and cells only if asked."""
    yield from _walk(thing, "", set(), into_recurrent=into_recurrent)


def slot_names(cell: Any) -> tuple[str, ...]:
    """Name the parts of a cell's state: h; h and c; for stacked cells `cells[i].h`; for others s0, s1."""
    if isinstance(cell, keras.layers.StackedRNNCells):
        return tuple(f"cells[{i}].{slot}" for i, inner in enumerate(cell.cells) for slot in slot_names(inner))
    for base in type(cell).__mro__:
        if base.__name__ in _SLOTS:
            return _SLOTS[base.__name__]
    count = len(keras.tree.flatten(_state_size(cell)))
    return ("h",) if count == 1 else tuple(f"s{i}" for i in range(count))


def key_of(layer: Any, path: str) -> str:
    """The name that its author gave the layer, else its path: automatic names (`gru_7`) differ with every instance."""
    name = getattr(layer, "name", "")
    automatic = re.fullmatch(rf"((forward|backward)_)?{re.escape(_snake_case(type(layer).__name__))}(_\d+)?", name)
    return path if automatic or not name else name


def sublayers(model: Any) -> list[Any]:
    """Give the layers of a model at any depth, those inside wrappers and lists included, whatever they are called."""
    if not isinstance(model, keras.layers.Layer):
        return [thing for thing in getattr(model, "__dict__", {}).values() if isinstance(thing, keras.layers.Layer)]
    return list(model._flatten_layers(include_self=False, recursive=True))


def _recurs(layer: Any) -> bool:
    return isinstance(layer, keras.layers.RNN) or _state_size(layer) is not None


def _state_size(cell: Any) -> Any:
    return getattr(cell, "state_size", None)


def _walk(thing: Any, path: str, seen: set[int], *, into_recurrent: bool = False) -> Iterator[tuple[str, Any]]:
    """Give every layer below `thing` with its path; the inside of a recurrent layer or cell is its own affair."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if path and isinstance(thing, keras.layers.Layer):
        yield path, thing
        if _recurs(thing) and not into_recurrent:
            return
    for name, child in _children(thing):
        where = name if name.startswith("[") and not path else _join(path, name)
        yield from _walk(child, where, seen, into_recurrent=into_recurrent)


def _children(thing: Any) -> list[tuple[str, Any]]:
    if is_graph(thing):
        return [(layer.name, layer) for layer in thing.layers]
    if isinstance(thing, dict):
        return [(f"[{key!r}]", value) for key, value in thing.items()]
    if isinstance(thing, (list, tuple)):
        return [(f"[{index}]", value) for index, value in enumerate(thing)]
    if isinstance(thing, keras.layers.Layer):
        return [(name, value) for name, value in vars(thing).items() if _is_authors(name) and _may_hold_layers(value)]
    return [(name, value) for name, value in getattr(thing, "__dict__", {}).items() if _may_hold_layers(value)]


def is_graph(model: Any) -> bool:
    """Whether the model is a Sequential or functional one: a graph of layers rather than its author's own `call`."""
    names = {base.__name__ for base in type(model).__mro__ if base.__module__.startswith("keras.")}
    return bool(names & {"Functional", "Sequential"}) and type(model).call.__module__.startswith("keras.")


def _is_authors(attribute: str) -> bool:
    return attribute not in OWN_ATTRIBUTES and not attribute.startswith("_self_")  # TensorFlow's tracking


def _may_hold_layers(value: Any) -> bool:
    return isinstance(value, (keras.layers.Layer, list, tuple, dict))


def _join(path: str, name: str) -> str:
    return f"{path}{name}" if name.startswith("[") or not path else f"{path}.{name}"


def _snake_case(name: str) -> str:
    """As Keras makes automatic names out of class names."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
