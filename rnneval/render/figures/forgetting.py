"""Forgetting lengths: after how many tokens the state no longer depends on where it started."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from rnneval.records.run import Forgetting, Run
from rnneval.render.figures._base import Figure, run_labels
from rnneval.render.figures._style import Look, counting, legend, rows
from rnneval.render.phrasing import counted

KINDS = ("rnneval.run/1",)
ORDER = 50
TOGETHER = True


def figure(*runs: Run) -> Figure | None:
    """Return the figure of the forgetting lengths of the runs that have one; None if no run has.

    A run has none if its states did not become the same within the text, or if the state was not carried.
    """
    named = zip(run_labels(runs, 40), runs, strict=True)
    kept = sorted(
        ((name, run.forgetting, run.valid) for name, run in named if run.forgetting is not None),
        key=lambda each: not each[2],
    )
    if not kept:
        return None
    shown = [(name if valid or len(runs) == 1 else f"{name} (not valid)", length) for name, length, valid in kept]
    note = f"; {counted(len(runs) - len(kept), 'run')} without a forgetting length not shown" * (len(kept) < len(runs))
    lengths = "; ".join(
        f"{name}: median within {each.median:,.0f}, 95 % within {each.p95:,.0f}, longest within {each.max:,.0f}"
        for name, each in shown
    )
    order = sorted([each for each in kept if each[2]] or kept, key=lambda each: each[1].median)
    (first, soon, _), (last, late, _) = order[0], order[-1]
    title = f"{first} forgets first (within {soon.median:,.0f} tokens), {last} last ({late.median:,.0f})"
    if len(order) == 1:
        title = f"The state forgets its start within {soon.median:,.0f} tokens"
        title += f" in the median, {soon.max:,.0f} at most" * (soon.max > soon.median)
    return Figure(
        title=title,
        alt=f"Forgetting lengths in tokens. {lengths}{note}.",
        height=min(0.26 + 0.05 * len(kept), 1.0),
        x=f"tokens{note}",
        grid="x",
        paint=partial(_paint, shown),
    )


def _paint(shown: Sequence[tuple[str, Forgetting]], ax: Any, look: Look) -> None:
    places = range(len(shown))
    median, p95, most = ([getattr(length, name) for _, length in shown] for name in ("median", "p95", "max"))
    ax.hlines(places, 0, most, color=look.grid, linewidth=2, zorder=1)
    ax.hlines(places, median, most, color=look.good, linewidth=2, zorder=2)
    marks: dict[str, Any] = {"color": look.good, "linestyle": "none", "zorder": 3}
    ax.plot(median, places, "o", markersize=8, label="median", **marks)
    ax.plot(p95, places, "D", markersize=8, markerfacecolor=look.paper, label="95 % within", **marks)
    ax.plot(most, places, "|", markersize=14, markeredgewidth=2.2, label="longest", **marks)
    if min(median) > 0 and max(most) / min(median) > 50:
        ax.set(xscale="log", xlim=(min(median) / 2, max(most) * 1.5))
    else:
        ax.set_xlim(0, max(*most, 1) * 1.08)
        counting(ax.xaxis)
    rows(ax, [name for name, _ in shown])
    legend(ax)
