"""Share of scored tokens that are among the model's five most probable ones; higher is better.

## Formula

    accuracy_top5 = (1 / N) · Σᵢ [rank of xᵢ in p(· | x₁ … xᵢ₋₁) is below 5]

The rank counts the tokens predicted before the right one (of equally probable ones, the lower id comes first).

**Unit:** share, from 0 to 1.

## By hand

Four tokens, whose ranks are 0, 4, 5 and 30: two are among the first five.

    >>> from rnneval.metrics import Totals
    >>> from rnneval.metrics.accuracy_top5 import finish
    >>> finish(Totals(tokens=4, characters=4, bytes=4, words=1, lossless=True, sums={"top5": 2}))
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
from numpy.typing import NDArray

from rnneval.metrics._base import Metric, ScoredTokens, Totals, per

CHOICES = 5


def tally(tokens: ScoredTokens) -> dict[str, NDArray[np.float64]]:
    """Give 1 where the token was among the first five, else 0, `(n,)`; NaN where the prediction is not a number."""
    return {"top5": np.where(np.isnan(tokens.nats), np.nan, tokens.rank < CHOICES)}


def finish(totals: Totals) -> float:
    """Give the share of tokens among the first five choices.

    Raises:
        UnavailableError: no token was scored, or a prediction is not a number.
    """
    return per(totals.total("top5"), totals.tokens, "token")


METRIC = Metric(name="accuracy_top5", unit="share", order=80, tally=tally, finish=finish, higher_is_better=True)
