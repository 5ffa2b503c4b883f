"""The slots of a model's layers: their names in records, and where a state counts as saturated."""

import math
from dataclasses import dataclass
from typing import Any

import keras

from rnneval.metrics.diagnostics.summary import SATURATED
from rnneval.models.layers import Unit


@dataclass(frozen=True, kw_only=True)
class SlotOf:
    """One slot of one layer."""

    layer: str
    slot: str
    units: int
    limit: float | None
    """|h| beyond which a unit is saturated; None where it has no known bound."""

    @property
    def key(self) -> str:
        """Its name in a record."""
        return f"{self.layer}.{self.slot}"


def slots_of(unit: Unit) -> tuple[SlotOf, ...]:
    """Name a unit's slots, in Keras' order."""
    cell = unit.layer.cell if unit.is_layer else unit.layer
    limits = [limit for inner in cells_in(cell) for limit in _limits(inner)]
    sizes = [int(size) for size in keras.tree.flatten(cell.state_size)]
    return tuple(
        SlotOf(layer=unit.name, slot=name, units=size, limit=limit)
        for name, size, limit in zip(unit.slots, sizes, limits, strict=True)
    )


def cells_in(cell: Any) -> tuple[Any, ...]:
    """Give the cells of a stack of cells in their order, or the cell itself."""
    if isinstance(cell, keras.layers.StackedRNNCells):
        return tuple(inner for part in cell.cells for inner in cells_in(part))
    return (cell,)


def _limits(cell: Any) -> list[float | None]:
    """GRU, SimpleRNN and LSTM keep h within ±1 by tanh; the c of an LSTM has no bound, but tanh(c) is what is read."""
    count = len(keras.tree.flatten(cell.state_size))
    tanh = getattr(cell, "activation", None) is keras.activations.tanh
    if tanh and isinstance(cell, keras.layers.LSTMCell):
        return [SATURATED, math.atanh(SATURATED)]
    if tanh and isinstance(cell, (keras.layers.GRUCell, keras.layers.SimpleRNNCell)):
        return [SATURATED]
    return [None] * count
