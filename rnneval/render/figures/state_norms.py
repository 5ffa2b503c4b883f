"""State norms, token by token: a lane for each state along the text."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from rnneval.records.tables import TRACE
from rnneval.render.figures._base import Figure, Table
from rnneval.render.figures._style import (
    Doubles,
    Look,
    bands,
    beside_lane,
    counting,
    label,
    lanes,
    legend,
    pooled_by,
)
from rnneval.render.phrasing import counted, number

KINDS = (TRACE,)
ORDER = 20


@dataclass(frozen=True, kw_only=True)
class _State:
    name: str
    positions: Doubles
    norms: Doubles

    @property
    def change(self) -> float:
        """Change from the first fifth of the text to the last, as a share of the mean of their medians."""
        fifth = max(len(self.norms) // 5, 1)
        first, last = float(np.median(self.norms[:fifth])), float(np.median(self.norms[-fifth:]))
        return (last - first) / max((first + last) / 2, 1e-300)


def figure(table: Table) -> Figure | None:
    """Return the figure of the norms of all states, in the order of the trace; None if the trace has no norms."""
    frame = table.frame
    norms = frame[(frame["statistic"] == "norm") & frame["position"].notna()]
    states = []
    for (layer, slot), part in norms.groupby(["layer", "slot"], observed=True, sort=False):
        columns = part.sort_values("position")[["position", "value"]].to_numpy(np.float64).T
        states.append(_State(name=f"{layer}.{slot}", positions=columns[0], norms=columns[1]))
    if not states:
        return None
    most = max(states, key=lambda state: abs(state.change))
    verb = "grows" if most.change > 0 else "shrinks"
    title = f"Along the text, the norm of {label(most.name)} {verb} by {abs(most.change) * 100:.0f} %"
    if any(len(state.norms) < 5 for state in states):
        title = f"Norms of {counted(len(states), 'state')} along the text"
    elif abs(most.change) < 0.1:
        title = f"Along the text, {'the state norm stays' if len(states) == 1 else 'all state norms stay'} level"
    end = max(float(state.positions[-1]) for state in states)
    said = [
        f"{label(state.name)} median {number(float(np.median(state.norms)))}, 95 % between "
        f"{number(float(np.quantile(state.norms, 0.025)))} and {number(float(np.quantile(state.norms, 0.975)))}"
        for state in states
    ]
    return Figure(
        title=title,
        alt=f"{title}. State norms (L2) over {end:,.0f} tokens: {'; '.join(said)}.",
        height=min(0.3 + 0.1 * len(states), 1.25),
        x="position in the text (tokens)",
        grid="x",
        paint=partial(_paint, states, end),
        marks=dict.fromkeys(("median", "band"), any(pooled_by(len(state.norms)) > 1 for state in states)),
    )


def _paint(states: Sequence[_State], end: float, ax: Any, look: Look) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    shown, size = lanes(ax, states, key=lambda state: abs(state.change), name=lambda state: state.name)
    count, pooled = len(shown), 1
    for base, state in zip(reversed(range(count)), shown, strict=True):
        (table, size_of_bin), top = bands(state.positions, state.norms), max(float(state.norms.max()), 1e-12)
        at = base + 0.84 * table / top
        ax.axhline(base, color=look.muted, linewidth=0.7)
        if size_of_bin > 1:
            pooled = max(pooled, size_of_bin)
            ax.fill_between(table["x"], at[2.5], at[97.5], color=look.good, alpha=0.22, linewidth=0)
            ax.fill_between(table["x"], at[25], at[75], color=look.good, alpha=0.4, linewidth=0)
        marker = "o" if len(table) < 3 else None
        ax.plot(table["x"], at[50], color=look.good, linewidth=1.3, marker=marker, markersize=5, gid=state.name)
        for y, text in ((base + 0.84, number(top)), (base, "0")) if count <= 6 else ((base + 0.6, number(top)),):
            beside_lane(ax, look, text, y, size)
    ax.set_xlim(0, max(end, 1))
    counting(ax.xaxis)
    ax.set_ylabel("state norm ‖s‖₂" if count == len(states) else f"the {count} norms that change most")
    line = Line2D([], [], color=look.good, label=f"median of {pooled}" if pooled > 1 else "each position of the trace")
    shares = ((0.5, "middle 50 %"), (0.22, "middle 95 %"))
    patches = [Patch(color=look.good, alpha=alpha, linewidth=0, label=share) for alpha, share in shares]
    legend(ax, "above", ncols=3, handles=[line, *patches] if pooled > 1 else [line])
