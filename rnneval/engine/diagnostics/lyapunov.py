"""The largest Lyapunov exponent of each layer along a text: does a small change of the state grow or die out?

Tangent vectors of a layer's state (h and c together) are carried along by the Jacobian of the layer's own step and
renormalised at every token. The mean logarithm of their growth is the exponent (G. Benettin, L. Galgani, A. Giorgilli,
J.-M. Strelcyn: Lyapunov characteristic exponents for smooth dynamical systems. Meccanica 15, 1980). The layers below
are fixed, so a layer's exponent is the *conditional* one of its own block (L. Pecora, T. Carroll: Synchronization in
chaotic systems. Physical Review Letters 64, 1990). The Jacobian of a stack is block-triangular, so the exponent of the
stack is the largest of its layers'. For a linear layer the exponent tends to the logarithm of the spectral radius of
its recurrent matrix.

A tangent vector needs time to turn into the direction that grows most: about 1 / (λ₁ − λ₂) tokens, which is thousands
where the two largest exponents are close. Each row therefore carries two tangents that begin in independent random
directions. The rows walk on until the two agree, and only the last `STEPS` tokens are averaged. What the two still
differ by, as a root mean square over rows, is part of the error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnneval.backends.protocol import Ids, LanguageModel, Place
from rnneval.errors import UsageError
from rnneval.records.run import Exponent

ROWS, STEPS = 8, 1_000
"""The number of rows, and of the tokens of each row that are averaged."""
SETTLING, MOST_SETTLING = 100, 8_000
"""The fewest and the most tokens of a row that are walked before those that are averaged."""
_FURTHER = 500
"""Tokens walked before the tangents are compared again."""
_SETTLED = 0.25
"""The tangents have settled where their difference is at most this share of the spread over the text."""
_ROUNDING = 1e-6
"""Differences of growth below this are rounding of float32, in nats per token."""
_CLUSTERS = 8
Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Exponents:
    """Exponents by layer and of `stack`, with the reasons why others are missing."""

    found: Mapping[str, Exponent]
    missing: Mapping[str, str]
    unsettled: Mapping[str, float]
    """Layers whose two tangents still differ at the end of the walk, with the difference in nats per token."""


def exponents(lm: LanguageModel, text: Ids, places: Sequence[Place], steps: int) -> Exponents:
    """Estimate the largest Lyapunov exponent of each layer and of the stack.

    Args:
        lm: The model.
        text: The text with the ids.
        places: Starting points, one per row, each followed by `steps` tokens.
        steps: The most tokens to walk in each row: a multiple of 50, more than `SETTLING`.
    """
    from rnneval.models.derivatives import TINY, TangentWalk
    from rnneval.models.lm import RecurrentLM

    if not isinstance(lm, RecurrentLM):
        raise UsageError(
            f"Lyapunov exponents need the layers of Keras, and this model runs on {lm.backend}: give --backend keras"
        )
    walk = TangentWalk(lm, text, places)
    measured = min(STEPS, steps - SETTLING)
    walk.on(SETTLING + measured)
    while True:
        found, missing, unsettled = {}, dict(walk.missing), {}
        for name, logs in walk.growth(measured).items():
            if (logs <= np.log(TINY) / 2).any() or not np.isfinite(logs).all():
                missing[name] = "a change of its state is gone after one step, or is not finite"
                continue
            spread, difference = _errors(logs)
            if not difference <= max(_SETTLED * spread, _ROUNDING):
                unsettled[name] = difference
            found[name] = Exponent(
                value=float(logs.mean()),
                standard_error=float(np.hypot(spread, difference)),
                steps=logs.shape[1] * measured,
                settling=walk.walked - measured,
            )
        if not unsettled or walk.walked >= steps:
            break
        walk.on(min(_FURTHER, steps - walk.walked))
    if found and not missing:
        found["stack"] = max(found.values(), key=lambda exponent: exponent.value)
    return Exponents(found=found, missing=missing, unsettled=unsettled)


def _errors(logs: Doubles) -> tuple[float, float]:
    """Return the error from the spread over the text, and that of tangents that have not settled.

    `logs` holds the growth of both tangents, `(2, rows, steps)`. The spread is that of row means; where there are
    fewer than 8 rows, each is cut into equal blocks, so that there are at least 8 clusters.
    """
    blocks = -(-_CLUSTERS // logs.shape[1])
    along = logs.mean(axis=0)[:, logs.shape[2] % blocks :]
    means = along.reshape(along.shape[0] * blocks, -1).mean(axis=1)
    spread = float(means.std(ddof=1) / np.sqrt(len(means)))
    apart = logs[0].mean(axis=1) - logs[1].mean(axis=1)
    return spread, float(np.sqrt(np.mean(apart**2)))
