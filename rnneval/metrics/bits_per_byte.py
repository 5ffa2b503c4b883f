"""Bits per UTF-8 byte: the cost of coding the text with the model's predictions; lower is better.

## Formula

    bits_per_byte = total_nats / (ln 2 · scored_bytes)

`scored_bytes` counts the UTF-8 bytes of the text that the scored tokens stand for.

**Unit:** bits a byte (bpb).

## By hand

The character é is two bytes; predicted with probability 1/16 it costs 4 bits, so 2 bits per byte:

    >>> import numpy as np
    >>> from rnneval.metrics import bits_per_byte
    >>> round(bits_per_byte(-np.log([1 / 16]), bytes=len("é".encode())), 12)
    2.0

## How to read it

Divided by 8 it is the compression ratio that an arithmetic coder with this model reaches: 2 bits per byte shrink a
file to a quarter. `gzip` and `xz` on the same text are honest baselines. It depends neither on the tokens nor on what
counts as a character, so it compares models over any vocabulary, and texts in any script of one encoding.

In pure ASCII it equals `bits_per_char`. On enwik8 a three-layer LSTM reaches 1.232 (Merity, Keskar & Socher 2018;
printed as bits per character, counted by the byte).

## Pitfalls

- Only for tokens that give the text back, as with `bits_per_char` (warning `lossy`).
- Bytes that the vocabulary lacks, skipped or mapped to an unknown token, make it a lower bound.
- UTF-8 spends one byte on a Latin letter, two on a Cyrillic one and three on a Chinese character: languages do not
  compare by it.

## References

- M. Hutter: *The Hutter Prize* (enwik8), 2006; M. Mahoney: *Large text compression benchmark*.
- L. Gao and others: *The Pile: an 800GB dataset of diverse text for language modeling*. arXiv 2101.00027, 2020,
  section 3.1 (bits per UTF-8 encoded byte).
- S. Merity, N. S. Keskar, R. Socher: *An analysis of neural language modeling at multiple scales*. arXiv 1803.08240,
  2018.
"""

from math import log

from numpy.typing import ArrayLike

from rnneval.metrics._base import Metric, Totals, UnavailableError, per, score, tally_nats


def bits_per_byte(nats: ArrayLike, *, bytes: ArrayLike) -> float:  # noqa: A002 - the unit's name
    """Return the bits per byte: Σ nats / (ln 2 · bytes).

    Args:
        nats: Loss of each scored token in nats, −ln p(token | all before it); any shape, summed in float64.
        bytes: UTF-8 bytes that each token stands for, in the shape of `nats`, or of all tokens together. The
            tokens must give the text back, or the result is not about the text.

    Raises:
        UnavailableError: `nats` is empty, there is no byte, or a loss is not finite.
        ValueError: a count is not a whole number of at least 0, or `bytes` has another size than `nats`.

    Source: Gao and others 2020, section 3.1. By hand, one bit and three bits for two bytes:

    >>> import numpy as np
    >>> round(bits_per_byte(-np.log([1 / 2, 1 / 8]), bytes=[1, 1]), 12)
    2.0
    """
    return score(METRIC, nats=nats, bytes=bytes)


def finish(totals: Totals) -> float:
    """Return the bits per byte from sums over tokens."""
    if not totals.lossless:
        raise UnavailableError("the tokens do not give the text back, so its bytes were not all paid for")
    return per(totals.total("nats"), totals.bytes, "byte") / log(2)


METRIC = Metric(name="bits_per_byte", unit="bits a byte", order=40, tally=tally_nats, finish=finish, hypothesis="loss")
