"""When two runs of a row have the same state: what is compared, and what is promised.

A small difference may persist (an identity recurrence), grow (an unstable direction) or add up over rows, and a bound
on the state is no bound on the loss. So rows agree only at two boundaries in a row, with a difference that does not
grow, and with losses that agree too.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.engine.kernel import Predicted
from rnneval.engine.states import Vectors

LOSS_TOLERANCE = 1e-5
"""Nats, for each token of the last segment."""
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

    @property
    def settled(self) -> bool:
        """Whether the kept results stand from here on."""
        return self.agreed >= 2

    @property
    def hopeless(self) -> bool:
        """Whether the difference only grows: the row runs to its end, and is not compared any more."""
        return self.growing >= _GROWING

    def look(self, state: Vectors, kept: Vectors, predicted: Predicted, before: Predicted) -> None:
        """Compare states `(D,)` and losses `(n,)` at the end of a segment."""
        difference = scaled_difference(state, kept)
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
