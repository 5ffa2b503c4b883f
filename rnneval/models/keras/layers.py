"""The layers and trainable variables of a model and their names in records; the states and gates of a layer.

A *unit* is a recurrent layer, or a cell that is called outside of one. Its path is how its author reaches it
(`gru2`, `stack[1].lstm`, `enc.forward_layer`); its name is the key used in records and on the command line.
"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from rnneval.metrics.diagnostics import gates
from rnneval.metrics.diagnostics.summary import LIMITS
from rnneval.models.numpy.chain import SLOTS, snake_case
from rnneval.models.protocol import GatedCell, LayerState, place_name

# Attributes that every Keras layer or model has for its own use, never the author's; `_self_…` are TensorFlow's.
OWN_ATTRIBUTES = frozenset(vars(keras.layers.Layer())) | frozenset(vars(keras.Model()))
KERAS_CELLS = (keras.layers.GRUCell, keras.layers.LSTMCell, keras.layers.SimpleRNNCell)
HALVES = ("float16", "bfloat16")  # types of half precision
_GATED = ((keras.layers.GRUCell, "GRU"), (keras.layers.LSTMCell, "LSTM"))


@dataclass(frozen=True, kw_only=True)
class RecurrentUnit:
    """One recurrent layer or free cell, at one of its places in a call; equal to others of the same layer and place."""

    layer: Any  # the Keras object
    cell: Any = field(compare=False)  # the cell of a layer, or the free cell itself
    path: str = field(compare=False)
    name: str = field(compare=False)
    slots: tuple[str, ...] = field(compare=False)  # the names of the parts of its state, in Keras' order
    place: int = 1  # a layer that reads two streams has two places, and a state at each (`places_of`)

    def at(self, place: int) -> "RecurrentUnit":
        """Return the same layer at another place, named `gru#2`."""
        return self if place == self.place else replace(self, name=place_name(self.name, place), place=place)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The widths of the parts of its state."""
        return tuple(int(size) for size in keras.tree.flatten(self.cell.state_size))

    @property
    def kind(self) -> str:
        """The name of its class, such as GRU."""
        return type(self.layer).__name__

    @property
    def is_layer(self) -> bool:
        """True if it runs over time by itself (a layer), false if it is one step of a loop of the author's (a cell)."""
        return isinstance(self.layer, keras.layers.RNN)


def recurrent_units(model: Any) -> tuple[RecurrentUnit, ...]:
    """Find every recurrent layer, and every cell outside of one, each once, in the order of the author's attributes."""
    units = []
    for path, layer in walk_below(model):
        if is_recurrent(layer):
            cell = layer.cell if isinstance(layer, keras.layers.RNN) else layer
            name = key_of(layer, path)
            units.append(RecurrentUnit(layer=layer, cell=cell, path=path, name=name, slots=slot_names(cell)))
    return tuple(units)


