"""The names of the units that the probe meets, and the author's lines that call them."""

import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import keras
import tensorflow as tf

from rnneval.models.keras.layers import is_recurrent, key_of, slot_names, walk_below
from rnneval.wiring.facts import Spot, UnitFact

_OURS = str(Path(__file__).resolve().parents[2]) + os.sep
_FOREIGN = tuple(str(Path(module.__file__ or "").resolve().parent) + os.sep for module in (keras, tf))
_LIBRARY = os.sep + "site-packages" + os.sep
_PACKAGES = ("keras", "tf_keras", "tensorflow", "optree")  # other packages may hold the author's model
_PYTHON = sysconfig.get_path("stdlib") + os.sep


class UnitNames:
    """Every recurrent layer and cell below a model, by identity, with its path and name."""

    def __init__(self, model: Any) -> None:
        self.twins: dict[int, int] = {}
        self.objects: list[Any] = []  # the objects themselves, so that no identity is given away
        self._paths: dict[int, tuple[str, str]] = {}
        for path, thing in walk_below(model):
            self._enter(path, thing)
            if isinstance(thing, keras.layers.Bidirectional):
                forward, backward = thing.forward_layer, thing.backward_layer
                self.twins |= {id(forward): id(backward), id(backward): id(forward)}
            if is_recurrent(thing):
                is_layer = isinstance(thing, keras.layers.RNN)
                cell, where = (thing.cell, f"{path}.cell") if is_layer else (thing, path)
                self._enter(where, cell)
                for inner_path, inner in walk_below(cell, into_recurrent=True):
                    self._enter(f"{where}.{inner_path}", inner)

    def _enter(self, path: str, thing: Any) -> None:
        if id(thing) not in self._paths:
            self._paths[id(thing)] = (path, key_of(thing, path))
            self.objects.append(thing)

    def number(self, thing: Any) -> int:
        """Return a number that no other object has."""
        self.of(thing)
        return list(self._paths).index(id(thing))

    def of(self, thing: Any) -> tuple[str, str]:
        """Return (path, name); a unit that no attribute of the model leads to goes by its own name."""
        if id(thing) not in self._paths:
            self._enter(str(getattr(thing, "name", "") or type(thing).__name__), thing)
        return self._paths[id(thing)]


def is_composite(cell: Any) -> bool:
    """Return whether a cell of the author's is made of cells, so that its inner wiring is part of the question.

    Keras' own StackedRNNCells is known to be right, unless a composite cell is in it.
    """
    if isinstance(cell, keras.layers.StackedRNNCells) and type(cell).call is keras.layers.StackedRNNCells.call:
        return any(map(is_composite, cell.cells))
    return any(is_recurrent(thing) for _, thing in walk_below(cell, into_recurrent=True))


def fact_of(thing: Any, names: UnitNames, indices: dict[int, int], slots: int) -> UnitFact:
    """Describe a unit as the rules see it; `slots` is how many parts its state was seen to have."""
    path, name = names.of(thing)
    is_layer = isinstance(thing, keras.layers.RNN)
    cell = thing.cell if is_layer else thing
    named = slot_names(cell) if getattr(cell, "state_size", None) is not None else ()
    twin = names.twins.get(id(thing))
    return UnitFact(
        name=name,
        path=path,
        kind=type(thing).__name__,
        slots=named if len(named) == slots else tuple(f"s{index}" for index in range(slots)),
        is_layer=is_layer,
        stateful=bool(is_layer and thing.stateful),
        twin=None if twin is None else indices.get(twin),
        cells=tuple((place, names.number(inner)) for place, inner in _stacked(cell)),
    )


def _stacked(cell: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the cells of a stack with their places in it; of any other cell itself, at no place."""
    if not isinstance(cell, keras.layers.StackedRNNCells):
        yield place, cell
        return
    for index, inner in enumerate(cell.cells):
        yield from _stacked(inner, f"{place}.cells[{index}]".removeprefix("."))


def frames_of_call(frame: FrameType | None) -> tuple[list[FrameType], Spot]:
    """Return the frames from `frame` out to the author's own, that one included, and its line.

    The author's frame is the innermost that is neither Keras', TensorFlow's nor ours; a graph of layers has none.
    """
    frames: list[FrameType] = []
    while frame is not None:
        frames.append(frame)
        name = frame.f_code.co_filename
        if not _is_library(name):
            return frames, Spot(file=name, line=frame.f_lineno)
        if name.startswith(_OURS) and frame.f_code.co_name == "call_model":
            break  # all the way out: the model is a graph, no line of the author's called the layer
        frame = frame.f_back
    return frames, Spot()


def _is_library(name: str) -> bool:
    _, installed, rest = name.rpartition(_LIBRARY)
    is_known = rest.partition(os.sep)[0] in _PACKAGES if installed else name.startswith(_PYTHON)
    return is_known or name.startswith((_OURS, *_FOREIGN, "<frozen"))
