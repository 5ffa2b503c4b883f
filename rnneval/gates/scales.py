"""From the sums of a record's blocks to a metric on its scale of comparison.

A perplexity is compared by its logarithm, in nats: there +1 % is the same distance at any level, the error is
symmetric, and no loss is too large. Which metrics have a logarithm, and which way is worse, stands in their own files.
"""

import numpy as np
from numpy.typing import NDArray

from rnneval.gates.clusters import Columns, Statistic
from rnneval.metrics import Metric, Totals
from rnneval.records.run import Blocks

NATS = "nats"
"""The sum that every run has: total loss."""
UNITS = 4
"""Rows of units, before the sums, in what `columns_of` returns."""


def columns_of(blocks: Blocks, sum_names: tuple[str, ...]) -> Columns:
    """Return a record's blocks as an array: the units, then the sums that are named, `(quantities, blocks)`.

    Blocks without a scored token (a document of one token) come along as zeros.
    """
    units = (blocks.tokens, blocks.characters, blocks.scored_bytes, blocks.words)
    return np.array([*units, *(blocks.sums[name] for name in sum_names)], dtype=np.float64)


def statistic_of(measured: Metric, sum_names: tuple[str, ...], *, lossless: bool) -> Statistic:
    """Return the function from sums `(quantities, n)`, in rows as of `columns_of`, to values on the scale `(n,)`."""

    def statistic(columns: Columns) -> NDArray[np.float64]:
        return np.array([measured.forward(_totals(column, sum_names, lossless)) for column in columns.T.tolist()])

    return statistic


def _totals(values: list[float], sum_names: tuple[str, ...], lossless: bool) -> Totals:
    tokens, characters, scored_bytes, words, *sums = values
    return Totals(
        tokens=tokens,
        characters=characters,
        bytes=scored_bytes,
        words=words,
        lossless=lossless,
        sums=dict(zip(sum_names, sums, strict=True)),
    )
