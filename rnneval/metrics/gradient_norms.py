"""L2 norms of gradients, and their decay back through time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnneval.records.run import ThroughTime

_GONE = 0.01  # the share of its first norm below which a gradient counts as gone


@dataclass(frozen=True, kw_only=True)
class Norms:
    """L2 norms of the gradients of one step."""

    variables: Mapping[str, float]  # norms by variable, in the order given
    layers: Mapping[str, float]  # norms by layer, in the order of first appearance
    total: float  # norm of all gradients together (the global norm)


def gradient_norms(gradients: Mapping[str, ArrayLike | None] | Iterable[ArrayLike | None]) -> Norms:
    """Return the L2 norm of each gradient, of each layer's gradients and of all together.

    Numbers are converted to float64 first. A gradient that holds NaN or infinity makes the norms that it is part of NaN
    or infinite.

    Args:
        gradients: Arrays of any shape by the name of their variable, such as `gru.kernel` or a Keras path
            (`gru/gru_cell/kernel`); what stands before the last `.` or `/` names the layer, and a name without either
            belongs to none. Or arrays alone, which are named "0", "1", … None, which TensorFlow returns for a variable
            that does not act on the loss, counts as 0.

    Raises:
        ValueError: there is no gradient.

    Source: Pascanu, Mikolov and Bengio 2013, section 3.2. By hand, √(3² + 4²):

    >>> gradient_norms([np.array([3.0, 0.0]), None, np.array([[4.0]])]).total
    5.0
    """
    named = gradients if isinstance(gradients, Mapping) else {str(i): each for i, each in enumerate(gradients)}
    if not named:
        raise ValueError("there is no gradient: give at least one array")
    variables = {
        name: 0.0 if gradient is None else float(np.linalg.norm(np.asarray(gradient, np.float64)))
        for name, gradient in named.items()
    }
    of_layers: dict[str, list[float]] = {}
    for name, norm in variables.items():
        if (end := max(name.rfind("."), name.rfind("/"))) >= 0:
            of_layers.setdefault(name[:end], []).append(norm)
    return Norms(
        variables=variables,
        layers={layer: float(together(norms)) for layer, norms in of_layers.items()},
        total=float(together(list(variables.values()))),
    )


def together(norms: ArrayLike) -> NDArray[np.float64]:
    """Return the norm of several gradients together from their norms: √(Σ norm²) over the last axis.

    >>> together([[3.0, 4.0], [5.0, 12.0]]).tolist()
    [5.0, 13.0]
    """
    return np.asarray(np.sqrt(np.square(np.asarray(norms, np.float64)).sum(axis=-1)))


def decays_of(norms: Mapping[str, NDArray[np.float64]]) -> tuple[dict[str, ThroughTime], dict[str, str]]:
    """Summarise the norms of each state as `decay_of` does, and return why some states have no decay."""
    decays = {key: decay for key, each in norms.items() if (decay := decay_of(each)) is not None}
    reason = "it does not act on the loss, or its gradient is not finite"
    return decays, {key: reason for key in norms if key not in decays}


def decay_of(norms: NDArray[np.float64]) -> ThroughTime | None:
    """Summarise norms `(anchors, lags)`, lag 0 first, by lag; None where no lag has a gradient to compare with."""
    acting = np.flatnonzero((norms > 0).all(axis=0))
    if not np.isfinite(norms).all() or not len(acting):
        return None
    base = int(acting[0])
    ratio = norms / norms[:, base, None]
    low, median, high = np.percentile(ratio, [2.5, 50, 97.5], axis=0)
    below = median < _GONE
    gone = int(np.flatnonzero(~below)[-1]) + 1 if below[-1] else None
    last = gone if gone is not None else len(median) - 1
    steps = max(1, last - base)
    return ThroughTime(
        median=tuple(median.tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        band=0.95,
        base=base,
        decay=float(median[last] ** (1 / steps)) if last > base else 1.0,
        gone=gone,
    )
