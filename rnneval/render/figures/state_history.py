"""Training, epoch by epoch: a lane for the held-out perplexity, and one for the norm of each state."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from rnneval.records.tables import STATE_HISTORY, UNIFORM
from rnneval.render.figures._base import Figure, TidyTable
from rnneval.render.figures._style import Look, beside_lane, change, counting, label, lanes, legend, ring
from rnneval.render.phrasing import counted, number

KINDS = (STATE_HISTORY,)
ORDER = 20
_HELD_OUT = "held-out "


def figure(table: TidyTable) -> Figure | None:
    """Return the figure of the perplexity and the norms of all states; None if it has neither."""
    frame, x = _placed(table.frame)
    scores = frame[frame["layer"] == ""].pivot_table(index="at", columns="statistic", values="value", dropna=False)
    finite = np.isfinite(scores.astype(float)).any()
    # A perplexity that is larger than any float, always, is shown by its logarithm.
    by_loss = not finite.get("perplexity", True) and finite.get("cross_entropy", False)
    name = "cross_entropy" if by_loss else "perplexity"
    score = f"{_HELD_OUT}{name.replace('_', ' ')}"
    states = _norms(frame[frame["layer"] != ""])
    shown = {score: scores[name].to_frame("value").assign(top=scores[name])} if name in scores else {}
    shown |= states
    guessing = float(table.metadata.get(UNIFORM, math.inf))
    worse = set(scores.index[scores["cross_entropy"] > guessing]) if "cross_entropy" in scores else set()
    first_last = {
        label(name): " and ".join(map(number, values.iloc[[0, -1]]))
        for name, norms in states.items()
        if len(values := _finite(norms)["value"])
    }
    if score not in shown and not first_last:
        return None
    title = f"Mean norms of {counted(len(states), 'state')} by epoch"
    if score in shown:
        title = _score_title(score, shown[score]["value"], worse)
    alt = f"{title}. {counted(frame['at'].nunique(), 'epoch')} of training."
    if score in shown and len(values := _finite(shown[score])["value"]):
        first, best, last = map(number, (values.iloc[0], values.min(), values.iloc[-1]))
        alt += f" {score.capitalize()}: first {first}, best {best}, last {last}."
    if first_last:
        norms = "; ".join(f"{name} {both}" for name, both in first_last.items())
        alt += f" Mean state norms (L2), first and last: {norms}."
    ends = float(frame["at"].min()), float(frame["at"].max())
    return Figure(
        title=title,
        alt=alt,
        height=min(0.3 + 0.1 * len(shown), 1.25),
        x=x,
        grid="x",
        paint=partial(_paint, every=shown, epochs=ends, score=score, worse=worse),
        diverged=any(len(_finite(lane)) < len(lane) for lane in shown.values()) or ends[1] in worse,
    )


def _finite(lane: Any) -> Any:
    """Return the epochs of a lane whose value is finite."""
    return lane[np.isfinite(lane["value"])]


def _score_title(name: str, values: Any, worse: set[float]) -> str:
    """State that the training run diverged, or its best epoch."""
    finite = values[np.isfinite(values)]
    if finite.empty:
        return f"The training run diverged: {name} was never finite"
    best, last, lost = finite.min(), finite.iloc[-1], len(values) - len(finite)
    found = f"best at epoch {finite.idxmin():,.0f}: {number(best)}"
    sound = not worse.issuperset(finite.index)
    but = f", {found}" if sound else ""
    after = values.index[values.index > finite.index[-1]]
    if len(after):
        return f"The training run diverged: {name} is not finite from epoch {after[0]:,.0f} on{but}"
    if not sound:
        return f"{name.capitalize()} was always worse than guessing, {number(last)} at the end"
    if finite.index[-1] in worse:
        return f"The training run diverged: {name} is {number(last)} at the end, worse than guessing{but}"
    missing = f"not finite in {counted(lost, 'epoch')}, " if lost else ""
    ended = f", {number(last)} at the end" if last > 1.01 * best else ""
    return f"{name.capitalize()} is {missing}{found}{ended}"


def _change(norms: Any) -> float:
    return abs(change(_finite(norms)["value"].to_numpy(), 1))


def _placed(frame: Any) -> tuple[Any, str]:
    """Return the rows with their place on the horizontal axis, the column `at`, and the label of that axis.

    Each fit numbers its epochs from 0. Where a history holds several, their epochs are counted on.
    """
    fit = (frame["epoch"].diff() < 0).cumsum()
    label = f"epoch, counted through {fit.max() + 1} trainings" if fit.any() else "epoch"
    text = dict.fromkeys(("layer", "variable", "statistic"), str)
    at = frame["epoch"] + fit * (frame["epoch"].max() + 1)
    return frame.astype(text).assign(at=at), f"{label} (the first is 0)"


def _norms(frame: Any) -> dict[str, Any]:
    """Return for each state that has norms the mean and the largest norm by epoch."""
    found = {}
    for (layer, slot), rows in frame.groupby(["layer", "variable"], sort=False):
        if (rows["statistic"] == "norm_mean").any():
            wide = rows.pivot_table(index="at", columns="statistic", values="value", dropna=False)
            norms = wide.reindex(columns=["norm_mean", "norm_max"])
            found[f"{layer}.{slot}"] = norms.set_axis(["value", "top"], axis=1)
    return found


def _paint(
    ax: Any, look: Look, *, every: Mapping[str, Any], epochs: tuple[float, float], score: str, worse: set[float]
) -> None:
    shown = lanes(ax, [*every], lambda name: np.inf if name == score else _change(every[name]))
    for base, name in shown:
        is_score, kept = name == score, _finite(every[name])
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
            ring(ax, look, kept["value"].idxmin(), height.min(), f"best {name.removeprefix(_HELD_OUT)}")
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
