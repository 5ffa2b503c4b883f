"""State norms, token by token: a lane for each state along the text."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from rnneval.arrays import Doubles
from rnneval.records.tables import TRACE
from rnneval.render.figures._base import Figure, TidyTable
from rnneval.render.figures._style import (
    Look,
    bands,
    beside_lane,
    change,
    counting,
    label,
    lanes,
    legend,
    medians_of_ends,
)
from rnneval.render.phrasing import counted, number

KINDS = (TRACE,)
ORDER = 20


def figure(table: TidyTable) -> Figure | None:
    """Return the figure of the norms of all states, in the order of the trace; None if the trace has no norms."""
    norms = table.frame[(table.frame["statistic"] == "norm") & table.frame["position"].notna()]
    states = {
        f"{layer}.{slot}": rows.sort_values("position")[["position", "value"]].to_numpy(np.float64).T
        for (layer, slot), rows in norms.groupby(["layer", "slot"], observed=True, sort=False)
    }
    if not states:
        return None
    # From the first fifth of the text to the last.
    ends = {name: medians_of_ends(norms, max(norms.size // 5, 1)) for name, (_, norms) in states.items()}
    changes = {name: change(*each) for name, each in ends.items()}
    most = max(changes, key=lambda name: abs(changes[name]))
    verb = "grows" if changes[most] > 0 else "shrinks"
    title = f"Along the text, the norm of {label(most)} {verb} from {' to '.join(map(number, ends[most]))}"
    if min(values.size for _, values in states.values()) < 5:
        title = f"Norms of {counted(len(states), 'state')} along the text"
    elif abs(changes[most]) < 0.1:
        title = f"Along the text, {'the state norm stays' if len(states) == 1 else 'all state norms stay'} level"
    end = max(float(positions[-1]) for positions, _ in states.values())
    medians = []
    for name, (_, values) in states.items():
        low, middle, high = map(number, np.quantile(values, (0.025, 0.5, 0.975)).tolist())
        medians.append(f"{label(name)} median {middle}, 95 % between {low} and {high}")
    return Figure(
        title=title,
        alt=f"{title}. State norms (L2) over {end:,.0f} tokens: {'; '.join(medians)}.",
        height=min(0.3 + 0.1 * len(states), 1.25),
        x="position in the text (tokens)",
        grid="x",
        paint=partial(_paint, states, {name: abs(size) for name, size in changes.items()}, end),
    )


def _paint(states: Mapping[str, Doubles], changes: Mapping[str, float], end: float, ax: Any, look: Look) -> None:
    shown = lanes(ax, changes)
    for place, (base, name) in enumerate(shown):
        positions, norms = states[name]
        table, pooled = bands(positions, norms)
        top, new = max(float(norms.max()), 1e-12), place == 0  # one entry of the legend for all lanes
        x, heights = table["x"], base + 0.84 * table / top
        ax.axhline(base, color=look.muted, linewidth=0.7)
        text = (f"median of {pooled} positions" if pooled > 1 else "each position of the trace") * new
        marker = "o" if len(table) < 3 else None
        ax.plot(x, heights[50], color=look.good, linewidth=1.3, marker=marker, markersize=5, gid=name, label=text)
        for low, high, alpha in ((2.5, 97.5, 0.22), (25, 75, 0.4)) if pooled > 1 else ():
            text = f"middle {high - low:.0f} %" * new
            ax.fill_between(x, heights[low], heights[high], color=look.good, alpha=alpha, lw=0, label=text)
        beside_lane(ax, look, base, "0", number(top), both=len(shown) <= 6)
    ax.set_xlim(0, max(end, 1))
    counting(ax.xaxis)
    ax.set_ylabel("state norm ‖s‖₂" if len(shown) == len(states) else f"the {len(shown)} norms that change most")
    legend(ax)
