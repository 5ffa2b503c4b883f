"""Reach of learning: the gradient of one token's loss with respect to the state k tokens before it."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from rnneval.metrics.diagnostics.findings import THRESHOLDS
from rnneval.records.run import Gradients, ThroughTime
from rnneval.render.figures._base import Figure
from rnneval.render.figures._style import Look, label, labels, legend, on_paper, plain, styles
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
    gone = counted(states[last].gone or 0, "token")
    title = f"99 % of the gradient is gone after {gone} ({label(last)} lasts longest)"
    if lasting := [name for name, state in states.items() if state.gone is None]:
        lags = max(len(states[name].median) - 1 for name in lasting)
        title = f"In {label(lasting[0])} the gradient still acts {counted(lags, 'token')} back"
    most = max(states, key=lambda name: max(states[name].median))
    growth = max(states[most].median)
    if exploding := growth > THRESHOLDS["exploding-gradients"]:
        lag = counted(states[most].median.index(growth), "token")
        title = f"In {label(most)} the gradient grows to {number(growth)} times its size over {lag} back"
    each = []
    for name, state in states.items():
        gone = "not within the measured lags" if state.gone is None else f"after {counted(state.gone, 'token')}"
        each.append(f"{label(name)} {gone}, by a factor of {number(state.decay)} a token")
    return Figure(
        title=title,
        alt=f"{title}. Median over {counted(gradients.anchors, 'token')} of the gradient by lag; 99 % gone: "
        f"{'; '.join(each)}. Truncation: {counted(gradients.truncation, 'token')}.",
        x="lag (tokens back)",
        y="gradient, share of the first",
        paint=partial(_paint, states, gradients.truncation),
        height=min(0.6 + 0.02 * len(states), 1.0),
        diverged=exploding,
    )


def _paint(states: Mapping[str, ThroughTime], truncation: int, ax: Any, look: Look) -> None:
    # The last lag to draw is just after all lines are gone, and past the truncation if that is near.
    wanted = max(np.flatnonzero(np.array(state.median) >= _FLOOR).max(initial=0) for state in states.values()) + 2
    wanted = max(wanted, truncation + 2) if truncation <= 2 * wanted else wanted
    last = min(wanted, max(len(state.median) - 1 for state in states.values()))
    top, lines, names = 1.0, [], labels(list(states), 20)
    for name, (key, state), style in zip(names, states.items(), styles(look, len(states), marked=True), strict=True):
        part = slice(state.base, last + 1)
        median, low, high = (np.array(values[part], np.float64) for values in (state.median, state.low, state.high))
        lags, median = np.arange(state.base, state.base + len(median)), np.where(median > 0, median, _FLOOR / 100)
        marked = 0 if state.gone is None or state.gone > last else max(state.gone - state.base, 0)
        style |= {"label": plain(f"{name}: {'never' if state.gone is None else state.gone}"), "gid": visible(key)}
        lines += ax.plot(lags, median, linewidth=1.8, markersize=7, markevery=[marked], **style)
        top = max(top, float(high.max(initial=0.0)))
        if len(states) <= 2:  # bands that can be told apart
            low = low.clip(_FLOOR / 10)
            ax.fill_between(lags, low, high, color=style["color"], alpha=0.14, linewidth=0)
            for edge in (low, high):  # so that a band can be followed through the other one
                ax.plot(lags, edge, linewidth=0.6, **style | {"marker": "", "label": None, "gid": None})
    ax.set(yscale="log", ylim=(_FLOOR, max(top * 1.5, 2)), xlim=(0, last + 0.5))
    ax.axhline(GONE, color=look.muted, linestyle="--", linewidth=1)
    above = {"textcoords": "offset points", "ha": "right", "fontsize": "small", "bbox": on_paper(look)}
    ax.annotate("99 % gone below", (last, GONE), (0, 3), **above)
    if truncation <= last:
        ax.axvline(truncation, color=look.ink, linestyle=":", linewidth=1.8)
    text = f"truncation: {counted(truncation, 'token')} {'' if truncation <= last else '→'}"
    place = (min(truncation, last), 0.97)
    ax.text(*place, text, transform=ax.get_xaxis_transform(), ha="right", va="top", fontsize="small")
    legend(ax, lines, title="99 % gone after (tokens)", alignment="left", labelspacing=0.35, markerscale=0.8)
