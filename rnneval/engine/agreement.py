"""When two runs of a row have the same state: what is compared, and what is promised.

A small difference may persist (an identity recurrence), grow (an unstable direction) or add up over rows, and a bound
on the state is no bound on the loss. So rows agree only at two boundaries in a row, with a difference that does not
grow, and with losses that agree too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.engine.kernel import Predicted
from rnneval.engine.states import Vectors

LOSS_TOLERANCE = 1e-5
"""Nats, for each token of the last segment."""
_NOISE = 1e-7  # of float32: where equality is asked for, it is what is waited for
_GROWING = 3
"""Boundaries of growth in a row after which a row runs to its end."""


@dataclass(kw_only=True)
class Course:
    """How one repaired row's state compares with the kept one, boundary by boundary."""

    tolerance: float
    difference: float = np.inf
    """Largest difference at the last boundary, in units of 1 + |s|."""
    agreed: int = 0
    """Boundaries in a row that agreed."""
    growing: int = 0
    met: int | None = None
    """Tokens read by the first boundary since which the states alone have agreed; None while they differ."""

    @property
    def settled(self) -> bool:
        """Whether the kept results stand from here on."""
        return self.agreed >= 2

    @property
    def hopeless(self) -> bool:
        """Whether the difference only grows: the row runs to its end, and is not compared any more."""
        return self.growing >= _GROWING

    def look(self, state: Vectors, kept: Vectors, predicted: Predicted, before: Predicted, tokens: int = 0) -> None:
        """Compare states `(D,)` and losses `(n,)` at the end of a segment, `tokens` after the start of the row."""
        difference = scaled_difference(state, kept)
        if not difference <= self.tolerance:
            self.met = None
        elif self.met is None:
            self.met = tokens
        near = difference <= self.tolerance and losses_agree(predicted, before, self.tolerance)
        not_growing = difference <= max(self.difference, self.tolerance / 4)
        self.agreed = self.agreed + 1 if near and (not_growing or self.agreed == 0) else 0
        self.growing = self.growing + 1 if difference > self.difference > self.tolerance else 0
        self.difference = difference


def scaled_difference(state: Vectors, kept: Vectors) -> float:
    """Give the largest |Δ| / (1 + |s|) over units; infinite where a number of one run alone is not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        differences = np.abs(state - kept) / (1 + np.abs(kept))
    return _largest(differences, both_lost=~np.isfinite(state) & ~np.isfinite(kept))


def segments_to_go(differences: Mapping[int, float], tolerance: float) -> float:
    """Give the segments until a difference is below the tolerance, at the rate at which it last fell.

    The rate is that of the second half of the boundaries: slow units are what is left then. Infinite where it does not
    fall; 0 where there is nothing to go by.

    Example:
        >>> segments_to_go({1: 1.0, 2: 0.1, 3: 0.05, 4: 0.01}, 1e-4)
        4.0
    """
    if len(differences) < 2:
        return 0.0
    last, half = max(differences), min(differences, key=lambda boundary: abs(2 * boundary - max(differences)))
    if not 0 < differences[last] < differences[half] < inf:
        return inf if differences[last] else 0.0
    rate = log(differences[half] / differences[last]) / (last - half)
    return max(0.0, round(log(differences[last] / max(tolerance, _NOISE)) / rate, 6))


def losses_agree(predicted: Predicted, before: Predicted, tolerance: float) -> bool:
    """Tell whether every loss of a segment agrees within 1e-5 nats; exactly where the tolerance is 0."""
    allowed = LOSS_TOLERANCE if tolerance > 0 else 0.0
    return loss_difference(predicted, before) <= allowed


def loss_difference(predicted: Predicted, before: Predicted) -> float:
    """Give the largest difference of two runs' losses; infinite where one run's alone is not finite."""
    with np.errstate(invalid="ignore"):
        differences = np.abs(predicted.nats.astype(np.float64) - before.nats)
    return _largest(differences, both_lost=~np.isfinite(predicted.nats) & ~np.isfinite(before.nats))


def _largest(differences: NDArray[Any], *, both_lost: NDArray[np.bool_]) -> float:
    """Numbers that are not finite in both runs agree: what is lost stays lost."""
    largest = float(np.max(np.where(both_lost, 0.0, differences), initial=0.0))
    return largest if np.isfinite(largest) else np.inf
