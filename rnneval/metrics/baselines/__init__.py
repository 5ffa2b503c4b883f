"""One file a baseline, found by being in this folder: what a model must beat to have learnt anything.

Add `NAME.py` with a docstring (the text of `rnneval explain NAME`) and a `BASELINE`, edit nothing else.
"""

from functools import cache

from rnneval.metrics.baselines._base import Baseline, Counts
from rnneval.registry import modules

__all__ = ["Baseline", "Counts", "all_baselines", "nats_per_token"]


@cache
def all_baselines() -> tuple[Baseline, ...]:
    """Import every baseline of the folder, sorted by name."""
    found: list[Baseline] = [module.BASELINE for module in modules(__name__)]
    return tuple(sorted(found, key=lambda baseline: baseline.name))


def nats_per_token(scored_counts: Counts, fit_counts: Counts | None = None) -> dict[str, float]:
    """Give each baseline's mean loss on the scored tokens, in nats a token.

    Args:
        scored_counts: How often each id is among the scored tokens, `(V,)`.
        fit_counts: The same of the text given to `--fit-on`, `(V,)`; without it, baselines that learn are left out.

    Raises:
        UnavailableError: no token was scored.
        ValueError: the counts have not one shape `(V,)`, or one is below 0.

    >>> import numpy as np
    >>> {name: round(nats, 4) for name, nats in nats_per_token(np.array([3, 1]), np.array([2, 0])).items()}
    {'uniform': 0.6931, 'unigram': 0.5623}
    """
    return {
        baseline.name: baseline.nats_per_token(scored_counts, fit_counts)
        for baseline in all_baselines()
        if fit_counts is not None or not baseline.needs_fit
    }
