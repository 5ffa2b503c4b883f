"""Mean loss of a scored token."""

from numpy.typing import ArrayLike

from rnneval.metrics._base import Metric, Totals, per, score, tally_nats


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


def finish(totals: Totals) -> float:
    """Return the mean loss in nats per token from sums over tokens."""
    return per(totals.total("nats"), totals.tokens, "token")


METRIC = Metric(name="cross_entropy", unit="nats a token", order=10, tally=tally_nats, finish=finish, hypothesis="loss")
