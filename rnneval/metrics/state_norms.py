"""L2 norm of a layer's state after each token: the size of what the model carries along the text.

## Formula

    state_norms = ‖h_t‖₂ = √(Σ_u h_tu²)

h_tu is unit u of one state (`h`, or the `c` of an LSTM) after token t.

**Unit:** that of the state; it has no physical one. An h bounded by tanh is at most √units.

## By hand

Two tokens of a layer with two units, √(3² + 4²) and √(0² + 1²):

    >>> from rnneval.metrics import state_norms
    >>> state_norms([[3.0, 4.0], [0.0, 1.0]]).tolist()
    [5.0, 1.0]

## How to read it

It is a curve over the text and no score, so neither direction is better. A trained model settles after the first
tokens of a document and then moves around one level. A norm near √units means that most units are saturated; a norm
that goes on growing or shrinking takes the model to states that it was not trained on (finding `drifting-norm`).

Divided by √units it is the root mean square of the units, which compares layers of different widths. Run records hold
its mean, its maximum and its drift for every layer (`states.LAYER.h.norm_mean`, …); `rnneval trace` writes the curve.

## Pitfalls

- One number for all units: two states with the same norm may have nothing in common.
- The norm of an LSTM's `c` is not bounded, and is no sign of saturation by itself.
- Norms of layers with different widths differ by √units alone.
- The state must be carried from segment to segment, or the curve shows the segments and not the text.

## References

- A. Karpathy, J. Johnson, L. Fei-Fei: *Visualizing and understanding recurrent networks*. ICLR workshop 2016.
- S. Merity, N. S. Keskar, R. Socher: *Regularizing and optimizing LSTM language models*. ICLR 2018 (activation
  regularisation and its temporal form penalise ‖h_t‖₂ and ‖h_t − h_{t−1}‖₂).
- D. Krueger, R. Memisevic: *Regularizing RNNs by stabilizing activations*. ICLR 2016.
"""

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
    norms: NDArray[np.float64] = np.sqrt(dot(array, array), dtype=np.float64)
    return norms


def dot(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Return Σ a·b over the last axis, in the precision of the arrays.

    >>> dot(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])).tolist()
    [11.0]
    """
    vecdot = getattr(np, "vecdot", None)  # since NumPy 2.0; twice as fast
    product: NDArray[Any] = vecdot(a, b) if vecdot is not None else np.einsum("...u,...u->...", a, b)
    return product
