"""Share of scored tokens that are among the model's five most probable ones."""

from numpy.typing import ArrayLike

from rnneval.metrics._base import among_first, score


def accuracy_top5(rank: ArrayLike) -> float:
    """Return the share of tokens whose rank is below 5.

    Args:
        rank: How many tokens were predicted before the right one, 0 for a right first choice; any shape, no NaN.

    Raises:
        UnavailableError: `rank` is empty.
        ValueError: a count or rank is not a whole number of at least 0, or the sizes differ.

    Source: Russakovsky and others 2015, section 4.1. By hand, one of four tokens is among the first five:

    >>> accuracy_top5([[0, 9], [9, 9]])
    0.25
    """
    return score(METRIC, rank=rank)


METRIC = among_first(5, "accuracy_top5", 80)
