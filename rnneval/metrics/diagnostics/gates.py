"""Gates and their time constants, recomputed from a cell's weights at sampled positions.

A gate is saturated below 0.03 or above 0.97. A unit's *time constant* is −1 / mean(ln f) tokens over the text, f being
the forget gate of an LSTM and, in Keras' convention h_t = z · h_{t−1} + (1 − z) · h̃_t, the update gate z of a GRU:
the geometric mean of the share kept in a step, as the time after which 1/e is left (C. Tallec, Y. Ollivier: Can
recurrent neural networks warp time? ICLR 2018, section 2). It is capped at a million tokens.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnneval.arrays import Floats

LOW, HIGH = 0.03, 0.97
MOST = 1e6  # tokens: the largest time constant that is reported


NAMES = {"GRU": ("update", "reset"), "LSTM": ("input", "forget", "output")}
KEEPS = {"GRU": "update", "LSTM": "forget"}  # gate that is the share of the state that is kept
_PLACES = {"GRU": (0, 1), "LSTM": (0, 1, 3)}  # Keras' order: z, r, h; i, f, c, o


@dataclass(frozen=True, kw_only=True)
class Gated:
    """The weights of a gated cell, in Keras' order."""

    kind: str  # `GRU` or `LSTM`
    kernel: Floats  # `(inputs, parts · units)`
    recurrent: Floats  # `(units, parts · units)`
    bias: Floats | None  # `(parts · units,)`, or `(2, parts · units)` for a GRU with reset_after

    @property
    def units(self) -> int:
        """Units of the cell."""
        return int(self.recurrent.shape[0])


def preactivations(cell: Gated, inputs: Floats, before: Floats) -> dict[str, Floats]:
    """Return the argument of each gate's sigmoid, `(n, units)`, from inputs `(n, inputs)` and h before `(n, units)`."""
    width = cell.kernel.shape[1]
    bias = np.zeros(width, cell.kernel.dtype) if cell.bias is None else cell.bias.reshape(-1, width).sum(0)
    by_gate: dict[str, Floats] = {}
    for name, place in zip(NAMES[cell.kind], _PLACES[cell.kind], strict=True):
        at = slice(place * cell.units, (place + 1) * cell.units)
        by_gate[name] = inputs @ cell.kernel[:, at] + before @ cell.recurrent[:, at] + bias[at]
    return by_gate


def sigmoid(a: Floats) -> Floats:
    """Return 1 / (1 + e^−a), without overflow."""
    return np.asarray(0.5 * np.tanh(0.5 * a) + 0.5)


def log_sigmoid(a: Floats) -> Floats:
    """Return ln(1 / (1 + e^−a)), exact if the gate is closed."""
    return np.asarray(-np.logaddexp(np.zeros(1, a.dtype), -a))


def time_constants(mean_log_kept: Floats) -> NDArray[np.float64]:
    """Return −1 / mean(ln f) of each unit, at most a million tokens.

    Example:
        >>> time_constants(np.log([0.5, 0.9, 1.0])).round(3).tolist()
        [1.443, 9.491, 1000000.0]
    """
    return np.asarray(-1.0 / np.minimum(np.asarray(mean_log_kept, np.float64), -1.0 / MOST))
