"""How a model became better in training: the loss of every checkpoint of a sweep, a line a run.

The horizontal axis is the step or the epoch out of the checkpoints' names, or else their order. The band is the 95 %
interval of each number by itself: neighbouring checkpoints read the same text, so a difference between two of them may
be sure where their bands overlap (see rnneval compare). The ring marks the best checkpoint. What failed or is not valid
is counted and not drawn.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnneval.render.figures._sources import SWEEP, Table
from rnneval.render.figures._style import (
    Doubles,
    Look,
    begin,
    counting,
    end_labels,
    finish,
    label,
    legend,
    number,
    styles,
)
from rnneval.render.words import counted

KINDS = (SWEEP,)
ORDER = 5
HEIGHT = 0.55
_SCORES = {"bits_per_char": "bits per character", "cross_entropy": "nats a token"}


@dataclass(frozen=True, kw_only=True)
class Line:
    """The checkpoints of one run, from left to right."""

    name: str
    places: Doubles
    scores: Doubles
    low: Doubles
    """NaN where there is no interval."""
    high: Doubles


@dataclass(frozen=True, kw_only=True)
class Curves:
    """What is drawn."""

    lines: tuple[Line, ...]
    across: str
    """`step`, `epoch` or `checkpoint`."""
    unit: str
    best: str
    """Path of the best checkpoint."""
    best_at: tuple[float, float]
    last: float | None
    """The last score of the only run."""
    without: int
    """Checkpoints that failed or are not valid."""
    aside: int
    """Checkpoints without a number in their names, where others have one."""


def data_of(source: Any) -> Curves | None:
    """Take the scores of all valid checkpoints."""
    if isinstance(source, list) or not isinstance(source, Table):
        return None
    frame = source.frame
    score = next((name for name in _SCORES if name in frame and frame[name].notna().any()), None)
    if score is None:
        return None
    valid = frame[(frame["status"] == "ok") & frame[score].notna()]
    if not len(valid):
        return None
    across = next((name for name in ("step", "epoch") if valid[name].notna().any()), "checkpoint")
    placed = valid.assign(checkpoint=np.arange(1, len(valid) + 1))
    placed = placed[placed[across].notna()]
    lines = tuple(_line(str(name), part, across, score) for name, part in placed.groupby("run", sort=False))
    best = placed.loc[placed[score].astype(float).idxmin()]
    return Curves(
        lines=lines,
        across=across,
        unit=_SCORES[score],
        best=str(best["path"]),
        best_at=(float(best[across]), float(best[score])),
        last=float(lines[0].scores[-1]) if len(lines) == 1 else None,
        without=len(frame) - len(valid),
        aside=len(valid) - len(placed),
    )


def _line(name: str, part: Any, across: str, score: str) -> Line:
    part = part.sort_values(across, kind="stable")
    columns = (across, score, f"{score}_low", f"{score}_high")
    places, scores, low, high = (part[column].to_numpy(np.float64, na_value=np.nan) for column in columns)
    return Line(name=name, places=places, scores=scores, low=low, high=high)


def title_of(data: Curves) -> str:
    """Say which checkpoint is best, and whether training went on after it."""
    where = "" if data.across == "checkpoint" else f", at {data.across} {data.best_at[0]:,.0f}"
    title = f"{label(data.best)} is best{where}: {number(data.best_at[1])} {data.unit}"
    if data.last is not None and data.last > 1.01 * data.best_at[1]:
        return f"{title}, {number(data.last)} at the end"
    return title


def alt_of(data: Curves) -> str:
    """Say where each run began, was best and ended."""
    rows = [
        f"{label(line.name) or 'run'}: {counted(len(line.scores), 'checkpoint')}, "
        f"first {number(float(line.scores[0]))}, best {number(float(line.scores.min()))}, "
        f"last {number(float(line.scores[-1]))}"
        for line in data.lines
    ]
    return f"{title_of(data)}. Loss by {data.across} in {data.unit}. {'; '.join(rows)}.{_left_out(data)}"


def _left_out(data: Curves) -> str:
    failed = f" {counted(data.without, 'checkpoint')} failed or not valid." if data.without else ""
    aside = f" {counted(data.aside, 'checkpoint')} without a number in the name." if data.aside else ""
    return f"{failed}{aside}"


def draw(data: Curves, *, ax: Any = None) -> Any:
    """Draw the curves on `ax`; give the Axes."""
    ax, look = begin(ax)
    ends = [_curve(ax, style, line) for style, line in zip(styles(len(data.lines), look), data.lines, strict=True)]
    _best(ax, look, data)
    noted = _left_out(data).strip().replace(". ", ", ").rstrip(".")
    finish(ax, look, title=title_of(data), x=f"{data.across}{noted and f' ({noted})'}", y=data.unit)
    counting(ax.xaxis)
    if len(ends) > 1:
        end_labels(ax, ends, size="x-small" if len(ends) > 8 else "small")
    legend(ax, look, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.2)
    return ax


def _curve(ax: Any, style: Any, line: Line) -> tuple[float, str, Any]:
    if np.isfinite(line.low).any():
        ax.fill_between(line.places, line.low, line.high, color=style.color, alpha=0.15, linewidth=0)
    ax.plot(
        line.places, line.scores, color=style.color, linestyle=style.dashes, linewidth=1.6, gid=line.name,
        marker=style.marker if len(line.places) <= 40 else None, markersize=4,
    )  # fmt: skip
    return float(line.scores[-1]), label(line.name, 18) or "this folder", style.color


def _best(ax: Any, look: Look, data: Curves) -> None:
    x, y = data.best_at
    ax.plot(
        [x], [y], "o", markersize=11, markerfacecolor="none", markeredgecolor=look.ink, markeredgewidth=1.6,
        label="best", clip_on=False, gid="best",
    )  # fmt: skip
