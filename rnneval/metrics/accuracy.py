"""Share of scored tokens that the model holds for the most probable one."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnneval.metrics._base import Metric, ScoredTokens, Totals, per, score


def accuracy(rank: ArrayLike) -> float:
    """Return the share of tokens whose rank is 0.

    Args:
        rank: How many tokens were predicted before the right one, 0 for a right first choice; any shape. Leave out a
            token whose prediction is not a number.

    Raises:
        UnavailableError: `rank` is empty.
        ValueError: a count or rank is not a whole number of at least 0, or the sizes differ.

    Source: Manning and others 2008, section 8.3. By hand, one of two tokens was the first choice:

    >>> accuracy([0, 1])
    0.5
    """
    return score(METRIC, rank=rank)


def tally(tokens: ScoredTokens) -> dict[str, NDArray[np.float64]]:
    """Return 1 for a token that was the first choice, else 0, `(n,)`; NaN if the prediction is not a number.

    Without the NaN, logits of NaN would count as right: nothing is larger than they are, so the rank is 0.
    """
    return {"top1": np.where(np.isnan(tokens.nats), np.nan, tokens.rank == 0)}


def finish(totals: Totals) -> float:
    """Return the share of right first choices from sums over tokens."""
    return per(totals.total("top1"), totals.tokens, "token")


METRIC = Metric(name="accuracy", unit="share", order=70, tally=tally, finish=finish, higher_is_better=True)
