"""Share of scored tokens that the model holds for the most probable one; higher is better.

## Formula

    accuracy = (1 / N) · Σᵢ [rank of xᵢ in p(· | x₁ … xᵢ₋₁) is 0]

The rank counts the tokens predicted before the right one. Where two are equally probable, the lower id comes first,
so a model that predicts all alike is right only where the text holds id 0.

**Unit:** share, from 0 to 1.

## By hand

Three of four tokens were the model's first choice:

    >>> from rnneval.metrics import Totals
    >>> from rnneval.metrics.accuracy import finish
    >>> finish(Totals(tokens=4, characters=4, bytes=4, words=1, lossless=True, sums={"top1": 3}))
    0.75

## How to read it

It is what greedy decoding or a keyboard's first suggestion gets right. The floor is always naming the commonest
token: in tinyshakespeare the space, 15 % of the characters.

## Pitfalls

- It does not see how sure the model is, so it moves less and is noisier than the cross-entropy: tune on that.
- Character accuracies look high because the end of a word is easy. Compare only models with the same tokens.
- It is *teacher forced*: each token is predicted after the true past, not after the model's own guesses.

## References

- C. D. Manning, P. Raghavan, H. Schütze: *Introduction to Information Retrieval*. 2008, section 8.3 (accuracy).
- A. Hard and others: *Federated learning for mobile keyboard prediction*. arXiv 1811.03604, 2018 (top-1 recall of the
  next word).
"""

import numpy as np
from numpy.typing import NDArray

from rnneval.metrics._base import Metric, ScoredTokens, Totals, per


def tally(tokens: ScoredTokens) -> dict[str, NDArray[np.float64]]:
    """Give 1 where the token was the first choice, else 0, `(n,)`; NaN where the prediction is not a number.

    Without the NaN, logits of NaN would count as right: nothing is larger than they are, so the rank is 0.
    """
    return {"top1": np.where(np.isnan(tokens.nats), np.nan, tokens.rank == 0)}


def finish(totals: Totals) -> float:
    """Give the share of right first choices.

    Raises:
        UnavailableError: no token was scored, or a prediction is not a number.
    """
    return per(totals.total("top1"), totals.tokens, "token")


METRIC = Metric(name="accuracy", unit="share", order=70, tally=tally, finish=finish, higher_is_better=True)