def walk_below(thing: Any, *, into_recurrent: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield every layer below `thing`, each once, with its path; inside of recurrent layers and cells only if asked."""
    waiting, seen = [("", thing)], set[int]()
    while waiting:
        path, thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if path and isinstance(thing, keras.layers.Layer):
            yield path, thing
            if is_recurrent(thing) and not into_recurrent:
                continue
        for name, child in reversed(_children(thing)):
            waiting.append((f"{path}{name}" if name.startswith("[") or not path else f"{path}.{name}", child))


def _children(thing: Any) -> list[tuple[str, Any]]:
    if is_graph(thing):
        return [(layer.name, layer) for layer in thing.layers]
    if isinstance(thing, (dict, list, tuple)):
        items = thing.items() if isinstance(thing, dict) else enumerate(thing)
        return [(f"[{key!r}]", value) for key, value in items]
    own = OWN_ATTRIBUTES if isinstance(thing, keras.layers.Layer) else ()
    kinds = (keras.layers.Layer, list, tuple, dict)
    held = ((name, value) for name, value in getattr(thing, "__dict__", {}).items() if isinstance(value, kinds))
    return [(name, value) for name, value in held if name not in own and not name.startswith("_self_")]


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


def recurrent_layers(model: Any) -> list[Any]:
    """Return the recurrent layers of a model, at any depth."""
    return [layer for layer in sublayers(model) if isinstance(layer, keras.layers.RNN)]


def is_recurrent(layer: Any) -> bool:
    """Return whether an object is a recurrent layer or a cell."""
    return isinstance(layer, keras.layers.RNN) or getattr(layer, "state_size", None) is not None


def is_graph(model: Any) -> bool:
    """Return whether a model is a Sequential or functional one: a graph of layers, not its author's own `call`."""
    names = {base.__name__ for base in type(model).__mro__ if base.__module__.startswith("keras.")}
    return bool(names & {"Functional", "Sequential"}) and type(model).call.__module__.startswith("keras.")


def predicts_once(model: Any) -> bool:
    """Return whether a graph makes one prediction per call, `(batch, V)`, rather than one per token."""
    outputs = getattr(model, "outputs", None) or []
    return len(outputs) == 1 and len(outputs[0].shape) == 2


@contextmanager
def overridden(owner: Any, attribute: str, value: Any) -> Iterator[None]:
    """Set an attribute of a Keras object or class while the block runs, past Keras' tracking; blocks may be nested."""
    own, is_class = vars(owner), isinstance(owner, type)
    put = partial(setattr, owner) if is_class else own.__setitem__
    had, before = attribute in own, own.get(attribute)
    put(attribute, value)
    try:
        yield
    finally:
        if had:
            put(attribute, before)
        else:
            (partial(delattr, owner) if is_class else own.__delitem__)(attribute)


def without_softmax(layer: Any | None) -> AbstractContextManager[None]:
    """Run a layer without its softmax while the block runs."""
    if layer is None:
        return nullcontext()
    if isinstance(layer, keras.layers.Softmax):
        return overridden(layer, "call", lambda inputs, mask=None: inputs)  # noqa: ARG005 - its signature
    return overridden(layer, "activation", keras.activations.linear)


def model_variables(model: Any) -> list[Any]:
    """Return every weight of a Keras model or of another object that has `weights` or `variables`."""
    found = getattr(model, "weights", None)
    return list(found if found is not None else getattr(model, "variables", ()))


def is_weight(variable: Any) -> bool:
    """Return whether it is a weight, and not the state of a stateful layer or of a random generator."""
    name = variable_name(variable)
    return "float" in str(variable.dtype) and "rnn_state" not in name and "seed_generator" not in name


def weights_of(model: Any) -> list[Any]:
    """Return the weights of a model that are no state, trainable or not."""
    return [variable for variable in model_variables(model) if is_weight(variable)]


def variable_name(variable: Any) -> str:
    """Return Keras' path of a variable, or its name, without `:0`."""
    path = getattr(variable, "path", None) or getattr(variable, "name", "?")
    return str(path).removesuffix(":0")


class LayerVariable(NamedTuple):
    """One trainable variable of one layer."""

    layer: str  # `model` for a variable that belongs to no layer
    variable: str  # `kernel`, `recurrent_kernel`, `bias`, `embeddings`, …
    tensor: Any


def layer_variables(model: Any) -> tuple[LayerVariable, ...]:
    """Name every trainable variable, in the order of the model's own list."""
    owners: dict[int, str] = {}
    for path, layer in walk_below(model):  # a layer after the one that holds it: the innermost name stays
        owners |= dict.fromkeys(map(id, layer.trainable_variables), key_of(layer, path))
    parts = [
        (owners.get(id(each), "model"), variable_name(each).split("/"), each) for each in model.trainable_variables
    ]
    counts = Counter((layer, path[-1]) for layer, path, _ in parts)
    # Of several cells in one layer, the cell's name goes before.
    return tuple(
        LayerVariable(layer, "/".join(path[-min(counts[layer, path[-1]], 2) :]), each) for layer, path, each in parts
    )


def slot_names(cell: Any) -> tuple[str, ...]:
    """Name the parts of a cell's state: h; h and c; for stacked cells `cells[i].h`; for others s0, s1."""
    if isinstance(cell, keras.layers.StackedRNNCells):
        return tuple(f"cells[{i}].{slot}" for i, inner in enumerate(cell.cells) for slot in slot_names(inner))
    count = len(keras.tree.flatten(cell.state_size))
    kinds = (SLOTS.get(base.__name__.removesuffix("Cell"), ()) for base in type(cell).__mro__)
    named = next((slots for slots in kinds if len(slots) == count), None)
    return named or (("h",) if count == 1 else tuple(f"s{i}" for i in range(count)))


def cells_in(cell: Any) -> tuple[Any, ...]:
    """Return the cells of a stack of cells in their order, or the cell itself."""
    if isinstance(cell, keras.layers.StackedRNNCells):
        return tuple(inner for part in cell.cells for inner in cells_in(part))
    return (cell,)


def states_of(unit: RecurrentUnit) -> tuple[LayerState, ...]:
    """Return the parts of a unit's state in Keras' order, with the bound beyond which each is saturated."""
    limits: list[float | None] = []
    for cell in cells_in(unit.cell):
        tanh = isinstance(cell, KERAS_CELLS) and cell.activation is keras.activations.tanh
        limits += [LIMITS.get(slot) if tanh else None for slot in slot_names(cell)]
    return tuple(
        LayerState(layer=unit.name, slot=name, units=size, limit=limit)
        for name, size, limit in zip(unit.slots, unit.sizes, limits, strict=True)
    )


def gated_cells(unit: RecurrentUnit) -> tuple[tuple[GatedCell, ...], str]:
    """Return the cells of a layer whose gates are known, and why those of others are not; "" if all are."""
    cells, plain = cells_in(unit.cell), keras.layers.SimpleRNNCell
    own = [type(cell).__name__ for cell in cells if _gated_kind(cell) is None and type(cell) is not plain]
    found, slot, below = [], 0, None
    for k, cell in enumerate(cells):
        kind = _gated_kind(cell)
        if kind is not None:
            kernel, recurrent = (np.asarray(part, np.float32) for part in (cell.kernel, cell.recurrent_kernel))
            bias = None if cell.bias is None else np.asarray(cell.bias, np.float32)
            gated = gates.Gated(kind=kind, kernel=kernel, recurrent=recurrent, bias=bias)
            prefix = f"cells[{k}]." if len(cells) > 1 else ""
            gate = cell.recurrent_activation
            logistic = gate is keras.activations.sigmoid
            activation = None if logistic else lambda array, gate=gate: np.asarray(gate(tf.constant(array)))
            found.append(GatedCell(prefix=prefix, weights=gated, activation=activation, slot=slot, below=below))
        elif not isinstance(cell, KERAS_CELLS):
            break  # its output, which the cell above reads, is not known to be its state
        below, slot = slot, slot + len(keras.tree.flatten(cell.state_size))
    return tuple(found), f"{own[0]} is a cell of the author's own: its gates are not known" if own else ""


def _gated_kind(cell: Any) -> str | None:
    """Return GRU or LSTM for Keras' cells and for subclasses that step as they do; None for one with its own `call`."""
    return next((kind for base, kind in _GATED if isinstance(cell, base) and type(cell).call is base.call), None)
