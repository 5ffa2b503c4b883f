"""Distance of the model's confidence in its first choice from how often that choice is right."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnneval.metrics._base import Metric, ScoredTokens, Totals, per, score

BINS = 15
NAMES = tuple(f"calibration_gap_{index:02}" for index in range(BINS))
COUNTS = tuple(f"calibration_count_{index:02}" for index in range(BINS))


def calibration_error(confidence: ArrayLike, rank: ArrayLike) -> float:
    """Return the expected calibration error over 15 bins: Σ_b |Σ_{i in b} (correct_i − confidence_i)| / N.

    Args:
        confidence: Largest probability of each prediction; any shape.
        rank: How many tokens were predicted before the right one, in the shape of `confidence`: 0 is correct.

    Raises:
        UnavailableError: there is no such score, as of an empty array or a loss that is not finite.
        ValueError: a count or rank is not a whole number of at least 0, or the sizes differ.

    Source: Guo and others 2017, equation 3. By hand, a right and a wrong token in two bins, (0.25 + 0.5) / 2:

    >>> calibration_error([0.75, 0.5], rank=[0, 1])
    0.375
    """
    return score(METRIC, confidence=confidence, rank=rank)


def tally(tokens: ScoredTokens) -> dict[str, NDArray[np.float64]]:
    """Return correct − confidence in the token's own bin and 0 in the others, `(n,)` a bin; and counts of 1 and 0.

    Bin b holds (b/15, (b+1)/15]; a confidence that rounding puts at or below 0 or above 1 goes to an outer bin.
    """
    gap = (tokens.rank == 0) - np.asarray(tokens.confidence, dtype=np.float64)
    # Compared with the edges and not multiplied by 15, which would round some of them up.
    bins = np.searchsorted(np.arange(1, BINS) / BINS, tokens.confidence, side="left")
    gaps = {name: np.where(bins == index, gap, 0.0) for index, name in enumerate(NAMES)}
    return gaps | {name: (bins == index).astype(np.float64) for index, name in enumerate(COUNTS)}


def finish(totals: Totals) -> float:
    """Return the weighted mean gap between confidence and accuracy from sums over tokens."""
    return per(sum(abs(totals.total(name)) for name in NAMES), totals.tokens, "token")


METRIC = Metric(name="calibration_error", unit="share", order=90, tally=tally, finish=finish, biased_upwards=True)
