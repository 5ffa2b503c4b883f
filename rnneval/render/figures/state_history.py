"""Training, epoch by epoch: a lane for the held-out perplexity, and one for the norm of each state."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from rnneval.records.tables import STATE_HISTORY, UNIFORM
from rnneval.render.figures._base import Figure, TidyTable
from rnneval.render.figures._style import (
    Look,
    beside_lane,
    change,
    counting,
    label,
    lanes,
    legend,
    medians_of_ends,
    ring,
)
from rnneval.render.phrasing import counted, number

KINDS = (STATE_HISTORY,)
ORDER = 20
_SCORE = "held-out perplexity"


def figure(table: TidyTable) -> Figure | None:
    """Return the figure of the perplexity and the norms of all states; None if it has neither."""
    frame = table.frame.astype(dict.fromkeys(("layer", "variable", "statistic"), str))
    epoch = frame["epoch"] + int(frame["epoch"].min() == 0)  # histories of earlier releases count from 0
    fit = (epoch.diff() < 0).cumsum()  # each fit numbers its epochs from 1: they are counted on
    frame = frame.assign(at=epoch + fit * epoch.max())
    every = _lanes(frame)
    known = {name: values for name, lane in every.items() if len(values := _finite(lane)["value"])}
    states = {label(name): values for name, values in known.items() if name != _SCORE}
    if _SCORE not in every and not states:
        return None
    losses = frame[(frame["layer"] == "") & (frame["statistic"] == "cross_entropy")]
    guessing = float(table.metadata.get(UNIFORM, math.inf))
    worse = set(losses.loc[losses["value"] > guessing, "at"])
    title = f"Mean norms of {counted(len(every), 'state')} by epoch"
    if _SCORE in every:
        title = _title(every[_SCORE]["value"], worse)
    alt = f"{title}. {counted(frame['at'].nunique(), 'epoch')} of training."
    if _SCORE in known:
        values = known[_SCORE]
        first, best, last = map(number, (values.iloc[0], values.min(), values.iloc[-1]))
        alt += f" {_SCORE.capitalize()}: first {first}, best {best}, last {last}."
    if states:
        norms = "; ".join(f"{name} {' and '.join(map(number, v.iloc[[0, -1]]))}" for name, v in states.items())
        alt += f" Mean state norms (L2), first and last: {norms}."
    ends = float(frame["at"].min()), float(frame["at"].max())
    through = f", counted through {fit.max() + 1} trainings" if fit.any() else ""
    return Figure(
        title=title,
        alt=alt,
        height=min(0.3 + 0.1 * len(every), 1.25),
        x=f"epoch{through}",
        grid="x",
        paint=partial(_paint, every, ends, worse),
        diverged=any(len(_finite(lane)) < len(lane) for lane in every.values()) or ends[1] in worse,
    )


def _lanes(frame: Any) -> dict[str, Any]:
    """Return by epoch the perplexity, first, and the mean and the largest norm of each state that has norms."""
    found = {}
    for (layer, slot), rows in frame.groupby(["layer", "variable"], sort=False):
        wide = rows.pivot_table(index="at", columns="statistic", values="value", dropna=False)
        columns = ["norm_mean", "norm_max"] if layer else ["perplexity", "perplexity"]
        if columns[0] in wide:
            lane = wide.reindex(columns=columns).set_axis(["value", "top"], axis=1)
            found[f"{layer}.{slot}" if layer else _SCORE] = lane
    return dict(sorted(found.items(), key=lambda each: each[0] != _SCORE))


def _finite(lane: Any) -> Any:
    return lane[np.isfinite(lane["value"])]


def _title(values: Any, worse: set[float]) -> str:
    """State that the training run diverged, or its best epoch."""
    finite = values[np.isfinite(values)]
    if finite.empty:
        return f"The training run diverged: {_SCORE} was never finite"
    best, last, lost = finite.min(), finite.iloc[-1], len(values) - len(finite)
    found = f"best at epoch {finite.idxmin():,.0f}: {number(best)}"
    always_worse = worse.issuperset(finite.index)
    but = "" if always_worse else f", {found}"
    after = values.index[values.index > finite.index[-1]]
    if len(after):
        return f"The training run diverged: {_SCORE} is not finite from epoch {after[0]:,.0f} on{but}"
    if always_worse:
        return f"{_SCORE.capitalize()} was always worse than guessing, {number(last)} at the end"
    if finite.index[-1] in worse:
        return f"The training run diverged: {_SCORE} is {number(last)} at the end, worse than guessing{but}"
    missing = f"not finite in {counted(lost, 'epoch')}, " if lost else ""
    return f"{_SCORE.capitalize()} is {missing}{found}" + (f", {number(last)} at the end" if last > 1.01 * best else "")


def _paint(every: Mapping[str, Any], epochs: tuple[float, float], worse: set[float], ax: Any, look: Look) -> None:
    changes = {
        name: abs(change(*medians_of_ends(_finite(lane)["value"].to_numpy(), 1))) for name, lane in every.items()
    }
    shown = lanes(ax, changes | {_SCORE: np.inf} if _SCORE in every else changes)
    for base, name in shown:
        is_score, kept = name == _SCORE, _finite(every[name])
        lost = every[name].index.difference(kept.index)
        largest = np.fmax(kept["top"].where(np.isfinite(kept["top"])), kept["value"])
        low = kept["value"].min() if is_score and len(kept) else 0.0
        high = max(largest.max(), low + 1e-12) if len(kept) else 1.0
        height, top = (base + 0.84 * (values - low) / (high - low) for values in (kept["value"], largest))
        color, text = (look.ink, None) if is_score else (look.good, "mean norm over the text")
        ax.axhline(base, color=look.muted, linewidth=0.7)
        if not is_score:
            ax.fill_between(kept.index, height, top, color=color, alpha=0.22, linewidth=0, label="up to the largest")
        marker = "o" if len(kept) <= 40 else None
        ax.plot(kept.index, height, color=color, linewidth=1.6, marker=marker, markersize=4, gid=name, label=text)
        if is_score and not worse.issuperset(kept.index):
            ring(ax, look, kept["value"].idxmin(), height.min(), "best perplexity")
        if len(lost):
            style = {"color": look.bad, "markersize": 7, "markeredgewidth": 2, "gid": f"{name}, not finite"}
            ax.plot(lost, np.full(len(lost), base + 0.42), "x", label="not finite", **style)
        if len(kept):
            beside_lane(ax, look, base, number(low), number(high), both=is_score or len(shown) <= 6)
    ax.set_xlim(epochs[0] - 0.3, epochs[1] + 0.3)
    counting(ax.xaxis)
    if len(shown) < len(every):
        ax.set_ylabel(f"the {len(shown)} rows that change most")
    handles, texts = ax.get_legend_handles_labels()
    legend(ax, handles=list(dict(zip(texts, handles, strict=True)).values())[::-1])  # each text once
