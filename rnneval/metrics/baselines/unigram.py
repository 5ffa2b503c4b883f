"""Baseline that knows only how frequent each token is, from the text given to `--fit-on`."""

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
