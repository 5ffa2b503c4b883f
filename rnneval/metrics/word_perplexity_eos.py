"""Perplexity per word where each end of a line counts as a word."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnneval.metrics._base import ScoredTokens, Totals, exponential, per, score, tally_nats


def word_perplexity_eos(nats: ArrayLike, *, words: ArrayLike, newlines: ArrayLike) -> float:
    """Return the perplexity of a word or end of line: exp(Σ nats / (words + newlines)).

    Args:
        nats: Loss of each scored token in nats, −ln p(token | all before it); any shape, summed in float64.
        words: Words (runs without white space) that begin in each token, in the shape of `nats`, or of all tokens.
        newlines: Line feeds in each token, or of all together.

    Raises:
        UnavailableError: there is no such score, as of an empty array or a loss that is not finite.
        ValueError: a count or rank is not a whole number of at least 0, or the sizes differ.

    Source: Mikolov and others 2010. By hand, "a b <eos>" at 1, 2 and 3 bits: 6 bits for three units, 2² each:

    >>> import numpy as np
    >>> round(word_perplexity_eos(-np.log([1 / 2, 1 / 4, 1 / 8]), words=[1, 1, 0], newlines=[0, 0, 1]), 12)
    4.0
    """
    return score(METRIC, nats=nats, words=words, newlines=newlines)


def tally(tokens: ScoredTokens) -> dict[str, NDArray[np.float64]]:
    """Return each token's loss and line feeds, `(n,)` each."""
    return {**tally_nats(tokens), "newlines": tokens.newlines.astype(np.float64)}


def log_word_perplexity_eos(totals: Totals) -> float:
    """Return the mean loss of a word or end of line in nats."""
    words = totals.words + totals.total("newlines")
    return per(totals.total("nats"), words, "word or end of line")


METRIC = exponential(
    "word_perplexity_eos", "words and ends of lines", 60, log_word_perplexity_eos, log_unit="nats a word", tally=tally
)
