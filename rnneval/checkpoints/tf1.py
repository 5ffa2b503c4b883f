"""Name-based checkpoints of TensorFlow 1: the variables of cells, and their matrices in the layout of Keras.

TensorFlow 1 has one matrix for input and state together, `(inputs + units, gates · units)`. BasicLSTMCell, LSTMCell and
LSTMBlockCell order the gates i, j, f, o and add the forget bias to f when they run; GRUCell has the gates r, u and, by
itself, the candidate. (tensorflow/python/ops/rnn_cell_impl.py of TensorFlow 1.15.)
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import CheckpointError

AnyArray = NDArray[Any]

_SLOTS = re.compile(
    r"/(Adam(_\d+)?|RMSProp(_\d+)?|Momentum|Adagrad|Adadelta(_\d+)?|Ftrl(_\d+)?|ExponentialMovingAverage|AdamW?)$"
    r"|(^|/)(global_step|beta\d_power(_\d+)?|learning_rate|lr|Variable(_\d+)?)$"
)
_CELL = re.compile(
    r"^(?P<scope>.*?(?P<kind>basic_lstm_cell|lstm_block_cell|lstm_cell|gru_cell|basic_rnn_cell|rnn_cell"
    r"|BasicLSTMCell|LSTMCell|GRUCell|BasicRNNCell)(_\d+)?)"
    r"/(?P<part>gates/|candidate/|Gates/|Candidate/)?(Linear/|linear/)?"
    r"(?P<role>kernel|weights|Matrix|matrix|bias|biases|Bias|w_[fio]_diag|projection/.*)$"
)
_KINDS = {"lstm": "LSTM", "gru": "GRU", "rnn": "SimpleRNN"}


@dataclass(frozen=True, kw_only=True)
class Tf1Cell:
    """Recurrent cell in the checkpoint."""

    scope: str
    kind: str
    """`LSTM`, `GRU` or `SimpleRNN`: the name in Keras."""
    names: Mapping[str, str]
    """`kernel` and `bias`, for the GRU also `candidate/kernel` and `candidate/bias`, by their full names."""


def is_weight(name: str, shape: tuple[int, ...]) -> bool:
    """Return whether a variable is a weight of the model, rather than of the optimizer or a counter.

    Example:
        >>> is_weight("softmax_w", (8, 4)), is_weight("softmax_w/Adam_1", (8, 4)), is_weight("global_step", ())
        (True, False, False)
    """
    return bool(shape) and not _SLOTS.search(name)


def cells_of(names: Mapping[str, tuple[int, ...]], path: str) -> tuple[Tf1Cell, ...]:
    """Find the cells among the weights, the lowest first."""
    found: dict[str, dict[str, str]] = {}
    kinds: dict[str, str] = {}
    for name in names:
        match = _CELL.match(name)
        if match is None:
            continue
        part, role = (match["part"] or "").lower(), match["role"].lower()
        if role.startswith(("w_", "projection")):
            raise CheckpointError(f"{path}: {name}: a cell with peepholes or a projection, which Keras' LSTM has not")
        plain = "kernel" if role in {"kernel", "weights", "matrix"} else "bias"
        found.setdefault(match["scope"], {})[f"candidate/{plain}" if part == "candidate/" else plain] = name
        kinds[match["scope"]] = next(kind for key, kind in _KINDS.items() if key in match["kind"].lower())
    cells = [Tf1Cell(scope=scope, kind=kinds[scope], names=found[scope]) for scope in sorted(found, key=_natural)]
    for cell in cells:
        wanted = {"kernel", "bias"} | ({"candidate/kernel", "candidate/bias"} if cell.kind == "GRU" else set())
        missing = sorted(wanted - set(cell.names))
        if missing:
            raise CheckpointError(f"{path}: cell {cell.scope} lacks {', '.join(missing)}: the checkpoint is not whole")
    return tuple(cells)


def _natural(scope: str) -> list[Any]:
    """Return a key that sorts numbers in names by their value."""
    return [int(part) if part.isdigit() else part.lower() for part in re.split(r"(\d+)", scope)]


def as_keras(
    cell: Tf1Cell, values: Mapping[str, AnyArray], inputs: int, forget_bias: float
) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Return kernel `(inputs, gates · units)`, recurrent kernel `(units, gates · units)` and bias in Keras' order."""
    kernel, bias = values[cell.names["kernel"]], values[cell.names["bias"]]
    if cell.kind == "GRU":  # the order of Keras: update, reset, candidate
        reset, update = np.hsplit(kernel, 2)
        kernel = np.hstack([update, reset, values[cell.names["candidate/kernel"]]])
        reset, update = np.split(bias, 2)
        bias = np.concatenate([update, reset, values[cell.names["candidate/bias"]]])
    elif cell.kind == "LSTM":
        i, j, f, o = np.hsplit(kernel, 4)
        kernel = np.hstack([i, f, j, o])
        i, j, f, o = np.split(bias, 4)
        bias = np.concatenate([i, f + np.asarray(forget_bias, f.dtype), j, o])
    return kernel[:inputs], kernel[inputs:], bias
