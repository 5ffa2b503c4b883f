"""State norms, token by token: a lane for each state along the text."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from rnneval.records.tables import TRACE
from rnneval.render.figures._base import Figure, TidyTable
from rnneval.render.figures._style import Doubles, Look, bands, beside_lane, counting, label, lanes, legend
from rnneval.render.phrasing import counted, number

KINDS = (TRACE,)
ORDER = 20


@dataclass(frozen=True, kw_only=True)
class _Norms:
    name: str
    positions: Doubles
    norms: Doubles

    @property
    def change(self) -> float:
        """Change from the first fifth of the text to the last, as a share of the mean of their medians."""
        fifth = max(len(self.norms) // 5, 1)
        first, last = float(np.median(self.norms[:fifth])), float(np.median(self.norms[-fifth:]))
        return (last - first) / max((first + last) / 2, 1e-300)


def figure(table: TidyTable) -> Figure | None:
    """Return the figure of the norms of all states, in the order of the trace; None if the trace has no norms."""
    frame = table.frame
    norms = frame[(frame["statistic"] == "norm") & frame["position"].notna()]
    states = []
    for (layer, slot), part in norms.groupby(["layer", "slot"], observed=True, sort=False):
        columns = part.sort_values("position")[["position", "value"]].to_numpy(np.float64).T
        states.append(_Norms(name=f"{layer}.{slot}", positions=columns[0], norms=columns[1]))
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
    medians = []
    for state in states:
        low, middle, high = (number(float(each)) for each in np.quantile(state.norms, (0.025, 0.5, 0.975)))
        medians.append(f"{label(state.name)} median {middle}, 95 % between {low} and {high}")
    return Figure(
        title=title,
        alt=f"{title}. State norms (L2) over {end:,.0f} tokens: {'; '.join(medians)}.",
        height=min(0.3 + 0.1 * len(states), 1.25),
        x="position in the text (tokens)",
        grid="x",
        paint=partial(_paint, states, end),
    )


def _paint(states: Sequence[_Norms], end: float, ax: Any, look: Look) -> None:
    shown, _ = lanes(ax, states, key=lambda state: abs(state.change), name=lambda state: state.name)
    count = len(shown)
    for base, state in zip(reversed(range(count)), shown, strict=True):
        (table, pooled), top = bands(state.positions, state.norms), max(float(state.norms.max()), 1e-12)
        at, new = base + 0.84 * table / top, base == count - 1  # one entry of the legend for all lanes
        ax.axhline(base, color=look.muted, linewidth=0.7)
        ax.plot(
            table["x"], at[50], color=look.good, linewidth=1.3, marker="o" if len(table) < 3 else None, markersize=5,
            gid=state.name, label=(f"median of {pooled}" if pooled > 1 else "each position of the trace") * new,
        )  # fmt: skip
        for low, high, alpha in ((2.5, 97.5, 0.22), (25, 75, 0.4)) if pooled > 1 else ():
            ax.fill_between(
                table["x"], at[low], at[high], color=look.good, alpha=alpha, linewidth=0,
                label=f"middle {high - low:.0f} %" * new,
            )  # fmt: skip
        beside_lane(ax, look, base, "0", number(top), both=count <= 6)
    ax.set_xlim(0, max(end, 1))
    counting(ax.xaxis)
    ax.set_ylabel("state norm ‖s‖₂" if count == len(states) else f"the {count} norms that change most")
    legend(ax)
