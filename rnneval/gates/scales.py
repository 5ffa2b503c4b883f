"""On which scale a metric is tested, and which way is worse.

A perplexity is tested as its logarithm, in nats: there +1 % is the same distance at any level, and the error is
symmetric. Everything else is tested as it is.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rnneval.gates.clusters import Columns, Statistic
from rnneval.metrics import Metric, Totals, all_metrics
from rnneval.records.run import Blocks

NATS = "nats"
"""The sum that every run has: total loss."""
UNITS = 4
"""Rows of units, before the sums, in what `columns_of` gives."""
_HIGHER_IS_BETTER = frozenset({"accuracy", "accuracy_top5"})
_OF_TOTAL_NATS = frozenset(
    {"cross_entropy", "perplexity", "bits_per_char", "bits_per_byte", "word_perplexity", "word_perplexity_eos"}
)


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A metric, with the scale on which two of its values are compared."""

    metric: Metric
    worse: Literal[1, -1]
    """+1 where a larger value is worse."""
    logarithmic: bool
    """Compared as logarithms: differences are in nats, allowances in per cent."""
    hypothesis: str
    """Metrics that are functions of the same total loss share one: for Holm they count once."""

    @property
    def name(self) -> str:
        """The metric's name."""
        return self.metric.name

    @property
    def unit(self) -> str:
        """The unit of a difference."""
        return f"nats a {'token' if self.name == 'perplexity' else 'word'}" if self.logarithmic else self.metric.unit

    def forward(self, totals: Totals) -> float:
        """Give the metric on its scale.

        Raises:
            UnavailableError: the metric cannot be had from these sums.
        """
        value = self.metric.finish(totals)
        return math.log(value) if self.logarithmic else value

    def back(self, value: float) -> float:
        """Turn a value on the scale into the metric again; beyond the largest float it is infinite."""
        if not self.logarithmic:
            return value
        try:
            return math.exp(value)
        except OverflowError:
            return math.inf


def is_logarithmic(name: str) -> bool:
    """Tell whether a metric's values are compared as logarithms, so that differences are shown in per cent."""
    return "perplexity" in name


def measure(metric: Metric) -> Measure:
    """Give the scale of one metric."""
    return Measure(
        metric=metric,
        worse=-1 if metric.name in _HIGHER_IS_BETTER else 1,
        logarithmic=is_logarithmic(metric.name),
        hypothesis="loss" if metric.name in _OF_TOTAL_NATS else metric.name,
    )


def measures() -> Mapping[str, Measure]:
    """Give every metric by its name."""
    return {metric.name: measure(metric) for metric in all_metrics()}


def columns_of(blocks: Blocks, sum_names: tuple[str, ...]) -> Columns:
    """Give a record's blocks as an array: the units, then the sums that are named, `(quantities, blocks)`.

    Blocks without a scored token (a document of one token) come along as zeros.
    """
    units = (blocks.tokens, blocks.characters, blocks.scored_bytes, blocks.words)
    return np.array([*units, *(blocks.sums[name] for name in sum_names)], dtype=np.float64)


def statistic_of(measured: Measure, sum_names: tuple[str, ...], *, lossless: bool) -> Statistic:
    """Give the function from sums `(quantities, n)`, rows as `columns_of` lays them, to values on the scale `(n,)`."""

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
