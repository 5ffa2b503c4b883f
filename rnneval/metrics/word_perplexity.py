"""Perplexity of a word, whatever the tokens are: the total loss spread over the words of the text; lower is better.

## Formula

    word_perplexity = exp(total_nats / scored_words)

`scored_words` counts the maximal runs of characters that are not white space, each at the token in which it begins.
The loss of white space, punctuation and ends of lines stays in the sum.

**Unit:** words (a number of equally likely choices).

## By hand

Two words of a character model, in eight characters that cost half a bit each, cost 2 bits a word:

    >>> from math import log
    >>> from rnneval.metrics import Totals
    >>> from rnneval.metrics.word_perplexity import finish
    >>> text = Totals(tokens=8, characters=8, bytes=8, words=2, lossless=True, sums={"nats": 4 * log(2)})
    >>> round(finish(text), 12)
    4.0

## How to read it

It puts models of characters and word pieces on the scale of word models, on the same text. In tinyshakespeare a word
with the white space after it has 5.5 characters, so 1.2 bits a character are a word perplexity of 2^(1.2 · 5.5) ≈ 97.

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
- It has no value where the mean loss is above 709 nats a word. Models of long texts without white space get there.

## References

- S. J. Mielke: *Can you compare perplexity across different segmentations?* 2019 (blog).
- S. J. Mielke, R. Cotterell, K. Gorman, B. Roark, J. Eisner: *What kind of language is hard to language-model?* ACL
  2019.
- L. Gao and others: *A framework for few-shot language model evaluation* (lm-evaluation-harness), metric
  `word_perplexity`: the same formula, words split at white space.
"""

from rnneval.metrics._base import Metric, Totals, exponential, per, tally_nats


def log(totals: Totals) -> float:
    """Return the mean loss of a word in nats: the logarithm of the perplexity of a word.

    Raises:
        UnavailableError: no word was scored, or a loss is not finite.
    """
    return per(totals.total("nats"), totals.words, "word")


def finish(totals: Totals) -> float:
    """Return the perplexity of a word.

    Raises:
        UnavailableError: no word was scored, a loss is not finite, or the result is larger than any float.
    """
    return exponential(log(totals))


METRIC = Metric(
    name="word_perplexity",
    unit="words",
    order=50,
    tally=tally_nats,
    finish=finish,
    log=log,
    log_unit="nats a word",
    hypothesis="loss",
)
