"""Perplexity per word, whatever the tokens are."""

from numpy.typing import ArrayLike

from rnneval.metrics._base import exponential, mean, score


def word_perplexity(nats: ArrayLike, *, words: ArrayLike) -> float:
    """Return the perplexity of a word: exp(Σ nats / words).

    Args:
        nats: Loss of each scored token in nats, −ln p(token | all before it); any shape, summed in float64.
        words: Words (runs without white space) that begin in each token, in the shape of `nats`, or of all tokens.

    Raises:
        UnavailableError: there is no such score, as of an empty array or a loss that is not finite.
        ValueError: a count or rank is not a whole number of at least 0, or the sizes differ.

    Source: Mielke 2019. By hand, "a b" in three tokens at 1, 2 and 3 bits: 6 bits for two words, 2³ each:

    >>> import numpy as np
    >>> round(word_perplexity(-np.log([1 / 2, 1 / 4, 1 / 8]), words=[1, 0, 1]), 12)
    8.0
    """
    return score(METRIC, nats=nats, words=words)


METRIC = exponential("word_perplexity", "words", 50, mean("nats", "word"), log_unit="nats a word")
