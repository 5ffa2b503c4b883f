"""Intervals of a run's own scores: how far they would move on other text like it.

Two-sided 95 %, by t on few clusters with a jackknife error; see `clusters` and docs/statistics.md. A score that small
samples make too large, such as the calibration error, has an upper 95 % bound alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rnneval.gates.clusters import (
    NATS,
    UNITS,
    Clusters,
    Columns,
    Estimate,
    TooLittleTextError,
    block_size,
    clusters_of,
    columns_of,
    drifts,
    jackknife,
    ratio,
    statistic_of,
)
from rnneval.metrics import Metric, UnavailableError, all_metrics
from rnneval.records.run import Blocks, Interval, Warning  # noqa: A004 - the record's own word

_UPPER, _LOWER = 0.975, 0.025
_UPPER_ALONE = 0.95


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """A 95 % interval of one score, in the score's unit."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class ScoreIntervals:
    """The intervals of all scores that have one, how they were made, and what a reader should know."""

    bounds: Mapping[str, Bounds]
    """Bounds by metric; empty where there is too little text."""
    interval: Interval | None
    """The part of the record that tells how intervals were made; None if there is no interval."""
    warnings: tuple[Warning, ...]
    """`too-little-text`: no interval, and why; `drift`: it holds for this passage only."""


def score_intervals(blocks: Blocks, *, lossless: bool) -> ScoreIntervals:
    """Return low and high of every score that can be computed from the sums of the blocks.

    Args:
        blocks: The run's blocks with their sums.
        lossless: Whether the tokens determine the text, as in `rnneval.metrics.Totals`.
    """
    names = tuple(sorted(blocks.sums))
    columns = columns_of(blocks, names)
    columns = columns[:, columns[0] > 0]
    document = np.array(blocks.document, dtype=np.intp)[np.array(blocks.tokens) > 0]
    try:
        clusters = clusters_of(document, columns[0], block_size(blocks.bytes[-1] if blocks.bytes else 0))
    except TooLittleTextError as reason:
        warning = Warning(code="too-little-text", message=f"no intervals: {reason}")
        return ScoreIntervals(bounds={}, interval=None, warnings=(warning,))
    bounds = {
        measured.name: interval
        for measured in all_metrics()
        if (interval := _bounds(measured, names, columns, clusters, lossless)) is not None
    }
    return ScoreIntervals(
        bounds=bounds,
        interval=Interval(
            method=clusters.method, clusters=clusters.count, df=clusters.effective - 1, claim=clusters.claim
        ),
        warnings=_drift_warning(names, columns, clusters),
    )


def _bounds(
    measured: Metric, names: tuple[str, ...], columns: Columns, clusters: Clusters, lossless: bool
) -> Bounds | None:
    try:
        estimate = jackknife(statistic_of(measured, names, lossless=lossless), columns, clusters)
    except UnavailableError:
        return None
    return bounds_of(measured, estimate)


@dataclass(frozen=True, kw_only=True)
class Change:
    """Candidate − baseline, in nats a token, with a two-sided 95 % interval."""

    value: float
    bounds: Bounds | None
    """None where there is too little text."""


def change_of_loss(baseline: Blocks, candidate: Blocks) -> Change:
    """Return the paired change of the loss of the same tokens, as `compare` tests it for two runs.

    Args:
        baseline: The blocks of a run, every loss finite.
        candidate: The blocks of another reading of the same tokens.

    One document of 128 blocks, whose loss falls by half a nat a token everywhere:

    >>> def blocks(nats: float) -> Blocks:
    ...     ones, zeros = (1,) * 128, (0,) * 128
    ...     ends = tuple(range(256, 129 * 256, 256))
    ...     return Blocks(bytes=ends, document=zeros, scored_bytes=ones, tokens=ones, characters=ones, words=ones,
    ...                   unknown=zeros, sums={"nats": (nats,) * 128})
    >>> change_of_loss(blocks(2.0), blocks(1.5))
    Change(value=-0.5, bounds=Bounds(low=-0.5, high=-0.5))
    """
    columns = [columns_of(blocks, (NATS,)) for blocks in (baseline, candidate)]
    tokens = columns[0][0]
    scored = tokens > 0
    losses = np.array([columns[1][UNITS] - columns[0][UNITS], tokens])[:, scored]
    document = np.array(baseline.document, dtype=np.intp)[scored]
    try:
        clusters = clusters_of(document, losses[1], block_size(baseline.bytes[-1]))
    except TooLittleTextError:
        return Change(value=float(ratio(losses.sum(axis=1))), bounds=None)
    estimate = jackknife(ratio, losses, clusters)
    return Change(value=estimate.value, bounds=Bounds(low=estimate.bound(_LOWER), high=estimate.bound(_UPPER)))


def bounds_of(measured: Metric, estimate: Estimate) -> Bounds | None:
    """Return the two-sided 95 % interval in the metric's unit; None if an end of it is not a finite number.

    The interval of a metric that is biased upwards goes from 0 to the upper 95 % bound. The interval of a share is cut
    off at 0 and 1.
    """
    if measured.biased_upwards:
        low, high = 0.0, measured.back(estimate.bound(_UPPER_ALONE))
    else:
        low, high = measured.back(estimate.bound(_LOWER)), measured.back(estimate.bound(_UPPER))
    if measured.unit == "share":
        low, high = max(low, 0.0), min(high, 1.0)
    return Bounds(low=low, high=high) if np.isfinite([low, high]).all() else None


def _drift_warning(names: tuple[str, ...], columns: Columns, clusters: Clusters) -> tuple[Warning, ...]:
    if clusters.kind == "documents" or NATS not in names:
        return ()
    losses = columns[[UNITS + names.index(NATS), 0]]
    if not drifts(ratio, losses, columns[0]):
        return ()
    return (
        Warning(
            code="drift",
            message="losses drift along this text: the intervals hold for this passage; hold out pieces from all "
            "over the text, or whole documents",
        ),
    )
