"""The layers and trainable variables of a model, and their names in records.

A *unit* is a recurrent layer, or a cell that is called outside of one. Its path is how its author reaches it
(`gru2`, `stack[1].lstm`, `enc.forward_layer`); its name is the key used in records and on the command line.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras

from rnneval.backends.numpy.chain import snake_case
from rnneval.wiring.places import place_name

# Attributes that every Keras layer or model has for its own use, never the author's; `_self_…` are TensorFlow's.
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
    """Number of the place, from 1: a layer that reads two streams has two, and a state at each (`wiring.places`)."""
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
        """True if it runs over time by itself (a layer), false if it is one step of a loop of the author's (a cell)."""
        return isinstance(self.layer, keras.layers.RNN)

    @property
    def cell(self) -> Any:
        """The cell of a layer, or the free cell itself."""
        return self.layer.cell if self.is_layer else self.layer

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of the parts of its state, in Keras' order."""
        return slot_names(self.cell)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The widths of the parts of its state."""
        return tuple(int(size) for size in keras.tree.flatten(_state_size(self.cell)))

    @property
    def has_memory_cells(self) -> bool:
        """True if it keeps a c beside its h, as an LSTM does; of stacked cells, whether one of them does."""
        return any(slot.rsplit(".", 1)[-1] == "c" for slot in self.slots)

    @property
    def units(self) -> int:
        """The width of the first part of its state."""
        return int(keras.tree.flatten(_state_size(self.cell))[0])


def recurrent_units(model: Any) -> tuple[Unit, ...]:
    """Find every recurrent layer, and every cell outside of one, each once, in the order of the author's attributes."""
    return tuple(
        Unit(layer=layer, path=path, name=key_of(layer, path))
        for path, layer in _walk(model, "", set())
        if is_recurrent(layer)
    )


def walk_below(thing: Any, *, into_recurrent: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield every layer below `thing`, each once, with its path; inside of recurrent layers and cells only if asked."""
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
    """Return the name that its author gave a layer, else its path: automatic names (`gru_7`) differ by instance."""
    name = getattr(layer, "name", "")
    automatic = re.fullmatch(rf"((forward|backward)_)?{re.escape(snake_case(type(layer).__name__))}(_\d+)?", name)
    return path if automatic or not name else name


def sublayers(model: Any) -> list[Any]:
    """Return the layers of a model at any depth, including those inside wrappers and lists, whatever their names."""
    if not isinstance(model, keras.layers.Layer):
        return [thing for thing in getattr(model, "__dict__", {}).values() if isinstance(thing, keras.layers.Layer)]
    return list(model._flatten_layers(include_self=False, recursive=True))


def is_recurrent(layer: Any) -> bool:
    """Return whether an object is a recurrent layer or a cell."""
    return isinstance(layer, keras.layers.RNN) or _state_size(layer) is not None


def _state_size(cell: Any) -> Any:
    return getattr(cell, "state_size", None)


def _walk(thing: Any, path: str, seen: set[int], *, into_recurrent: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield every layer below `thing` with its path; recurrent layers and cells are entered only if asked."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if path and isinstance(thing, keras.layers.Layer):
        yield path, thing
        if is_recurrent(thing) and not into_recurrent:
            return
    for name, child in _children(thing):
        where = f"{path}{name}" if name.startswith("[") or not path else f"{path}.{name}"
        yield from _walk(child, where, seen, into_recurrent=into_recurrent)


def _children(thing: Any) -> list[tuple[str, Any]]:
    if is_graph(thing):
        return [(layer.name, layer) for layer in thing.layers]
    if isinstance(thing, dict):
        return [(f"[{key!r}]", value) for key, value in thing.items()]
    if isinstance(thing, (list, tuple)):
        return [(f"[{index}]", value) for index, value in enumerate(thing)]
    if isinstance(thing, keras.layers.Layer):
        own = [(name, value) for name, value in vars(thing).items() if name not in OWN_ATTRIBUTES]
        return [(name, value) for name, value in own if not name.startswith("_self_") and _may_hold_layers(value)]
    return [(name, value) for name, value in getattr(thing, "__dict__", {}).items() if _may_hold_layers(value)]


def is_graph(model: Any) -> bool:
    """Return whether a model is a Sequential or functional one: a graph of layers, not its author's own `call`."""
    names = {base.__name__ for base in type(model).__mro__ if base.__module__.startswith("keras.")}
    return bool(names & {"Functional", "Sequential"}) and type(model).call.__module__.startswith("keras.")


def _may_hold_layers(value: Any) -> bool:
    return isinstance(value, (keras.layers.Layer, list, tuple, dict))


@dataclass(frozen=True, kw_only=True, eq=False)
class Column:
    """One variable of one layer."""

    layer: str
    """`model` for a variable that belongs to no layer."""
    variable: str
    """`kernel`, `recurrent_kernel`, `bias`, `embeddings`, …"""
    tensor: Any = field(repr=False)


def columns_of(model: Any) -> tuple[Column, ...]:
    """Name every trainable variable, in the order of the model's own list."""
    owners: dict[int, str] = {}
    for path, layer in walk_below(model):  # a layer after the one that holds it: the innermost name stays
        owners |= dict.fromkeys(map(id, layer.trainable_variables), key_of(layer, path))
    variables = list(model.trainable_variables)
    names = [str(variable.name).rpartition("/")[2].removesuffix(":0") for variable in variables]
    keys = [(owners.get(id(variable), "model"), name) for variable, name in zip(variables, names, strict=True)]
    twice = {key for key, count in Counter(keys).items() if count > 1}
    found = []
    for (layer, name), variable in zip(keys, variables, strict=True):
        if (layer, name) in twice:  # of several cells in one layer: the cell's name goes before
            name = "/".join(str(getattr(variable, "path", variable.name)).split("/")[-2:])  # noqa: PLW2901
        found.append(Column(layer=layer, variable=name, tensor=variable))
    return tuple(found)
