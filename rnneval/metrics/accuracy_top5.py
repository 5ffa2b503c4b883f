"""Share of scored tokens that are among the model's five most probable ones."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnneval.metrics._base import Metric, ScoredTokens, Totals, per, score

CHOICES = 5


def accuracy_top5(rank: ArrayLike) -> float:
    """Return the share of tokens whose rank is below 5.

    Args:
        rank: How many tokens were predicted before the right one, 0 for a right first choice; any shape. Leave out a
            token whose prediction is not a number.

    Raises:
        UnavailableError: `rank` is empty.
        ValueError: a count or rank is not a whole number of at least 0, or the sizes differ.

    Source: Russakovsky and others 2015, section 4.1. By hand, one of four tokens is among the first five:

    >>> accuracy_top5([[0, 9], [9, 9]])
    0.25
    """
    return score(METRIC, rank=rank)


def tally(tokens: ScoredTokens) -> dict[str, NDArray[np.float64]]:
    """Return 1 for a token among the first five, else 0, `(n,)`; NaN if the prediction is not a number."""
    return {"top5": np.where(np.isnan(tokens.nats), np.nan, tokens.rank < CHOICES)}


def finish(totals: Totals) -> float:
    """Return the share of tokens among the first five choices from sums over tokens."""
    return per(totals.total("top5"), totals.tokens, "token")


METRIC = Metric(name="accuracy_top5", unit="share", order=80, tally=tally, finish=finish, higher_is_better=True)
