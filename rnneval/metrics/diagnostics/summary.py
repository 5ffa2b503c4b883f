"""From sums to the summary of one slot of one layer's state over a text.

Definitions, so that numbers compare (positions are the tokens that are read; the last token of a document is predicted
and not read):

- `norm_mean`, `norm_max`: of ‖h_t‖₂ over positions. `rms`: √(Σ h² / (positions · units)).
- `lowest`, `highest`: over positions and units.
- `drift`: how much the norm grows over the longest document, as a share of its mean: the least-squares slope of ‖h_t‖
  on the tokens since the document began, times that document's length, divided by `norm_mean`.

Over every k-th position of the text, where k is `every` (1 in texts below 8,192 tokens and in `rnneval trace`; else
the power of two that leaves at least 4,096 positions, 16 at the most), since these take most of the time:

- `mean`: over positions and units.
- `saturated`: share of position × unit with |h| > 0.97, for states bounded by tanh; for the c of an LSTM, |tanh c| >
  0.97. Absent where a slot is not known to be bounded.
- `dead`: share of units whose variance over the text is below 1e-6.
- `speed`: mean of ‖h_t − h_{t−1}‖₂; the state before a document's first token is the initial one.

Over every 16th position (rarer in texts above 65,536 tokens: 4,096 positions at the most), since a covariance at every
step costs a third of the recurrence itself:

- `duplicated`: share of units that have a twin, |r| > 0.999, among the units that are not dead.
- `participation_ratio`: (Σλ)² / Σλ² of the covariance.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnneval.metrics.diagnostics.covariance import Covariance, participation_ratio, twins
from rnneval.metrics.diagnostics.sums import PEAKS, SCALARS, Doubles, Floats
from rnneval.records.run import StateSummary

SATURATED = 0.97
DEAD = 1e-6
_SAMPLED = SCALARS.index("sampled")


@dataclass(frozen=True, kw_only=True)
class Collected:
    """All that is known of one slot over a text."""

    additive: Doubles
    """`(9 + 2 units,)`, see `sums`."""
    peaks: Doubles
    """`(3,)`."""
    shift: Floats
    """`(units,)`."""
    covariance: Covariance
    longest: int
    """Positions of the longest document."""
    every: int
    """How far apart the positions are that `saturated`, `dead`, `mean` and `speed` are made of."""
    bounded: bool
    """Whether `saturated` means something."""


def variances(collected: Collected) -> Doubles:
    """Give each unit's variance over all positions, `(units,)`."""
    n, sums, squares = collected.additive[_SAMPLED], *_units(collected)
    variance: Doubles = np.maximum(squares / n - (sums / n) ** 2, 0.0)
    return variance


def means(collected: Collected) -> Doubles:
    """Give each unit's mean over all positions, `(units,)`."""
    mean: Doubles = collected.shift + _units(collected)[0] / collected.additive[_SAMPLED]
    return mean


def dead(variance: Doubles) -> NDArray[np.bool_]:
    """Tell which units do not move."""
    return variance < DEAD


def summary(collected: Collected) -> StateSummary | None:
    """Give the summary; None where nothing was seen, or a state was not finite."""
    scalar = dict(zip(SCALARS, collected.additive.tolist(), strict=False))
    peak = dict(zip(PEAKS, collected.peaks.tolist(), strict=True))
    n, sampled, units = scalar["positions"], scalar["sampled"], len(collected.shift)
    if not sampled > 0 or not np.isfinite(collected.additive).all() or not np.isfinite(collected.peaks).all():
        return None
    matrix, still = collected.covariance.matrix(), dead(variances(collected))
    norm = scalar["norm"] / n
    return StateSummary(
        norm_mean=norm,
        norm_max=peak["norm"],
        rms=float(np.sqrt(scalar["square"] / (n * units))),
        mean=float(means(collected).mean()),
        lowest=-peak["minus_lowest"],
        highest=peak["highest"],
        saturated=scalar["saturated"] / (sampled * units) if collected.bounded else None,
        dead=float(still.mean()),
        duplicated=float(twins(matrix, ~still).mean()),
        participation_ratio=participation_ratio(matrix),
        speed=scalar["speed"] / sampled,
        drift=_drift(scalar, collected.longest) / norm if norm > 0 else 0.0,
        every=collected.every if collected.every > 1 else None,
    )


def _units(collected: Collected) -> tuple[Doubles, Doubles]:
    of_units = collected.additive[len(SCALARS) :]
    half = len(collected.shift)
    return of_units[:half], of_units[half:]


def _drift(scalar: dict[str, float], longest: int) -> float:
    """Least-squares slope of the norm on t, times the length of the longest document."""
    n = scalar["positions"]
    spread = scalar["tt"] - scalar["t"] ** 2 / n
    if not spread > 0:
        return 0.0
    return (scalar["t_norm"] - scalar["t"] * scalar["norm"] / n) / spread * max(0, longest - 1)
