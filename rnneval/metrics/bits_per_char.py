"""Bits per character: the cost of coding the text with the model's predictions; lower is better.

## Formula

    bits_per_char = total_nats / (ln 2 · scored_characters)

`scored_characters` counts the Unicode code points of the text that the scored tokens stand for: for a character
model the scored tokens, for a word model the characters of the words and of the white space between them.

**Unit:** bits a character (bpc).

## By hand

One token of four characters, predicted with probability 1/16, costs 4 bits, so 1 bit per character:

    >>> import numpy as np
    >>> from rnneval.metrics import bits_per_char
    >>> round(bits_per_char(-np.log([1 / 16]), characters=4), 12)
    1.0

## How to read it

It does not depend on how the text is cut into tokens, so models of characters, word pieces and words compare on
the same text. For a character model it is the cross-entropy in bits, log2 of the perplexity.

Guessing among tinyshakespeare's 65 characters costs 6.02, character frequencies alone about 4.83. LSTMs reach 1.175
on character-level Penn Treebank (Merity, Keskar & Socher 2018). Printed English holds between 0.6 and 1.3 bits a
letter (Shannon 1951, 26 letters and the space), about 1.3 by betting (Cover & King 1978).

## Pitfalls

- **Only for tokens that give the text back.** A word model that throws away white space or capitals codes another,
  easier text: then there is no value (warning `lossy`). `word_perplexity` still exists.
- Characters that the vocabulary lacks, skipped or mapped to an unknown token, were not paid for in full: the value is
  a lower bound, and a warning says of how many.
- Characters are not bytes: enwik8 is scored by the byte (`bits_per_byte`), although many papers say bpc.
- Character-level Penn Treebank and text8 are texts in lower case with a small alphabet: their numbers are lower than
  those of raw text.

## References

- C. E. Shannon: *Prediction and entropy of printed English*. Bell System Technical Journal 30, 1951.
- T. M. Cover, R. C. King: *A convergent gambling estimate of the entropy of English*. IEEE Transactions on Information
  Theory 24, 1978.
- A. Graves: *Generating sequences with recurrent neural networks*. arXiv 1308.0850, 2013.
- S. Merity, N. S. Keskar, R. Socher: *An analysis of neural language modeling at multiple scales*. arXiv 1803.08240,
  2018.
"""

from math import log

from numpy.typing import ArrayLike

from rnneval.metrics._base import Metric, Totals, UnavailableError, per, score, tally_nats


def bits_per_char(nats: ArrayLike, *, characters: ArrayLike) -> float:
    """Return the bits per character: Σ nats / (ln 2 · characters).

    Args:
        nats: Loss of each scored token in nats, −ln p(token | all before it); any shape, summed in float64.
        characters: Unicode code points that each token stands for, in the shape of `nats`, or of all tokens together.
            The tokens must give the text back, or the result is not about the text.

    Raises:
        UnavailableError: `nats` is empty, there is no character, or a loss is not finite.
        ValueError: a count is not a whole number of at least 0, or `characters` has another size than `nats`.

    Source: Shannon 1951. By hand, one bit and three bits for two characters:

    >>> import numpy as np
    >>> round(bits_per_char(-np.log([1 / 2, 1 / 8]), characters=[1, 1]), 12)
    2.0
    """
    return score(METRIC, nats=nats, characters=characters)


def finish(totals: Totals) -> float:
    """Return the bits per character from sums over tokens."""
    if not totals.lossless:
        raise UnavailableError("the tokens do not give the text back, so its characters were not all paid for")
    return per(totals.total("nats"), totals.characters, "character") / log(2)


METRIC = Metric(
    name="bits_per_char", unit="bits a character", order=30, tally=tally_nats, finish=finish, hypothesis="loss"
)
