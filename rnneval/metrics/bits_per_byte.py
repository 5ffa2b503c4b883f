"""Bits per UTF-8 byte."""

from numpy.typing import ArrayLike

from rnneval.metrics._base import bits_per, score


def bits_per_byte(nats: ArrayLike, *, bytes: ArrayLike) -> float:  # noqa: A002 - the unit's name
    """Return the bits per byte: Σ nats / (ln 2 · bytes).

    Args:
        nats: Loss of each scored token in nats, −ln p(token | all before it); any shape, summed in float64.
        bytes: UTF-8 bytes of each token, in the shape of `nats`, or of all tokens, which must spell the text.

    Raises:
        UnavailableError: there is no such score, as of an empty array or a loss that is not finite.
        ValueError: a count or rank is not a whole number of at least 0, or the sizes differ.

    Source: Gao and others 2020, section 3.1. By hand, one bit and three bits for two bytes:

    >>> import numpy as np
    >>> round(bits_per_byte(-np.log([1 / 2, 1 / 8]), bytes=[1, 1]), 12)
    2.0
    """
    return score(METRIC, nats=nats, bytes=bytes)


METRIC = bits_per("byte", "bits_per_byte", 40)
