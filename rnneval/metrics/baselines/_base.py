"""What a baseline is: a pure function of how often each id is in the scored and in the fitted text."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnneval.metrics._base import UnavailableError

Counts = NDArray[np.int64]
"""How often each id occurs, `(V,)`."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """One model that needs no network; its name is the key in the record and the argument of `rnneval explain`."""

    name: str
    """The same as the file's."""
    needs_fit: bool
    """Whether it learns from `fit_counts`, so that it exists only with `--fit-on`."""
    nats_per_token: Callable[[Counts, Counts | None], float]
    """Of `scored_counts` and `fit_counts`; raises `UnavailableError` where there is no value."""


def checked(scored_counts: Counts, fit_counts: Counts | None) -> None:
    """Refuse counts that no text has.

    Raises:
        UnavailableError: nothing was scored.
        ValueError: the counts have not one shape `(V,)`, or one is below 0 (a defect of the caller).
    """
    for counts in (scored_counts, fit_counts):
        if counts is None:
            continue
        if counts.ndim != 1 or counts.shape != scored_counts.shape or (counts < 0).any():
            raise ValueError(
                f"counts must be at least 0, of one shape (V,); seen {counts.shape} and {scored_counts.shape}"
            )
    if not scored_counts.sum() > 0:
        raise UnavailableError("no token was scored")
