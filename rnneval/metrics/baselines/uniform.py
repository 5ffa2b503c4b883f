"""Baseline that guesses: every token of the vocabulary is equally probable, always."""

from math import log

from rnneval.metrics.baselines import Baseline, Counts


def nats_per_token(scored_counts: Counts, _fit_counts: Counts | None) -> float:
    """Return ln V for counts of the shape `(V,)`."""
    return log(len(scored_counts))


BASELINE = Baseline(name="uniform", needs_fit=False, nats_per_token=nats_per_token)
