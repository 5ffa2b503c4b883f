"""What a metric is: a pure `tally` over tokens and a pure `finish` over sums.

The sums are sufficient statistics, kept apart from the score (as in sacrebleu): adding them up over blocks, documents
or machines and finishing once gives the score of the whole, and finishing without a cluster gives a jackknife value.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


class UnavailableError(ValueError):
    """A score cannot be had; the message says why, and becomes a warning of the run."""


@dataclass(frozen=True, kw_only=True)
class ScoredTokens:
    """What the engine saw of n scored tokens, in no particular order; every array has the shape `(n,)`."""

    nats: NDArray[np.float64]
    """Loss: −ln p(token | all before it), by log-softmax of the logits."""
    confidence: NDArray[np.float64]
    """Largest probability of the prediction."""
    rank: NDArray[np.int64]
    """How many tokens were predicted before this one: 0 is a right top-1 prediction (ties: the lower id is first)."""
    characters: NDArray[np.int64]
    """Characters of the text that the token stands for."""
    bytes: NDArray[np.int64]
    """The same in UTF-8 bytes."""
    words: NDArray[np.int64]
    """Maximal runs of characters that are not white space, counted at the token in which they begin."""
    newlines: NDArray[np.int64]
    """Line feeds in the token's text."""


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Units and sums over all scored tokens (or over all but a cluster of them)."""

    tokens: float
    characters: float
    bytes: float
    words: float
    lossless: bool
    """Whether the tokens give the text back."""
    sums: Mapping[str, float]
    """What the metrics' tallies add up to."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric; its name is the key in the record and the argument of `rnneval explain`."""

    name: str
    unit: str
    tally: Callable[[ScoredTokens], Mapping[str, NDArray[np.float64]]]
    """Per-token terms, `(n,)` each, whose sums `finish` needs; metrics may share a name where the terms are equal."""
    finish: Callable[[Totals], float]
    """The score; raises `UnavailableError` where it cannot be had."""
