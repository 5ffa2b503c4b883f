"""Confidence against accuracy: a reliability diagram."""

from functools import partial
from typing import Any

import numpy as np

from rnneval.metrics.calibration_error import BINS, COUNTS, NAMES
from rnneval.records.run import Run
from rnneval.render.figures._base import Figure
from rnneval.render.figures._style import Doubles, Look, legend, percent
from rnneval.render.phrasing import counted, number

KINDS = ("rnneval.run/1",)
ORDER = 60


def figure(run: Run) -> Figure | None:
    """Return the figure of the bins' accuracies; None if the bins are not in the record, empty or not finite."""
    sums = run.blocks.sums
    if not {*NAMES, *COUNTS} <= set(sums):
        return None
    tokens, gaps = (np.array([sum(sums[name]) for name in names]) for names in (COUNTS, NAMES))
    if not tokens.any() or not np.isfinite(gaps).all():
        return None
    filled = tokens > 0
    middle, tokens, gaps = ((np.arange(BINS) + 0.5)[filled] / BINS, tokens[filled], gaps[filled])
    accuracy = (middle + gaps / tokens).clip(0, 1)
    error, bias = float(np.abs(gaps).sum() / tokens.sum()), float(gaps.sum() / tokens.sum())
    points = f"{number(100 * error)} percentage points"
    title = f"The model is {'under' if bias > 0 else 'over'}confident by {points} on average"
    if error < 0.01:
        title = f"The model is perfectly calibrated to within {points}"
    elif abs(bias) < 0.5 * error:
        title = f"Confidence is off by {points} on average, in both directions"
    bins = "; ".join(
        f"confidence {percent(at)}, accuracy {percent(right)} ({counted(int(count), 'token')})"
        for at, right, count in zip(middle, accuracy, tokens, strict=True)
    )
    return Figure(
        title=title,
        alt=f"{title}. Reliability diagram of {counted(int(tokens.sum()), 'token')}: {bins}.",
        height=0.72,
        x="confidence (probability of the first choice)",
        y="accuracy (share of correct first choices)",
        grid="both",
        paint=partial(_paint, middle, accuracy, tokens),
        chapter="numbers",
    )


def _paint(middle: Doubles, accuracy: Doubles, tokens: Doubles, ax: Any, look: Look) -> None:
    ax.plot([0, 1], [0, 1], color=look.ink, linestyle="--", linewidth=1.1, label="perfectly calibrated")
    ax.vlines(middle, middle, accuracy, color=look.bad, linewidth=3, label="gap", zorder=2)
    error = 1.96 * np.sqrt((accuracy * (1 - accuracy)).clip(1e-12) / tokens)
    ends = [np.minimum(error, accuracy), np.minimum(error, 1 - accuracy)]
    ax.errorbar(middle, accuracy, ends, fmt="none", ecolor=look.good, elinewidth=1, label="95 % interval", zorder=3)
    sizes, text = 14 + 500 * tokens / tokens.sum(), "a bin (area: its share of tokens)"
    ax.scatter(middle, accuracy, sizes, color=look.good, edgecolor=look.paper, linewidth=0.8, zorder=4, label=text)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    legend(ax, ncols=2, markerscale=0.6)
