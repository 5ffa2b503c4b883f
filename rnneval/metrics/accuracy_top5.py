"""Share of scored tokens that are among the model's five most probable ones; higher is better.

## Formula

    accuracy_top5 = (1 / N) · Σᵢ [rank of xᵢ in p(· | x₁ … xᵢ₋₁) is below 5]

The rank counts the tokens predicted before the right one (of equally probable ones, the lower id comes first).

**Unit:** share, from 0 to 1.

## By hand

Four tokens, whose ranks are 0, 4, 5 and 30: two are among the first five.

    >>> from rnneval.metrics import accuracy_top5
    >>> accuracy_top5([0, 4, 5, 30])
    0.5

## How to read it

It is what a list of five suggestions gets right; never below `accuracy`. The floor is naming the five commonest
tokens. With a vocabulary of five or fewer it is always 1.

## Pitfalls

- Nearly all right in a character model: five characters are a large part of what can follow. It tells more of words.
- Blind to how sure the model is, as `accuracy` is.

## References

- O. Russakovsky and others: *ImageNet large scale visual recognition challenge*. International Journal of Computer
  Vision 115, 2015, section 4.1 (top-5 error).
- C. D. Manning, P. Raghavan, H. Schütze: *Introduction to Information Retrieval*. 2008, section 8.3 (accuracy).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnneval.metrics._base import Metric, ScoredTokens, Totals, per, score

CHOICES = 5


def accuracy_top5(rank: ArrayLike) -> float:
    """Return the share of tokens whose rank is below 5.

    Args:
        rank: How many tokens were predicted before the right one, 0 for a right first choice; any shape. Give a token
            whose prediction is not a number no rank: leave it out, and say so.

    Raises:
        UnavailableError: `rank` is empty.
        ValueError: a rank is NaN, below 0 or not a whole number.

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
