"""Baselines, one file each: what a model must beat to have learnt anything.

A `BASELINE` is a pure function of the number of times each id occurs in the scored and in the fitted text. Add
`NAME.py` with a `BASELINE` to this folder and the page `rnneval/pages/NAME.md`; nothing else has to be edited. The
n-grams need both texts and not only their counts: `ngram.py` has functions alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from rnneval.metrics._base import UnavailableError
from rnneval.registry import modules

__all__ = ["Baseline", "Counts", "all_baselines", "nats_per_token"]

Counts = NDArray[np.int64]
"""Number of times that each id occurs, `(V,)`."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A model that needs no network; its name is the key in the record and the argument of `rnneval explain`."""

    name: str
    """Name of the baseline, the same as the file's."""
    needs_fit: bool
    """Whether it learns from `fit_counts`, so that it exists only with `--fit-on`."""
    nats_per_token: Callable[[Counts, Counts | None], float]
    """Mean loss from `scored_counts` and `fit_counts`; raises `UnavailableError` if there is none."""


@cache
def all_baselines() -> tuple[Baseline, ...]:
    """Import every baseline of the folder that is a function of counts, sorted by name."""
    found: list[Baseline] = [module.BASELINE for module in modules(__name__) if hasattr(module, "BASELINE")]
    return tuple(sorted(found, key=lambda baseline: baseline.name))


def nats_per_token(scored_counts: Counts, fit_counts: Counts | None = None) -> dict[str, float]:
    """Return each baseline's mean loss on the scored tokens, in nats per token.

    Args:
        scored_counts: Number of times each id is among the scored tokens, `(V,)`.
        fit_counts: The same in the text given to `--fit-on`, `(V,)`; without it, baselines that learn are left out.

    Raises:
        UnavailableError: no token was scored.
        ValueError: the counts have not one shape `(V,)`, or one is below 0.

    >>> import numpy as np
    >>> {name: round(nats, 4) for name, nats in nats_per_token(np.array([3, 1]), np.array([2, 0])).items()}
    {'uniform': 0.6931, 'unigram': 0.5623}
    """
    shape = scored_counts.shape
    for counts in (scored_counts,) if fit_counts is None else (scored_counts, fit_counts):
        if counts.ndim != 1 or counts.shape != shape or (counts < 0).any():
            raise ValueError(f"counts must be at least 0, of one shape (V,); seen {counts.shape} and {shape}")
    if not scored_counts.sum() > 0:
        raise UnavailableError("no token was scored")
    return {
        baseline.name: baseline.nats_per_token(scored_counts, fit_counts)
        for baseline in all_baselines()
        if fit_counts is not None or not baseline.needs_fit
    }
