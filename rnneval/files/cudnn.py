"""The weight layouts of cuDNN's own layers (CuDNNLSTM, CuDNNGRU), which a GPU wrote, in the layout of Keras.

cuDNN has one matrix for each gate, with a row for each unit, where Keras has a column; and it has two biases for each
gate, one with the input and one with the state.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def is_cudnn(bias_shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Tell whether a stored bias is twice as long as the LSTM's, or the flat form of the GRU's two rows.

    Example:
        >>> is_cudnn((32,), (16,)), is_cudnn((24,), (2, 12)), is_cudnn((16,), (16,)), is_cudnn((12,), (2, 12))
        (True, True, False, False)
    """
    if len(bias_shape) != 1:
        return False
    lstm = len(wanted) == 1 and bias_shape[0] == 2 * wanted[0]
    return lstm or (len(wanted) == 2 and wanted[0] == 2 and bias_shape[0] == 2 * wanted[1])


def from_cudnn(kernel: Array, recurrent: Array, bias: Array, wanted: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """Rearrange kernel `(inputs, gates · units)`, recurrent kernel `(units, gates · units)` and bias.

    The order of the gates is the same. `wanted` is the shape of Keras' bias: the LSTM has only the sum of the two.
    """
    units = recurrent.shape[0]
    gates = recurrent.shape[1] // units
    into = [gate.reshape(units, kernel.shape[0]).T for gate in _gates(kernel, gates)]
    back = [gate.T for gate in _gates(recurrent, gates)]
    pair = bias.reshape(2, -1)
    return np.hstack(into), np.hstack(back), pair.sum(axis=0) if len(wanted) == 1 else pair


def _gates(matrix: Array, gates: int) -> list[Array]:
    return [np.ascontiguousarray(gate) for gate in np.hsplit(matrix, gates)]
