"""Confidence against accuracy: a reliability diagram."""

from functools import partial
from typing import Any

import numpy as np

from rnneval.metrics.calibration_error import BINS, COUNTS, NAMES
from rnneval.records.run import Run
from rnneval.render.figures._base import Figure
from rnneval.render.figures._style import Look, legend, percent
from rnneval.render.phrasing import counted, number

KINDS = ("rnneval.run/1",)
ORDER = 60


def figure(run: Run) -> Figure | None:
    """Return the figure of the bins' accuracies; None if the bins are not in the record, empty or not finite."""
    import pandas as pd

    sums = run.blocks.sums
    if not {*NAMES, *COUNTS} <= set(sums):
        return None
    bins = pd.DataFrame(
        {
            "middle": (np.arange(BINS) + 0.5) / BINS,
            "tokens": [sum(sums[name]) for name in COUNTS],
            "total": [sum(sums[name]) for name in NAMES],
        }
    )
    bins = bins[bins["tokens"] > 0]
    if bins.empty or not np.isfinite(bins["total"]).all():
        return None
    bins = bins.assign(accuracy=(bins["middle"] + bins["total"] / bins["tokens"]).clip(0, 1))
    error = float(bins["total"].abs().sum() / bins["tokens"].sum())
    bias = float(bins["total"].sum() / bins["tokens"].sum())
    points = f"{number(100 * error)} percentage points"
    title = f"The model is {'under' if bias > 0 else 'over'}confident by {points} on average"
    if error < 0.01:
        title = f"The model is perfectly calibrated to within {points}"
    elif abs(bias) < 0.5 * error:
        title = f"Confidence is off by {points} on average, in both directions"
    said = [
        f"confidence {percent(middle)}, accuracy {percent(right)} ({counted(int(count), 'token')})"
        for middle, right, count in bins[["middle", "accuracy", "tokens"]].to_numpy()
    ]
    tokens = counted(int(bins["tokens"].sum()), "token")
    return Figure(
        title=title,
        alt=f"{title}. Reliability diagram of {tokens}: {'; '.join(said)}.",
        height=0.72,
        x="confidence (probability of the first choice)",
        y="accuracy (share of correct first choices)",
        grid="both",
        paint=partial(_paint, bins),
        chapter="numbers",
    )


def _paint(bins: Any, ax: Any, look: Look) -> None:
    import seaborn as sns

    # As arrays: matplotlib 3.10.0 reads error bars in a way that pandas 2.2 deprecates for a Series.
    middle, right, tokens = bins[["middle", "accuracy", "tokens"]].to_numpy().T
    ax.plot([0, 1], [0, 1], color=look.ink, linestyle="--", linewidth=1.1, label="perfectly calibrated")
    ax.vlines(middle, middle, right, color=look.bad, linewidth=3, label="gap", zorder=2)
    error = 1.96 * np.sqrt((right * (1 - right)).clip(1e-12) / tokens)
    ax.errorbar(
        middle, right, yerr=[np.minimum(error, right), np.minimum(error, 1 - right)], fmt="none",
        ecolor=look.good, elinewidth=1, label="95 % interval", zorder=3,
    )  # fmt: skip
    sns.scatterplot(
        ax=ax, x=middle, y=right, s=14 + 500 * tokens / tokens.sum(), color=look.good,
        edgecolor=look.paper, linewidth=0.8, zorder=4, label="a bin (area: its share of tokens)", legend=False,
    )  # fmt: skip
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    legend(ax, "below", ncols=2, markerscale=0.6)
