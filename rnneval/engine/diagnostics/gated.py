"""The gates of a model's layers: whose they are, and of whom none can be had."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnneval.engine.diagnostics.slots import cells_in
from rnneval.metrics.diagnostics import gates
from rnneval.models.layers import Unit

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
