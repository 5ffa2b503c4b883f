"""Baselines: what a model must beat to have learnt anything; the n-grams are in `ngram.py`."""

import math

import numpy as np
from numpy.typing import NDArray

from rnneval.metrics._base import UnavailableError
from rnneval.options import LARGEST_ORDER
from rnneval.records.run import Run

Counts = NDArray[np.int64]  # number of times that each id occurs, `(V,)`


def nats_per_token(scored_counts: Counts, fit_counts: Counts | None = None) -> dict[str, float]:
    """Return the mean loss on the scored tokens of each baseline that needs counts `(V,)` alone, in nats per token.

    `uniform` guesses: ln V. `own-unigram` knows how frequent each id is among the scored tokens themselves: no model
    that ignores the context has a smaller loss. `unigram` knows only how frequent each id is in the fitted text, with
    one added to every count. It is an `UnavailableError` if a text is empty.

    >>> {name: round(nats, 4) for name, nats in nats_per_token(np.array([3, 1]), np.array([2, 0])).items()}
    {'uniform': 0.6931, 'own-unigram': 0.5623, 'unigram': 0.5623}
    """
    if not scored_counts.sum() > 0:
        raise UnavailableError("no token was scored")
    shares = scored_counts[scored_counts > 0] / scored_counts.sum()
    found = {"uniform": math.log(len(scored_counts)), "own-unigram": float(-(shares * np.log(shares)).sum())}
    if fit_counts is not None:
        if not fit_counts.sum() > 0:
            raise UnavailableError("there is no text to learn frequencies from")
        nats = np.log(fit_counts.sum() + len(fit_counts)) - np.log(fit_counts + 1.0)  # (V,)
        found["unigram"] = float(scored_counts @ nats / scored_counts.sum())
    return found


def standing(run: Run) -> str:
    """Name the baseline that a model is as good as, by its mean loss; "" without n-grams or a loss.

    Orders above the best one are left out: they are the same model with more memory.
    """
    if run.ngram is None or "cross_entropy" not in run.scores or not run.valid:
        return ""
    loss, best = run.scores["cross_entropy"].value, run.baselines[run.ngram.name]
    above = [f"ngram-{order}" for order in range(run.ngram.order + 1, LARGEST_ORDER + 1)]
    ladder = sorted((nats, name) for name, nats in run.baselines.items() if name not in above and nats >= best)
    missed = [name for nats, name in ladder if loss > nats]
    reached = [name for nats, name in ladder if loss <= nats]
    if not missed:
        return f"better than {run.ngram.name}, the best n-gram"
    return f"at least as good as {reached[0]}, worse than {missed[-1]}" if reached else f"worse than {missed[-1]}"
