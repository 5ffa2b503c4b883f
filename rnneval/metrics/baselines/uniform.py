"""Baseline that guesses: every token of the vocabulary is equally probable, always.

## Formula

    uniform = ln V

V is the size of the vocabulary. The text does not matter.

**Unit:** nats a token.

## By hand

Among two tokens a guess costs one bit, ln 2:

    >>> import numpy as np
    >>> from rnneval.metrics.baselines.uniform import nats_per_token
    >>> round(nats_per_token(np.array([5, 0]), None), 6)
    0.693147

## How to read it

A model that has learnt nothing sits here. A model *above* it is worse than guessing (warning `worse-than-uniform`):
most often the vocabulary is in another order than in training, or the input encoding is another one. With 65
characters it is 4.174 nats, 6.022 bits.

## References

- C. E. Shannon: *A mathematical theory of communication*. Bell System Technical Journal 27, 1948, section 6 (log V is
  the largest entropy of V choices).
"""

from math import log

from rnneval.metrics.baselines import Baseline, Counts


def nats_per_token(scored_counts: Counts, _fit_counts: Counts | None) -> float:
    """Return ln V for counts of the shape `(V,)`."""
    return log(len(scored_counts))


BASELINE = Baseline(name="uniform", needs_fit=False, nats_per_token=nats_per_token)
