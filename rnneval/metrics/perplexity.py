"""Perplexity per token: the number of equally likely tokens between which the model is undecided; lower is better.

## Formula

    perplexity = exp(total_nats / N) = exp(cross_entropy)

N counts the scored tokens. It is the geometric mean of 1 / p(xᵢ | x₁ … xᵢ₋₁).

**Unit:** tokens (a number of equally likely choices).

## By hand

Four tokens, each predicted with probability 1/2, is tossing a coin:

    >>> import numpy as np
    >>> from rnneval.metrics import perplexity
    >>> perplexity(-np.log([1 / 2, 1 / 2, 1 / 2, 1 / 2]))
    2.0

## How to read it

1 means certain and right; V, the size of the vocabulary, means uniform guessing. A change by 1 % is a change of the
cross-entropy by ln 1.01 ≈ 0.00995 nats at any level, which is how `rnneval gate --allow perplexity=+1%` measures it.

Characters: on tinyshakespeare (65 characters) uniform guessing gives 65, character frequencies alone give about 28.
Words, with ends of lines counted as words: AWD-LSTM has 57.3 on Penn Treebank and 65.8 on WikiText-2 (Merity, Keskar &
Socher 2018).

## Pitfalls

- **The mean of the perplexities of batches is not the perplexity of the text.** The exponential of a mean is never
  above the mean of exponentials, so the average is too large. Add up nats and tokens, then take one exponential.
- Tokens differ: a perplexity of 4 over characters may be a better model than one of 60 over words. Compare across
  vocabularies with `bits_per_char`, `bits_per_byte` or `word_perplexity`.
- A vocabulary that maps rare words to one `<unk>` makes the text easier to predict, and the number smaller.
- It has no value where the mean loss is above 709 nats: the number is larger than any float. The cross-entropy
  still has one.

## References

- F. Jelinek, R. L. Mercer, L. R. Bahl, J. K. Baker: *Perplexity – a measure of the difficulty of speech recognition
  tasks*. Journal of the Acoustical Society of America 62, 1977, S63.
- D. Jurafsky, J. H. Martin: *Speech and Language Processing*. 3rd edition draft, chapter *N-gram language models*.
- S. Merity, N. S. Keskar, R. Socher: *Regularizing and optimizing LSTM language models*. ICLR 2018.
"""

from numpy.typing import ArrayLike

from rnneval.metrics._base import Metric, Totals, exponential, per, score, tally_nats


def perplexity(nats: ArrayLike) -> float:
    """Return the perplexity per token: exp(Σ nats / N).

    Args:
        nats: Loss of each scored token in nats, −ln p(token | all before it); any shape, summed in float64.

    Raises:
        UnavailableError: `nats` is empty, a loss is not finite, or the result is larger than any float.

    Source: Jelinek and others 1977. By hand, with the probabilities 1/2 and 1/8, the geometric mean of 2 and 8:

    >>> import numpy as np
    >>> round(perplexity(-np.log([1 / 2, 1 / 8])), 12)
    4.0
    """
    return score(METRIC, nats=nats)


def log_perplexity(totals: Totals) -> float:
    """Return the logarithm of the perplexity: the mean loss per token in nats."""
    return per(totals.total("nats"), totals.tokens, "token")


METRIC = Metric(
    name="perplexity",
    unit="tokens",
    order=20,  # place in reports
    tally=tally_nats,
    finish=exponential(log_perplexity),
    log=log_perplexity,
    log_unit="nats a token",
    hypothesis="loss",  # shared by the metrics that rank models alike
)
