"""Share of scored tokens that the model holds for the most probable one."""

from numpy.typing import ArrayLike

from rnneval.metrics._base import among_first, score


def accuracy(rank: ArrayLike) -> float:
    """Return the share of tokens whose rank is 0.

    Args:
        rank: How many tokens were predicted before the right one, 0 for a right first choice; any shape, no NaN.

    Raises:
        UnavailableError: `rank` is empty.
        ValueError: a count or rank is not a whole number of at least 0, or the sizes differ.

    Source: Manning and others 2008, section 8.3. By hand, one of two tokens was the first choice:

    >>> accuracy([0, 1])
    0.5
    """
    return score(METRIC, rank=rank)


METRIC = among_first(1, "accuracy", 70)
