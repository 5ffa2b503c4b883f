"""Perplexity per token."""

from numpy.typing import ArrayLike

from rnneval.metrics._base import exponential, mean, score


def perplexity(nats: ArrayLike) -> float:
    """Return the perplexity per token: exp(Σ nats / N).

    Args:
        nats: Loss of each scored token in nats, −ln p(token | all before it); any shape, summed in float64.

    Raises:
        UnavailableError: there is no such score, as of an empty array or a loss that is not finite.

    Source: Jelinek and others 1977. By hand, with the probabilities 1/2 and 1/8, the geometric mean of 2 and 8:

    >>> import numpy as np
    >>> round(perplexity(-np.log([1 / 2, 1 / 8])), 12)
    4.0
    """
    return score(METRIC, nats=nats)


METRIC = exponential("perplexity", "tokens", 20, mean("nats"), log_unit="nats a token")
