"""Bits per character."""

from numpy.typing import ArrayLike

from rnneval.metrics._base import bits_per, score


def bits_per_char(nats: ArrayLike, *, characters: ArrayLike) -> float:
    """Return the bits per character: Σ nats / (ln 2 · characters).

    Args:
        nats: Loss of each scored token in nats, −ln p(token | all before it); any shape, summed in float64.
        characters: Code points of each token, in the shape of `nats`, or of all tokens, which must spell the text.

    Raises:
        UnavailableError: there is no such score, as of an empty array or a loss that is not finite.
        ValueError: a count or rank is not a whole number of at least 0, or the sizes differ.

    Source: Shannon 1951. By hand, one bit and three bits for two characters:

    >>> import numpy as np
    >>> round(bits_per_char(-np.log([1 / 2, 1 / 8]), characters=[1, 1]), 12)
    2.0
    """
    return score(METRIC, nats=nats, characters=characters)


METRIC = bits_per("character", "bits_per_char", 30)
