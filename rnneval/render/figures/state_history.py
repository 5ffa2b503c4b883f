"""Training, epoch by epoch: a lane for the held-out perplexity, and one for the norm of each state."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from rnneval.metrics import by_name
from rnneval.records.tables import STATE_HISTORY, UNIFORM
from rnneval.render.figures._base import Figure, TidyTable, require_metric
from rnneval.render.figures._style import Doubles, Look, beside_lane, counting, label, lanes, legend
from rnneval.render.phrasing import counted, number

KINDS = (STATE_HISTORY,)
ORDER = 20
_HELD_OUT = "held-out "
_SCORE, _LOSS = "perplexity", "cross_entropy"


@dataclass(frozen=True, kw_only=True)
class _Lane:
    """One quantity by epoch: arrays `(epochs,)`, without the epochs in `lost`."""

    name: str
    """`LAYER.SLOT`, or the name of the score in words."""
    is_score: bool
    epochs: Doubles
    values: Doubles
    largest: Doubles
    """Largest norm of a state; of the score, its value again."""
    lost: Doubles
    """Epochs in which the value was not finite."""

    @property
    def change(self) -> float:
        """Change from the first epoch to the last, as a share of the mean of the two."""
        first, last = (self.values[0], self.values[-1]) if len(self.values) else (0.0, 0.0)
        return float((last - first) / max((first + last) / 2, 1e-300))

    @property
    def limits(self) -> tuple[float, float]:
        """Values at the bottom and the top of the lane."""
        if not len(self.values):
            return 0.0, 1.0
        low = float(self.values.min()) if self.is_score else 0.0
        return low, float(max(self.largest.max(), low + 1e-12))


def figure(table: TidyTable, metric: str | None = None) -> Figure | None:
    """Return the figure of the perplexity (or another score) and the norms of all states; None if it has neither."""
    frame, x = _placed(table.frame)
    written = frame.loc[frame["layer"] == "", "statistic"].unique()
    require_metric(metric, [name for name in written if name in by_name()], "the history")
    shown = _lanes(frame, metric or _SCORE)
    if metric is None and shown and shown[0].is_score and not len(shown[0].values):  # larger than any float, always
        by_loss = _lanes(frame, _LOSS)
        shown = by_loss if by_loss and by_loss[0].is_score and len(by_loss[0].values) else shown
    if not shown:
        return None
    score = shown[0] if shown[0].is_score else None
    states = [lane for lane in shown if not lane.is_score and len(lane.values)]
    worse = _worse_than_guessing(frame, table)
    title = _states_title(states) if score is None else _score_title(score, worse)
    parts = [f"{title}.", f"{counted(frame['at'].nunique(), 'epoch')} of training."]
    if score is not None and len(score.values):
        numbers = (score.values[0], score.values.min(), score.values[-1])
        first, best, last = map(number, numbers)
        lost = f", not finite in {counted(len(score.lost), 'epoch')}" if len(score.lost) else ""
        parts.append(f"{score.name.capitalize()}: first {first}, best {best}, last {last}{lost}.")
    if states:
        norms = (f"{label(lane.name)} {number(lane.values[0])} and {number(lane.values[-1])}" for lane in states)
        parts.append(f"Mean state norms (L2), first and last: {'; '.join(norms)}.")
    ring = score is not None and bool(set(score.epochs) - worse)
    ends = (float(frame["at"].min()), float(frame["at"].max()))
    return Figure(
        title=title,
        alt=" ".join(parts),
        height=min(0.3 + 0.1 * len(shown), 1.25),
        x=x,
        grid="x",
        paint=partial(_paint, shown, ends, ring),
        diverged=any(len(lane.lost) for lane in shown) or ends[1] in worse,
    )


def _worse_than_guessing(frame: Any, table: TidyTable) -> set[float]:
    """Return the epochs in which the loss was above that of guessing among all tokens."""
    loss = frame[(frame["layer"] == "") & (frame["statistic"] == _LOSS)]
    return set(loss.loc[loss["value"] > float(table.metadata.get(UNIFORM, math.inf)), "at"].astype(float))


def _score_title(score: _Lane, worse: set[float]) -> str:
    """State that the training run diverged, or its best epoch."""
    if not len(score.values):
        return f"The training run diverged: {score.name} was never finite"
    best, last, sound = score.values.min(), score.values[-1], set(score.epochs) - worse
    found = f"best at epoch {score.epochs[score.values.argmin()]:,.0f}: {number(best)}"
    but = f", {found}" if sound else ""
    if after := [epoch for epoch in score.lost if epoch > score.epochs[-1]]:
        return f"The training run diverged: {score.name} is not finite from epoch {after[0]:,.0f} on{but}"
    if not sound:
        return f"{score.name.capitalize()} was always worse than guessing, {number(last)} at the end"
    if score.epochs[-1] in worse:
        return f"The training run diverged: {score.name} is {number(last)} at the end, worse than guessing{but}"
    lost = f"not finite in {counted(len(score.lost), 'epoch')}, " if len(score.lost) else ""
    ended = f", {number(last)} at the end" if last > 1.01 * best else ""
    return f"{score.name.capitalize()} is {lost}{found}{ended}"


def _states_title(states: Sequence[_Lane]) -> str:
    """State which norm changes most in training."""
    most = max(states, key=lambda lane: abs(lane.change))
    if len(most.values) < 2:
        return f"Mean norms of {counted(len(states), 'state')} after one epoch"
    training = f"Training of {most.epochs[-1] - most.epochs[0] + 1:,.0f} epochs"
    if abs(most.change) < 0.1:
        return f"{training} leaves {'the state norm' if len(states) == 1 else 'all state norms'} level"
    change = f"from {number(most.values[0])} to {number(most.values[-1])}"
    return f"{training} changes the mean norm of {label(most.name)} most: {change}"


def _placed(frame: Any) -> tuple[Any, str]:
    """Return the rows with their place on the horizontal axis, the column `at`, and the label of that axis.

    Each fit numbers its epochs from 0. Where a history holds several, their epochs are counted on.
    """
    columns = ["epoch", "layer", "variable", "statistic", "value"]
    frame = frame[columns].astype(dict.fromkeys(columns[1:4], str)).reset_index(drop=True)
    if frame.empty:
        return frame.assign(at=0), "epoch"
    again = (frame[columns[1:4]] == frame.loc[0, columns[1:4]]).all(axis=1)  # two fits of one epoch each
    begins = frame["epoch"].ne(frame["epoch"].shift()) | again
    fits = 1 + int((frame.loc[begins, "epoch"].diff() <= 0).sum())
    if fits == 1:
        return frame.assign(at=frame["epoch"]), "epoch (the first is 0)"
    return frame.assign(at=begins.cumsum() - 1), f"epoch, counted through {fits} trainings (the first is 0)"


def _lanes(frame: Any, metric: str) -> list[_Lane]:
    """Return the lane of the score, then those of the states; without lanes that have no value at all."""
    scores, states = frame[frame["layer"] == ""], frame[frame["layer"] != ""]
    wanted = [(f"{_HELD_OUT}{metric.replace('_', ' ')}", scores, metric, metric)]
    for (layer, slot), rows in states.groupby(["layer", "variable"], sort=False):
        wanted.append((f"{layer}.{slot}", rows, "norm_mean", "norm_max"))
    found = []
    for place, (name, rows, middle, top) in enumerate(wanted):
        if not (rows["statistic"] == middle).any():
            continue
        wide = rows.pivot_table(index="at", columns="statistic", values="value", dropna=False)
        wide = wide.reindex(columns=[middle, top]).set_axis(["value", "top"], axis=1).sort_index()
        values, lost = wide[np.isfinite(wide["value"])], wide.index[~np.isfinite(wide["value"])]
        means = values["value"].to_numpy(np.float64)
        found.append(
            _Lane(
                name=name,
                is_score=place == 0,
                epochs=values.index.to_numpy(np.float64),
                values=means,
                largest=np.fmax(values["top"].where(np.isfinite(values["top"])).to_numpy(np.float64), means),
                lost=lost.to_numpy(np.float64),
            )
        )
    return found


def _paint(every: Sequence[_Lane], epochs: tuple[float, float], ring: bool, ax: Any, look: Look) -> None:
    shown, _ = lanes(
        ax, every, key=lambda lane: np.inf if lane.is_score else abs(lane.change), name=lambda lane: lane.name
    )
    count = len(shown)
    for base, lane in zip(reversed(range(count)), shown, strict=True):
        low, high = lane.limits
        height, top = (base + 0.84 * (values - low) / (high - low) for values in (lane.values, lane.largest))
        color, text = (look.ink, None) if lane.is_score else (look.good, "mean norm over the text")
        ax.axhline(base, color=look.muted, linewidth=0.7)
        if not lane.is_score:
            ax.fill_between(lane.epochs, height, top, color=color, alpha=0.22, linewidth=0, label="up to the largest")
        marker = "o" if len(lane.epochs) <= 40 else None
        ax.plot(lane.epochs, height, color=color, linewidth=1.6, marker=marker, markersize=4, gid=lane.name, label=text)
        if lane.is_score and ring:
            best = int(lane.values.argmin())
            ax.plot(
                lane.epochs[best], height[best], "o", markersize=10, markerfacecolor="none", markeredgecolor=look.ink,
                markeredgewidth=1.6, label=f"best {lane.name.removeprefix(_HELD_OUT)}", clip_on=False, gid="best",
            )  # fmt: skip
        if len(lane.lost):
            ax.plot(
                lane.lost, np.full(len(lane.lost), base + 0.42), "x", color=look.bad, markersize=7, markeredgewidth=2,
                linestyle="none", label="not finite", gid=f"{lane.name}, not finite",
            )  # fmt: skip
        if len(lane.values):
            beside_lane(ax, look, base, number(low), number(high), both=lane.is_score or count <= 6)
    ax.set_xlim(epochs[0] - 0.3, epochs[1] + 0.3)
    counting(ax.xaxis)
    if count < len(every):
        ax.set_ylabel(f"the {count} rows that change most")
    handles, texts = ax.get_legend_handles_labels()
    legend(ax, handles=list(dict(zip(texts, handles, strict=True)).values())[::-1])  # each text once
