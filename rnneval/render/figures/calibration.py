"""Whether the model is as sure as it is right: a reliability diagram.

Tokens are put into 15 bins by the probability of the model's first choice. A stem goes from the diagonal, where a
model is exactly as often right as it believes, to the dot: its length is the bin's gap between accuracy and
confidence, exactly, and it stands at the middle of its bin. Dots below the diagonal are over-confidence. The area of
a dot is the share of tokens in its bin, the thin bar two standard errors of its accuracy.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnneval.metrics.calibration_error import BINS, COUNTS, NAMES
from rnneval.records.run import Run
from rnneval.render.figures._style import Doubles, begin, finish, legend, number, percent
from rnneval.render.words import counted

KINDS = ("rnneval.run/1",)
ORDER = 60
HEIGHT = 0.72


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """What is drawn; arrays `(bins that hold a token,)`."""

    middle: Doubles
    """Of the bin's confidences."""
    gap: Doubles
    """Accuracy − confidence, mean over the bin's tokens."""
    counts: Doubles
    error: float
    """Weighted mean of |gap|."""

    @property
    def accuracy(self) -> Doubles:
        """Where the dots are."""
        return np.clip(self.middle + self.gap, 0.0, 1.0)


def data_of(source: Run) -> Reliability | None:
    """Take the bins' counts and gaps; none from a record that has not counted them, or without a finite gap."""
    sums = {} if isinstance(source, list) else source.blocks.sums
    if not {*NAMES, *COUNTS} <= set(sums):
        return None
    counts = np.array([sum(sums[name]) for name in COUNTS])
    gaps = np.array([sum(sums[name]) for name in NAMES])
    held = counts > 0
    if not held.any() or not np.isfinite(gaps).all():
        return None
    return Reliability(
        middle=((np.arange(BINS) + 0.5) / BINS)[held],
        gap=(gaps[held] / counts[held]),
        counts=counts[held],
        error=float(np.abs(gaps).sum() / counts.sum()),
    )


def title_of(data: Reliability) -> str:
    """Say which way the model is off, and by how much."""
    bias = float((data.gap * data.counts).sum() / data.counts.sum())
    if data.error < 0.01:
        return f"The model is as sure as it is right, to within {_points(data.error)}"
    if abs(bias) < 0.5 * data.error:
        return f"Confidence is off by {_points(data.error)} on average, both ways"
    return f"The model is {'less' if bias > 0 else 'more'} sure than it is right, by {_points(data.error)} on average"


def _points(share: float) -> str:
    return f"{number(100 * share)} percentage points"


def alt_of(data: Reliability) -> str:
    """Say every bin."""
    bins = [
        f"{percent(middle)} sure: {percent(right)} right ({counted(int(count), 'token')})"
        for middle, right, count in zip(data.middle, data.accuracy, data.counts, strict=True)
    ]
    return f"{title_of(data)}. Reliability diagram of {counted(int(data.counts.sum()), 'token')}: {'; '.join(bins)}."


def draw(data: Reliability, *, ax: Any = None) -> Any:
    """Draw the diagram on `ax`; give the Axes."""
    ax, look = begin(ax)
    right = data.accuracy
    ax.plot([0, 1], [0, 1], color=look.ink, linestyle="--", linewidth=1.1, label="as sure as right")
    ax.vlines(data.middle, data.middle, right, color=look.bad, linewidth=3, label="gap", zorder=2)
    error = 2 * np.sqrt(np.maximum(right * (1 - right), 1e-12) / data.counts)
    ax.errorbar(
        data.middle, right, yerr=[np.minimum(error, right), np.minimum(error, 1 - right)], fmt="none",
        ecolor=look.good, elinewidth=1, label="± 2 standard errors", zorder=3,
    )  # fmt: skip
    share = data.counts / data.counts.sum()
    ax.scatter(
        data.middle, right, s=14 + 500 * share, color=look.good, edgecolor=look.paper, linewidth=0.8, zorder=4,
        label="a bin (area: its share of tokens)",
    )  # fmt: skip
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    finish(
        ax, look, title=title_of(data), x="confidence (probability of the first choice)", y="accuracy (share right)",
        grid="both",
    )  # fmt: skip
    legend(ax, look, loc="upper left", markerscale=0.6)
    return ax
