"""Loss by distance from the start, carried and reset, and below it the norms of the states."""

from collections.abc import Mapping
from functools import partial
from math import log
from typing import Any

import numpy as np

from rnneval.records.run import BesideReset, HowFar, Run, StateSummary
from rnneval.render.figures._base import Figure
from rnneval.render.figures._style import Look, counting, end_labels, legend, styles
from rnneval.render.phrasing import counted, interval, number

KINDS = ("rnneval.run/1",)
ORDER = 15
_LOSS = "loss (nats a token)"
_SHARE = 0.42  # of the height, for the norms
_STATES = 6  # the most norms that are drawn: those that change most
_TITLES = {
    "holds": "Carrying the state helps to the end of the text",
    "inconclusive": "How far carrying the state helps does not show in this text",
    "collapses": "Carrying the state costs more than it gives from the start",
}


def figure(run: Run) -> Figure | None:
    """Return the figure of a run with a second reading; None without one, or if the text was too short."""
    beside = run.beside_reset
    far = None if beside is None else beside.how_far
    if beside is None or far is None or far.reset is None:
        return None
    title = _TITLES[far.verdict]
    if far.turns_at is not None and far.turns_at.value:
        title = f"Carrying the state helps up to {far.turns_at.value:,.0f} tokens, and costs from there"
    points = zip(far.distance, np.add(far.reset, far.change), far.reset, strict=True)
    losses = ", ".join(f"{number(carried)} and {number(reset)} from {start:,}" for start, carried, reset in points)
    states = dict(sorted((run.states or {}).items(), key=_change, reverse=True)[:_STATES])
    rates = [
        f"{name} grows {number(s.growth.value)} × in 1,000 tokens ({interval(s.growth.low, s.growth.high, number)})"
        for name, s in states.items()
        if s.growth is not None
    ]
    return Figure(
        title=title,
        alt=f"{title}. Loss carried and reset every {beside.segment:,} tokens, in nats a token, by distance from the "
        f"start: {losses}.{' Norms: ' * bool(rates)}{'; '.join(rates)}{'.' * bool(rates)}",
        height=0.8 if states else 0.6,
        x="distance from the start of the document (tokens)",
        y="" if states else _LOSS,
        paint=partial(_paint, beside, far, states),
        chapter="numbers",
    )


def _change(item: tuple[str, StateSummary]) -> float:
    return abs(log(item[1].growth.value)) if item[1].growth is not None else 0.0


def _paint(beside: BesideReset, far: HowFar, states: Mapping[str, StateSummary], ax: Any, look: Look) -> None:
    middles = np.add(far.distance, (*far.distance[1:], far.end)) / 2
    reset, style = f"reset every {counted(beside.segment, 'token')}", {"linewidth": 1.8, "marker": "o", "markersize": 4}
    losses = np.array(far.reset)
    ax.plot(middles, losses, color=look.ink, linestyle="--", label=reset, **style)
    ax.plot(middles, losses + far.change, color=look.good, label="carried, with the change's interval", **style)
    bounds = [losses + each for each in (far.low, far.high)]
    ax.fill_between(middles, *bounds, color=look.good, alpha=0.2, linewidth=0)
    if far.turns_at is not None:
        turn = f"turns at {far.turns_at.value:,.0f}, 95 % interval"
        ax.axvspan(far.turns_at.low, far.turns_at.high, color=look.bad, alpha=0.2, linewidth=0, label=turn)
        ax.axvline(far.turns_at.value, color=look.bad, linewidth=1.3)
    if far.trained_at is not None:
        trained = f"training segment, {counted(far.trained_at, 'token')}"
        ax.axvline(far.trained_at, color=look.bad, linestyle=":", linewidth=1.8, label=trained)
    ax.set_xlim(0, far.end)
    counting(ax.xaxis)
    if states:
        _norms(ax, states, far.end, look)
    legend(ax, ncols=2)


def _norms(ax: Any, states: Mapping[str, StateSummary], end: int, look: Look) -> None:
    """Draw the mean norm of each state, in equal parts of the text, below what stands on the Axes."""
    low, high = ax.get_ylim()
    ax.set_yticks([tick for tick in ax.get_yticks() if low <= tick <= high])
    ax.set_ylim(low - (high - low) * _SHARE / (1 - _SHARE), high)
    ax.set_ylabel(_LOSS, y=(1 + _SHARE) / 2)
    below, ends = ax.inset_axes((0, 0, 1, _SHARE - 0.06), sharex=ax, facecolor="none"), []
    for (name, state), style in zip(states.items(), styles(look, len(states), marked=False), strict=True):
        norms = state.norms or ()
        known = [((k + 0.5) * end / len(norms), norm) for k, norm in enumerate(norms) if norm]
        if known:
            below.plot(*zip(*known, strict=True), linewidth=1.5, **style)
            ends.append((known[-1][1], name, style["color"]))
    below.set_yscale("log")
    below.set_ylabel("norm ‖s‖₂", fontsize="small")
    below.tick_params(which="both", labelsize="small", bottom=False, labelbottom=False)
    below.spines[["top", "right", "bottom"]].set_visible(False)
    end_labels(below, ends)
