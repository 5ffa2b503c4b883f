"""L2 norm of a layer's state after each token."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def state_norms(states: ArrayLike) -> NDArray[np.float64]:
    """Return the L2 norm of the state after each token: √(Σ h²) over the units.

    Squares are added in the precision of the states, float32 or float64; other types are converted to float64. A state
    that holds NaN has the norm NaN, an infinite one the norm infinity.

    Args:
        states: `(time, units)`, `(batch, time, units)`, or any shape whose last axis is the units.

    Returns:
        `(time,)`, `(batch, time)`, …, in float64.

    Raises:
        ValueError: there is no state, or no axis of units.

    Source: Krueger and Memisevic 2016. By hand, one row of two tokens:

    >>> state_norms(np.array([[[3.0, 4.0], [6.0, 8.0]]])).tolist()
    [[5.0, 10.0]]
    """
    array = np.asarray(states)
    if array.ndim < 1 or array.size == 0:
        raise ValueError(f"states must have the shape (time, units) or (batch, time, units), seen: {array.shape}")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    return np.asarray(np.sqrt(dot(array, array), dtype=np.float64))


def dot(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Return Σ a·b over the last axis, in the precision of the arrays.

    >>> dot(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])).tolist()
    [11.0]
    """
    vecdot = getattr(np, "vecdot", None)  # since NumPy 2.0; twice as fast
    return np.asarray(vecdot(a, b) if vecdot is not None else np.einsum("...u,...u->...", a, b))
