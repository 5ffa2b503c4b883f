"""Perplexity per token."""

from numpy.typing import ArrayLike

from rnneval.metrics._base import Metric, Totals, exponential, per, score, tally_nats


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


def log_perplexity(totals: Totals) -> float:
    """Return the logarithm of the perplexity: the mean loss per token in nats."""
    return per(totals.total("nats"), totals.tokens, "token")


METRIC = Metric(
    name="perplexity",
    unit="tokens",
    order=20,
    tally=tally_nats,
    finish=exponential(log_perplexity),
    log=log_perplexity,
    log_unit="nats a token",
    hypothesis="loss",
)
