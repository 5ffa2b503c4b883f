"""The states and gates of a layer: their names in records, the bounds of states, the weights of gates."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnneval.backends.protocol import GatedCell, LayerState
from rnneval.metrics.diagnostics import gates
from rnneval.metrics.diagnostics.summary import LIMITS
from rnneval.models.layers import Unit


def states_of(unit: Unit) -> tuple[LayerState, ...]:
    """Return the parts of a unit's state, in Keras' order."""
    limits = [limit for inner in _cells_in(unit.cell) for limit in _limits(inner)]
    return tuple(
        LayerState(layer=unit.name, slot=name, units=size, limit=limit)
        for name, size, limit in zip(unit.slots, unit.sizes, limits, strict=True)
    )


def _cells_in(cell: Any) -> tuple[Any, ...]:
    """Return the cells of a stack of cells in their order, or the cell itself."""
    if isinstance(cell, keras.layers.StackedRNNCells):
        return tuple(inner for part in cell.cells for inner in _cells_in(part))
    return (cell,)


def _limits(cell: Any) -> list[float | None]:
    """Return the bound of each part of a cell's state beyond which a unit is saturated."""
    count = len(keras.tree.flatten(cell.state_size))
    tanh = getattr(cell, "activation", None) is keras.activations.tanh
    if tanh and isinstance(cell, keras.layers.LSTMCell):
        return [LIMITS["h"], LIMITS["c"]]
    if tanh and isinstance(cell, (keras.layers.GRUCell, keras.layers.SimpleRNNCell)):
        return [LIMITS["h"]]
    return [None] * count


_KINDS = ((keras.layers.GRUCell, "GRU"), (keras.layers.LSTMCell, "LSTM"))


def gated_cells(unit: Unit) -> tuple[GatedCell, ...]:
    """Return the cells of a layer whose gates are known; none for a cell whose step is its author's own."""
    cells = _cells_in(unit.cell)
    found, slot, below = [], 0, None
    for k, cell in enumerate(cells):
        kind = _kind(cell)
        if kind is not None:
            weights = [np.asarray(part, np.float32) for part in (cell.kernel, cell.recurrent_kernel)]
            bias = None if cell.bias is None else np.asarray(cell.bias, np.float32)
            gated = gates.Gated(kind=kind, kernel=weights[0], recurrent=weights[1], bias=bias)
            prefix = f"cells[{k}]." if len(cells) > 1 else ""
            activation = _on_arrays(cell.recurrent_activation)
            found.append(GatedCell(prefix=prefix, weights=gated, activation=activation, slot=slot, below=below))
        if kind is None and not isinstance(cell, keras.layers.SimpleRNNCell):
            break  # its output, which the cell above reads, is not known to be its state
        below, slot = slot, slot + len(keras.tree.flatten(cell.state_size))
    return tuple(found)


def _on_arrays(function: Any) -> Callable[..., Any] | None:
    """Return Keras' activation as a function of arrays; None for the logistic function."""
    if function is keras.activations.sigmoid:
        return None
    return lambda array: np.asarray(function(tf.constant(array)))


def why_no_gates(unit: Unit) -> str | None:
    """Return the reason if the gates of a layer are not known; None if they are, or if it is known to have none."""
    plain = keras.layers.SimpleRNNCell
    own = [cell for cell in _cells_in(unit.cell) if _kind(cell) is None and type(cell) is not plain]
    return f"{type(own[0]).__name__} is a cell of the author's own: its gates are not known" if own else None


def _kind(cell: Any) -> str | None:
    """Return GRU or LSTM for Keras' cells and for subclasses that step as they do; None for one with its own `call`."""
    return next((kind for base, kind in _KINDS if isinstance(cell, base) and type(cell).call is base.call), None)
