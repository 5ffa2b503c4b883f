"""The slots of a model's layers: their names in records, and where a state counts as saturated."""

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnneval.metrics.diagnostics import gates
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


_KINDS = ((keras.layers.GRUCell, "GRU"), (keras.layers.LSTMCell, "LSTM"))


@dataclass(frozen=True, kw_only=True, eq=False)
class GatedCell:
    """One gated cell of a layer."""

    layer: str
    prefix: str
    """"" or, for a cell of a stack, `cells[i].`."""
    weights: gates.Gated
    activation: Any
    slot: int
    """Which of the layer's slots is its h."""
    below: int | None
    """Which of the layer's slots is its input; None for the layer's own input."""

    @property
    def names(self) -> tuple[str, ...]:
        """Its gates."""
        return tuple(self.prefix + name for name in gates.NAMES[self.weights.kind])

    @property
    def keeps(self) -> str:
        """The gate whose logarithm is the time constant."""
        return self.prefix + gates.KEEPS[self.weights.kind]

    def activations(self, inputs: Any, before: Any) -> tuple[dict[str, Any], Any]:
        """Give each gate `(n, units)`, and ln of the one that keeps."""
        into = gates.preactivations(self.weights, inputs, before)
        plain = self.activation is keras.activations.sigmoid
        found = {self.prefix + name: gates.sigmoid(a) if plain else self._activated(a) for name, a in into.items()}
        if plain:
            return found, gates.log_sigmoid(into[gates.KEEPS[self.weights.kind]])
        return found, np.log(np.maximum(found[self.keeps], np.finfo(np.float32).tiny))

    def _activated(self, a: Any) -> NDArray[Any]:
        return np.asarray(self.activation(tf.constant(a)))


def gated_cells(unit: Unit) -> tuple[GatedCell, ...]:
    """Give the cells of a layer whose gates are known; none for a cell whose step is its author's own."""
    cells = cells_in(unit.layer.cell if unit.is_layer else unit.layer)
    found, slot, below = [], 0, None
    for k, cell in enumerate(cells):
        kind = _kind(cell)
        if kind is not None:
            weights = [np.asarray(part, np.float32) for part in (cell.kernel, cell.recurrent_kernel)]
            bias = None if cell.bias is None else np.asarray(cell.bias, np.float32)
            gated = gates.Gated(kind=kind, kernel=weights[0], recurrent=weights[1], bias=bias)
            prefix = f"cells[{k}]." if len(cells) > 1 else ""
            found.append(
                GatedCell(
                    layer=unit.name,
                    prefix=prefix,
                    weights=gated,
                    activation=cell.recurrent_activation,
                    slot=slot,
                    below=below,
                )
            )
        if kind is None and not isinstance(cell, keras.layers.SimpleRNNCell):
            break  # what it gives to the cell above is not known to be its state
        below, slot = slot, slot + len(keras.tree.flatten(cell.state_size))
    return tuple(found)


def why_no_gates(unit: Unit) -> str | None:
    """Say why a layer has no gates to look at; None where it has, or is known to have none."""
    cells = cells_in(unit.layer.cell if unit.is_layer else unit.layer)
    own = [cell for cell in cells if _kind(cell) is None and type(cell) is not keras.layers.SimpleRNNCell]
    return f"{type(own[0]).__name__} is a cell of the author's own: its gates are not known" if own else None


def _kind(cell: Any) -> str | None:
    """A subclass that steps as Keras does is of Keras' kind; one with a `call` of its own is not."""
    return next((kind for base, kind in _KINDS if isinstance(cell, base) and type(cell).call is base.call), None)
