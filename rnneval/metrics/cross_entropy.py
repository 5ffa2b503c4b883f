"""Mean loss of a scored token: how many nats of surprise the model has at what comes next; lower is better.

## Formula

    cross_entropy = total_nats / N        total_nats = Σᵢ −ln p(xᵢ | x₁ … xᵢ₋₁)

N counts the scored tokens. The first token of a document has no prediction (unless the model has a
beginning-of-text id), so it is neither in the sum nor in N. The sum is taken in float64.

**Unit:** nats a token. One nat is 1 / ln 2 ≈ 1.4427 bits.

## By hand

Four tokens, each predicted with probability 1/2, cost ln 2 each:

    >>> import numpy as np
    >>> from rnneval.metrics import cross_entropy
    >>> round(cross_entropy(-np.log([1 / 2, 1 / 2, 1 / 2, 1 / 2])), 6)
    0.693147

## How to read it

It is the loss that Keras prints in training (`SparseCategoricalCrossentropy(from_logits=True)`), but of held-out
text, with the state carried and every token weighted alike. The mean of the losses that batches print is another
number as soon as batches differ in size.

0 means certain and right; ln V, with V the size of the vocabulary, means uniform guessing (baseline `uniform`);
the baseline `unigram` knows only how frequent each token is. On the last tenth of tinyshakespeare (65 characters)
these are 4.174 and 3.347 nats per token. Above ln V something is wrong: mostly the order of the vocabulary or the
input encoding.

## Pitfalls

- Compare it only between models with the same tokens: a word holds more than a character. Otherwise use `bits_per_char`
  or `bits_per_byte`.
- Resetting the state between segments makes it larger; carrying it over is the default and stands in the signature.
- A model whose wiring leaks the future gets a number that is too good, and is no cross-entropy.

## References

- C. E. Shannon: *A mathematical theory of communication*. Bell System Technical Journal 27, 1948, section 7.
- T. M. Cover, J. A. Thomas: *Elements of Information Theory*. 2nd edition, 2006, chapters 2 and 4.
- D. Jurafsky, J. H. Martin: *Speech and Language Processing*. 3rd edition draft, chapter *N-gram language models*.
"""

from numpy.typing import ArrayLike

from rnneval.metrics._base import Metric, Totals, per, score, tally_nats


def cross_entropy(nats: ArrayLike) -> float:
    """Return the mean loss in nats per token: Σ nats / N.

    Args:
        nats: Loss of each scored token in nats, −ln p(token | all before it); any shape, summed in float64.

    Raises:
        UnavailableError: `nats` is empty, or a loss is not finite.

    Source: Shannon 1948, section 7. By hand, (1 + 2 + 6) / 3:

    >>> cross_entropy([1, 2, 6])
    3.0
    """
    return score(METRIC, nats=nats)


def finish(totals: Totals) -> float:
    """Return the mean loss in nats per token from sums over tokens."""
    return per(totals.total("nats"), totals.tokens, "token")


METRIC = Metric(name="cross_entropy", unit="nats a token", order=10, tally=tally_nats, finish=finish, hypothesis="loss")
