"""Mean loss of a scored token."""

from numpy.typing import ArrayLike

from rnneval.metrics._base import Metric, mean, score


def cross_entropy(nats: ArrayLike) -> float:
    """Return the mean loss in nats per token: Σ nats / N.

    Args:
        nats: Loss of each scored token in nats, −ln p(token | all before it); any shape, summed in float64.

    Raises:
        UnavailableError: there is no such score, as of an empty array or a loss that is not finite.

    Source: Shannon 1948, section 7. By hand, (1 + 2 + 6) / 3:

    >>> cross_entropy([1, 2, 6])
    3.0
    """
    return score(METRIC, nats=nats)


METRIC = Metric(name="cross_entropy", unit="nats a token", order=10, finish=mean("nats"), hypothesis="loss")
