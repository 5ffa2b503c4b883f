"""Snapshots that put a model back as it was: variables, states of layers, and attributes that keep a state."""

from collections.abc import Callable, Iterator
from dis import get_instructions
from functools import partial
from types import CellType, FunctionType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnneval.models.keras.layers import OWN_ATTRIBUTES

# The packages whose objects are not searched for states.
_FOREIGN = {"builtins", "tensorflow", "keras", "numpy", "functools", "types", "inspect", "abc"}


class Snapshot:
    """The values of everything below a model that a call may change.

    A state may live in a variable, in `layer.states`, in a Python attribute, list or dict: all are remembered. The
    tensors themselves are not copied, since they cannot change.

    Before the model has run (`built=False`), what comes to hold layers or variables is its building, and stays. Later,
    an attribute that comes to hold variables keeps a state: a reset that makes them, say.
    """

    def __init__(self, model: Any, *, built: bool = True) -> None:
        self._built = built
        self.variables: list[tuple[Any, np.ndarray[Any, Any]]] = []
        self._undo: list[Callable[[], object]] = []
        self._seen: set[int] = set()
        self._visit(model)

    def restore(self, *, seeds: bool = True) -> None:
        """Put everything back; without `seeds`, Keras' random generators go on, so that equal calls draw anew."""
        self.restore_variables(seeds=seeds)
        for undo in self._undo:
            undo()

    def restore_variables(self, *, seeds: bool = True) -> None:
        """Put the values of variables back, and leave attributes as they are."""
        for variable, value in self.variables:
            if seeds or getattr(variable, "name", "") != "seed_generator_state":
                variable.assign(value)

    def _visit(self, thing: Any) -> None:
        """Keep a copy of a thing that can change, and of all that can be reached from it, each once."""
        if id(thing) in self._seen:
            return
        self._seen.add(id(thing))
        if isinstance(thing, (tf.Variable, keras.Variable)):
            self.variables.append((thing, (thing.value if isinstance(thing, keras.Variable) else thing).numpy()))
        elif isinstance(thing, np.ndarray):
            self._undo.append(partial(thing.__setitem__, ..., thing.copy()))
        elif isinstance(thing, dict):
            self._undo.append(partial(_refill_dict, thing, dict(thing)))
        elif isinstance(thing, list):
            self._undo.append(partial(_refill_list, thing, list(thing)))
        elif isinstance(thing, FunctionType):  # the variables that it closes over, and the globals that it assigns
            self._undo += [partial(setattr, cell, "cell_contents", cell.cell_contents) for cell in _cells(thing)]
            known = thing.__globals__
            assigned = {step.argval for step in get_instructions(thing) if step.opname == "STORE_GLOBAL"}
            self._undo.append(partial(known.update, {name: known[name] for name in assigned if name in known}))
        elif isinstance(thing, type):
            self._undo.append(partial(_set_attributes, thing, _class_attributes(thing)))
        elif _has_attributes(thing) and not _is_foreign(type(thing)):
            before = {name: value for name, value in vars(thing).items() if _may_change(name)}
            self._undo.append(partial(self._put_back, vars(thing), before))
        for child in _children(thing):
            self._visit(child)

    def _put_back(self, now: dict[str, Any], before: dict[str, Any]) -> None:
        for name in [name for name in now if name not in before and _may_change(name) and not self._stays(now[name])]:
            del now[name]
        for name, value in before.items():
            if (name not in now or now[name] is not value) and not self._stays(now.get(name)):
                now[name] = value

    def _stays(self, value: Any) -> bool:
        """Return whether a value holds layers or weights: made once, and not a state."""
        made_once = keras.layers.Layer if self._built else (keras.layers.Layer, tf.Variable, keras.Variable)
        leaves = keras.tree.flatten(value) if isinstance(value, (list, tuple, dict)) else [value]
        return any(isinstance(leaf, made_once) for leaf in leaves)


def _refill_list(items: list[Any], saved: list[Any]) -> None:
    if len(items) != len(saved) or any(a is not b for a, b in zip(items, saved, strict=True)):
        items[:] = saved


def _refill_dict(mapping: dict[Any, Any], saved: dict[Any, Any]) -> None:
    if list(mapping) != list(saved) or any(mapping[key] is not saved[key] for key in saved):
        mapping.clear()
        mapping.update(saved)


def _set_attributes(owner: type, attributes: dict[str, Any]) -> None:
    for name, value in attributes.items():
        if vars(owner).get(name) is not value:
            setattr(owner, name, value)


def _class_attributes(owner: type) -> dict[str, Any]:
    """Return the attributes that a class shares among its objects, without methods and the like."""
    return {
        name: value
        for name, value in vars(owner).items()
        if _may_change(name) and not name.startswith("__") and not callable(value) and not hasattr(value, "__get__")
    }


def _cells(function: FunctionType) -> list[CellType]:
    """Return the variables that a function closes over, without those that are not assigned yet."""
    return [cell for cell in function.__closure__ or () if not repr(cell).endswith("empty>")]


def _may_change(name: str) -> bool:
    return name not in OWN_ATTRIBUTES and not name.startswith("_self_")


def _has_attributes(thing: Any) -> bool:
    if isinstance(thing, (keras.layers.Layer, tf.Module)):
        return True
    return hasattr(thing, "__dict__") and not isinstance(thing, type) and not _is_foreign(type(thing))


def _is_foreign(owner: type) -> bool:
    return owner.__module__.partition(".")[0] in _FOREIGN


def _children(thing: Any) -> Iterator[Any]:
    """Yield the things that are held by a thing: variables, attributes, items, closures, classes."""
    if isinstance(thing, keras.layers.Layer):
        yield from thing.variables
        yield from thing._flatten_layers(include_self=False, recursive=False)
        yield from keras.tree.flatten(getattr(thing, "states", None) or ())
    if isinstance(thing, FunctionType):
        yield from thing.__defaults__ or ()
        yield from (cell.cell_contents for cell in _cells(thing))
    elif isinstance(thing, type):
        yield from _class_attributes(thing).values()
        yield from (value for value in vars(thing).values() if isinstance(value, FunctionType))
    elif isinstance(thing, dict):
        yield from thing.values()
    elif isinstance(thing, (list, tuple)):
        yield from thing
    elif _has_attributes(thing):
        yield from [value for name, value in vars(thing).items() if _may_change(name)]  # a visit may add attributes
        yield from (owner for owner in type(thing).__mro__ if not _is_foreign(owner))
