"""Baseline that knows only how frequent each token is, from the text given to `--fit-on`.

## Formula

    p_v = (m_v + 1) / (M + V)        unigram = −Σ_v n_v · ln p_v / Σ_v n_v

m_v counts id v in the fitted text, M is their sum, V the size of the vocabulary, n_v counts id v among the scored
tokens. Adding one to every count (Laplace's law of succession) keeps a token that the fitted text lacks possible.

**Unit:** nats a token.

## By hand

Fitted on `aa` with the vocabulary {a, b}: p_a = 3/4, p_b = 1/4. Scoring `aaab` costs
(3 · ln 4/3 + ln 4) / 4 = 0.5623 nats per token:

    >>> import numpy as np
    >>> from rnneval.metrics.baselines.unigram import nats_per_token
    >>> round(nats_per_token(np.array([3, 1]), np.array([2, 0])), 4)
    0.5623

## How to read it

What a model gains below it, it gains from context: a recurrent model near it does not use its state. On the last
tenth of tinyshakespeare, fitted on the rest, it is 3.347 nats = 4.83 bits per character.

## Pitfalls

- Fit it on the training text. Fitted on the held-out text itself it is too good.
- Adding one is much for a large vocabulary and a small text: with V near M it flattens the frequencies, and the
  baseline is easier to beat than it should be.

## References

- P.-S. Laplace: *Essai philosophique sur les probabilités*. 1814 (the law of succession).
- F. Jelinek: *Statistical Methods for Speech Recognition*. 1997, chapter 4.
- C. D. Manning, H. Schütze: *Foundations of Statistical Natural Language Processing*. 1999, section 6.2.2 (Laplace's
  law).
"""

import numpy as np

from rnneval.metrics._base import UnavailableError
from rnneval.metrics.baselines import Baseline, Counts


def nats_per_token(scored_counts: Counts, fit_counts: Counts | None) -> float:
    """Return the mean loss of add-one smoothed frequencies; both counts have the shape `(V,)`.

    Raises:
        UnavailableError: there is no text to learn from.
    """
    if fit_counts is None or not fit_counts.sum() > 0:
        raise UnavailableError("there is no text to learn frequencies from")
    total = float(fit_counts.sum()) + len(fit_counts)
    nats = np.log(total) - np.log(fit_counts.astype(np.float64) + 1.0)  # (V,)
    return float(scored_counts @ nats / scored_counts.sum())


BASELINE = Baseline(name="unigram", needs_fit=True, nats_per_token=nats_per_token)
