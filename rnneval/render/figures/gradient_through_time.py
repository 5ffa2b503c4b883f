"""Reach of learning: the gradient of one token's loss with respect to the state k tokens before it."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from rnneval.metrics.diagnostics.findings import exploding_gradients
from rnneval.records.gradients import Gradients, ThroughTime
from rnneval.render.figures._base import Figure
from rnneval.render.figures._style import Look, in_legend, label, labels, legend, lines, on_paper
from rnneval.render.phrasing import counted, number, visible

KINDS = ("rnneval.gradients/1",)
ORDER = 10
GONE = 0.01
_FLOOR = 1e-4


def figure(gradients: Gradients) -> Figure | None:
    """Return the figure of the gradients through time of the states that have one; None if no state has."""
    states = {name: state for name, state in gradients.through_time.items() if state.median}
    if not states:
        return None
    last = max(states, key=lambda name: states[name].gone or 0)
    length = counted(states[last].gone or 0, "token")
    title = f"99 % of the gradient is gone after {length} ({label(last)} lasts longest)"
    if lasting := [name for name, state in states.items() if state.gone is None]:
        lags = max(len(states[name].median) - 1 for name in lasting)
        title = f"In {label(lasting[0])} the gradient still acts {counted(lags, 'token')} back"
    most = max(states, key=lambda name: max(states[name].median))
    growth = max(states[most].median)
    if exploding := growth > exploding_gradients.THRESHOLD:
        lag = counted(states[most].median.index(growth), "token")
        title = f"In {label(most)} the gradient grows to {number(growth)} times its size over {lag} back"
    said = []
    for name, state in states.items():
        gone = "not within the measured lags" if state.gone is None else f"after {counted(state.gone, 'token')}"
        said.append(f"{label(name)} {gone}, by a factor of {number(state.decay)} a token")
    return Figure(
        title=title,
        alt=f"{title}. Median over {counted(gradients.anchors, 'token')} of the gradient by lag; 99 % gone: "
        f"{'; '.join(said)}. Truncation: {counted(gradients.truncation, 'token')}.",
        x="lag (tokens back)",
        y="gradient, share of the first",
        paint=partial(_paint, states, gradients.truncation),
        diverged=exploding,
        marks={"bands": any(_banded(states, state) for state in states.values())},
    )


def _banded(states: Mapping[str, ThroughTime], state: ThroughTime) -> bool:
    """Return whether a band is drawn: of one or two states, and not of earlier records, whose bands hold 90 %."""
    return len(states) <= 2 and state.band == 0.95


def _paint(states: Mapping[str, ThroughTime], truncation: int, ax: Any, look: Look) -> None:
    import pandas as pd

    # The last lag to draw is just after all lines are gone, and past the truncation if that is near.
    above = [np.flatnonzero(np.array(state.median) >= _FLOOR) for state in states.values()]
    wanted = max(int(lags[-1]) if len(lags) else 0 for lags in above) + 2
    if truncation <= 2 * wanted:
        wanted = max(wanted, truncation + 2)
    last = min(wanted, max(len(state.median) - 1 for state in states.values()))
    table = pd.concat(
        pd.DataFrame({"lag": range(len(state.median)), "median": state.median, "low": state.low, "high": state.high})
        .assign(state=visible(name))
        .iloc[state.base : last + 1]
        for name, state in states.items()
    )
    table["median"] = table["median"].where(table["median"] > 0, _FLOOR / 100)  # far below what is shown
    drawn = lines(ax, look, table, x="lag", y="median", by="state", marked=True, linewidth=1.8, markersize=7)
    names = labels(list(states), 20)
    for line, name, (key, state) in zip(drawn, names, states.items(), strict=True):
        hidden = state.gone is None or state.gone > last
        line.set_markevery([0 if hidden else max(int(state.gone or 0) - state.base, 0)])
        line.set_label(in_legend(f"{name}: {'never' if state.gone is None else state.gone}"))
        if _banded(states, state):
            part = table[table["state"] == visible(key)]
            low = part["low"].clip(_FLOOR / 10)
            ax.fill_between(part["lag"], low, part["high"], color=line.get_color(), alpha=0.14, linewidth=0)
            for edge in (low, part["high"]):  # so that a band can be followed through the other one
                ax.plot(part["lag"], edge, color=line.get_color(), linestyle=line.get_linestyle(), linewidth=0.6)
    ax.set_yscale("log")
    ax.set_ylim(_FLOOR, max(table["high"].max() * 1.5, 2))
    ax.set_xlim(0, last + 0.5)
    ax.axhline(GONE, color=look.muted, linestyle="--", linewidth=1)
    ax.annotate(
        "99 % gone below", (last, GONE), (0, 3), textcoords="offset points", ha="right", fontsize="small",
        bbox=on_paper(look),
    )  # fmt: skip
    text = f"truncation: {counted(truncation, 'token')} {'' if truncation <= last else '→'}"
    if truncation <= last:
        ax.axvline(truncation, color=look.ink, linestyle=":", linewidth=1.8)
    place = (min(truncation, last), 0.97)
    ax.text(*place, text, transform=ax.get_xaxis_transform(), ha="right", va="top", fontsize="small")
    size = "small" if len(states) <= 8 else "x-small"
    legend(ax, "beside", title="99 % gone after", fontsize=size, labelspacing=0.35, markerscale=0.8)
