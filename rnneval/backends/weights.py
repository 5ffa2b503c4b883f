"""Weights that are not finite: refused alike by every backend."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from rnneval.errors import CheckpointError

_MOST_NAMED = 5


def require_finite(weights: Iterable[tuple[str, Any]], shown: str = "") -> None:
    """Refuse weights of which a number is not finite.

    Args:
        weights: Names and arrays; arrays of whole numbers pass.
        shown: The file, for the message.

    Raises:
        CheckpointError: names up to five such weights, and how many of their numbers are NaN or infinite.

    >>> require_finite([("gru/bias", np.array([0.0, np.nan, -np.inf]))], "model.keras")
    Traceback (most recent call last):
    ...
    rnneval.errors.CheckpointError: model.keras: weight gru/bias has 1 NaN and 1 infinite: the training diverged; \
take an earlier checkpoint
    """
    faults = []
    for name, given in weights:
        values = np.asarray(given)
        if values.dtype.kind not in "fV":
            continue
        numbers = values if values.dtype.kind == "f" else values.astype(np.float32)  # bfloat16 is of kind V
        if not np.isfinite(numbers).all():
            nans, infinite = int(np.isnan(numbers).sum()), int(np.isinf(numbers).sum())
            counts = [f"{count} {what}" for count, what in ((nans, "NaN"), (infinite, "infinite")) if count]
            faults.append(f"weight {name} has {' and '.join(counts)}")
    if faults:
        listed = "; ".join([*faults[:_MOST_NAMED], *(["…"] if len(faults) > _MOST_NAMED else [])])
        where = f"{shown}: " if shown else ""
        raise CheckpointError(f"{where}{listed}: the training diverged; take an earlier checkpoint")
