"""Learning curves of a sweep: the loss of every checkpoint, a line for each run."""

from functools import partial
from typing import Any

import numpy as np

from rnneval.records.tables import SWEEP
from rnneval.render.figures._base import Figure, TidyTable
from rnneval.render.figures._style import Look, counting, end_labels, label, legend, ring, styles
from rnneval.render.phrasing import counted, number
from rnneval.render.run_document import WORSE

KINDS = (SWEEP,)
ORDER = 5
_LOSSES = {"bits_per_char": "bits per character", "cross_entropy": "nats a token"}


def figure(table: TidyTable) -> Figure | None:
    """Return the figure of the losses of all valid checkpoints; None if there is none."""
    import pandas as pd

    frame = table.frame
    score = next((name for name in _LOSSES if name in frame and frame[name].notna().any()), None)
    valid = frame[:0] if score is None else frame[(frame["status"] == "ok") & frame[score].notna()]
    if score is None or valid.empty:
        return None
    across = next((name for name in ("step", "epoch") if valid[name].notna().any()), "checkpoint")
    names = {across: "x", score: "loss", f"{score}_low": "low", f"{score}_high": "high"}
    placed = valid.assign(checkpoint=np.arange(1, len(valid) + 1)).dropna(subset=across)
    warned = placed["warnings"].fillna("").str.contains(WORSE) if "warnings" in placed else False
    curves = placed.assign(guess=warned)[["path", "run", "guess", *names]].rename(columns=names)
    curves = curves.astype({"path": str, "run": str, "guess": bool} | dict.fromkeys(names.values(), float))
    curves = pd.concat(part.sort_values("x", kind="stable") for _, part in curves.groupby("run", sort=False))
    failed, aside = len(frame) - len(valid), len(valid) - len(placed)
    notes = [f"{counted(failed, 'checkpoint')} failed or not valid"] * bool(failed)
    notes += [f"{counted(aside, 'checkpoint')} without a number in the name"] * bool(aside)
    runs = "; ".join(
        f"{label(run) or 'run'}: {counted(len(losses), 'checkpoint')}, first {number(losses.iloc[0])}, "
        f"best {number(losses.min())}, last {number(losses.iloc[-1])}"
        for run, losses in curves.groupby("run", sort=False)["loss"]
    )
    title, unit = _title(curves, across, _LOSSES[score]), _LOSSES[score]
    return Figure(
        title=title,
        alt=f"{title}. Loss by {across} in {unit}. {runs}.{''.join(f' {note}.' for note in notes)}",
        x=f"{across} ({', '.join(notes)})" if notes else across,
        y=unit,
        paint=partial(_paint, curves),
        diverged=bool(curves["guess"].iloc[-1]),
    )


def _title(curves: Any, across: str, unit: str) -> str:
    """State the best checkpoint, and the last one if it is worse."""
    best, last = curves.iloc[curves["loss"].argmin()], curves.iloc[-1]
    name, value = label(str(best["path"])), f"{number(best['loss'])} {unit}"
    if best["guess"]:
        return f"No checkpoint is better than guessing: {name} has {value}"
    where = "" if across == "checkpoint" else f", at {across} {best['x']:,.0f}"
    title = f"{name} is best{where}: {value}"
    if last["guess"]:
        return f"{title}; the last checkpoint is worse than guessing, {number(last['loss'])}"
    if len(set(curves["run"])) == 1 and last["loss"] > 1.01 * best["loss"]:
        return f"{title}, {number(last['loss'])} at the end"
    return title


def _paint(curves: Any, ax: Any, look: Look) -> None:
    runs, ends = list(curves.groupby("run", sort=False)), []
    few = max(len(part) for _, part in runs) <= 40
    for (run, part), style in zip(runs, styles(look, len(runs), marked=few), strict=True):
        ax.plot(part["x"], part["loss"], gid=run, linewidth=1.6, markersize=4.5, **style)
        if part["low"].notna().any():
            ax.fill_between(part["x"], part["low"], part["high"], color=style["color"], alpha=0.15, linewidth=0)
        ends.append((part["loss"].iloc[-1], run or "this folder", style["color"]))
    best = curves.iloc[curves["loss"].argmin()]
    if not best["guess"]:
        ring(ax, look, best["x"], best["loss"], "best")
    counting(ax.xaxis)
    if len(ends) > 1:
        end_labels(ax, ends)
    legend(ax, ncols=2)
