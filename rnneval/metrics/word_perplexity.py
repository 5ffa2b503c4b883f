"""Perplexity per word, whatever the tokens are: the total loss spread over the words of the text; lower is better.

## Formula

    word_perplexity = exp(total_nats / scored_words)

`scored_words` counts the maximal runs of characters that are not white space, each at the token in which it begins.
The loss of white space, punctuation and ends of lines stays in the sum.

**Unit:** words (a number of equally likely choices).

## By hand

Two words of a character model, in eight characters that cost half a bit each, cost 2 bits per word:

    >>> import numpy as np
    >>> from rnneval.metrics import word_perplexity
    >>> round(word_perplexity(np.full(8, np.log(2) / 2), words=len("ab cdefg".split())), 12)
    4.0

## How to read it

It puts models of characters and word pieces on the scale of word models, on the same text. In tinyshakespeare a word
with the white space after it has 5.5 characters, so 1.2 bits per character are a word perplexity of 2^(1.2 · 5.5) ≈ 97.

## Pitfalls

- **Published word perplexities on Penn Treebank and WikiText count the end of each line as a word:** compare those
  with `word_perplexity_eos`, which is smaller. AWD-LSTM's 65.8 on WikiText-2 would be 71.0 here (245,569 words with
  the ends of lines, 241,211 without, in the test text).
- A word model that does not give the text back (white space collapsed, text in lower case) keeps this value, unlike
  `bits_per_char`: losing white space or capitals loses no word, and that is how word models are published. It compares
  only with models of the same, equally simplified text.
- A word model with `<unk>` does not pay for spelling the rare words, a character model does.
- A word that begins in an unscored token (the first of a document) is not counted, though the rest of it is paid for:
  noticeable only in many short documents.
- It has no value where the mean loss is above 709 nats per word. Models of long texts without white space get there.

## References

- S. J. Mielke: *Can you compare perplexity across different segmentations?* 2019 (blog).
- S. J. Mielke, R. Cotterell, K. Gorman, B. Roark, J. Eisner: *What kind of language is hard to language-model?* ACL
  2019.
- L. Gao and others: *A framework for few-shot language model evaluation* (lm-evaluation-harness), metric
  `word_perplexity`: the same formula, words split at white space.
"""

from numpy.typing import ArrayLike

from rnneval.metrics._base import Metric, Totals, exponential, per, score, tally_nats


def word_perplexity(nats: ArrayLike, *, words: ArrayLike) -> float:
    """Return the perplexity of a word: exp(Σ nats / words).

    Args:
        nats: Loss of each scored token in nats, −ln p(token | all before it); any shape, summed in float64.
        words: Words that begin in each token, in the shape of `nats`, or of all tokens together: maximal runs of
            characters that are not white space.

    Raises:
        UnavailableError: `nats` is empty, there is no word, a loss is not finite, or the result is larger than any
            float.
        ValueError: a count is not a whole number of at least 0, or `words` has another size than `nats`.

    Source: Mielke 2019. By hand, "a b" in three tokens at 1, 2 and 3 bits: 6 bits for two words, 2³ each:

    >>> import numpy as np
    >>> round(word_perplexity(-np.log([1 / 2, 1 / 4, 1 / 8]), words=[1, 0, 1]), 12)
    8.0
    """
    return score(METRIC, nats=nats, words=words)


def log_word_perplexity(totals: Totals) -> float:
    """Return the mean loss of a word in nats: the logarithm of the perplexity of a word."""
    return per(totals.total("nats"), totals.words, "word")


METRIC = Metric(
    name="word_perplexity",
    unit="words",
    order=50,  # place in reports
    tally=tally_nats,
    finish=exponential(log_word_perplexity),
    log=log_word_perplexity,
    log_unit="nats a word",
    hypothesis="loss",  # shared by the metrics that rank models alike
)
