"""Share of scored tokens that the model holds for the most probable one; higher is better.

## Formula

    accuracy = (1 / N) · Σᵢ [rank of xᵢ in p(· | x₁ … xᵢ₋₁) is 0]

The rank counts the tokens predicted before the right one. Where two are equally probable, the lower id comes first,
so a model that predicts all alike is right only where the text holds id 0.

**Unit:** share, from 0 to 1.

## By hand

Three of four tokens were the model's first choice:

    >>> from rnneval.metrics import accuracy
    >>> accuracy([0, 2, 0, 0])
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
from numpy.typing import ArrayLike, NDArray

from rnneval.metrics._base import Metric, ScoredTokens, Totals, per, score


def accuracy(rank: ArrayLike) -> float:
    """Return the share of tokens whose rank is 0.

    Args:
        rank: How many tokens were predicted before the right one, 0 for a right first choice; any shape. Give a token
            whose prediction is not a number no rank: leave it out, and say so.

    Raises:
        UnavailableError: `rank` is empty.
        ValueError: a rank is NaN, below 0 or not a whole number.

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
