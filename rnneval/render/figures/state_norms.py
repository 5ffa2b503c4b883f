"""How large the state is along the text: one lane a layer and slot, with quantile bands.

The line is the median of ‖state‖₂ over neighbouring positions, the darker band holds half of them and the
lighter one 90 %; a short trace is drawn as it is. Each lane has its own scale, from 0 to the number at its end. A lane
that climbs is a state that grows with the text.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnneval.render.figures._sources import TRACE, Table
from rnneval.render.figures._style import (
    Bands,
    Doubles,
    Look,
    bands,
    begin,
    counting,
    finish,
    label,
    legend,
    most_rows,
    number,
    plain,
    row_size,
)
from rnneval.render.words import counted

KINDS = (TRACE,)
ORDER = 20


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One slot of one layer."""

    name: str
    positions: Doubles
    norms: Doubles
    top: float
    """The end of its scale."""

    @property
    def change(self) -> float:
        """From the first fifth of the text to the last, as a share of the mean of the medians."""
        fifth = max(len(self.norms) // 5, 1)
        first, last = float(np.median(self.norms[:fifth])), float(np.median(self.norms[-fifth:]))
        return (last - first) / max((first + last) / 2, 1e-300)


@dataclass(frozen=True, kw_only=True)
class Norms:
    """What is drawn."""

    lanes: tuple[Lane, ...]
    end: float
    """The last position."""


def data_of(source: Table) -> Norms | None:
    """Take the norms of every slot, in the order of the trace."""
    if isinstance(source, list):
        return None
    frame = source.frame
    frame = frame[(frame["statistic"] == "norm") & frame["position"].notna()]
    lanes = tuple(
        _lane(f"{layer}.{slot}", part)
        for (layer, slot), part in frame.groupby(["layer", "slot"], observed=True, sort=False)
    )
    return Norms(lanes=lanes, end=max(float(lane.positions[-1]) for lane in lanes)) if lanes else None


def _lane(name: str, part: Any) -> Lane:
    part = part.sort_values("position")
    norms = part["value"].to_numpy(np.float64)
    return Lane(
        name=name, positions=part["position"].to_numpy(np.float64), norms=norms, top=max(float(norms.max()), 1e-12)
    )


def title_of(data: Norms) -> str:
    """Say whether a norm changes along the text."""
    if any(len(lane.norms) < 5 for lane in data.lanes):
        return f"State norms of {counted(len(data.lanes), 'slot')}"
    most = max(data.lanes, key=lambda lane: abs(lane.change))
    if abs(most.change) < 0.1:
        all_of = "The state's norm stays" if len(data.lanes) == 1 else "All state norms stay"
        return f"{all_of} at {'its' if len(data.lanes) == 1 else 'their'} level along the text"
    verb = "grows" if most.change > 0 else "shrinks"
    return f"The norm of {label(most.name)} {verb} by {abs(most.change):.0%} along the text".replace("%", " %")


def alt_of(data: Norms) -> str:
    """Say each lane's median, range and change."""
    rows = [
        f"{label(lane.name)} median {number(float(np.median(lane.norms)))}, 90 % between "
        f"{number(float(np.quantile(lane.norms, 0.05)))} and {number(float(np.quantile(lane.norms, 0.95)))}"
        for lane in data.lanes
    ]
    return f"{title_of(data)}. State norms (L2) over {data.end:,.0f} tokens: {'; '.join(rows)}."


def height_of(data: Norms) -> float:
    """A lane a slot."""
    return min(0.3 + 0.1 * len(data.lanes), 1.25)


def draw(data: Norms, *, ax: Any = None) -> Any:
    """Draw a lane a slot on `ax`, the first on top; give the Axes."""
    ax, look = begin(ax)
    fits = most_rows(ax)
    shown = sorted(data.lanes, key=lambda lane: -abs(lane.change))[:fits]
    lanes = [lane for lane in data.lanes if any(lane is each for each in shown)]
    count = len(lanes)
    pooled = [bands(lane.positions, lane.norms) for lane in lanes]
    for place, (lane, band) in enumerate(zip(lanes, pooled, strict=True)):
        _draw_lane(ax, look, count - 1 - place, lane, band)
    ax.set_ylim(-0.08, count)
    ax.set_xlim(0, max(data.end, 1))
    n = max(band.pooled for band in pooled)
    finish(
        ax, look, raised=True, title=title_of(data), x="position in the text (tokens)", y="state norm ‖s‖₂", grid="x"
    )
    counting(ax.xaxis)
    if count < len(data.lanes):
        ax.set_ylabel(f"the {count} norms that change most", color=look.ink, fontsize="small")
    ax.set_yticks([count - 1 - k + 0.42 for k in range(count)], [plain(label(lane.name)) for lane in lanes])
    ax.tick_params(axis="y", length=0, labelsize=row_size(ax, count))
    _ends(ax, look, lanes)
    legend(
        ax, look, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, borderaxespad=0.2, handles=_handles(look, n)
    )
    return ax


def _draw_lane(ax: Any, look: Look, base: int, lane: Lane, band: Bands) -> None:
    at = {share: base + 0.84 * values / lane.top for share, values in band.quantiles.items()}
    ax.axhline(base, color=look.muted, linewidth=0.7)
    if band.pooled > 1:
        ax.fill_between(band.x, at[5], at[95], color=look.good, alpha=0.22, linewidth=0)
        ax.fill_between(band.x, at[25], at[75], color=look.good, alpha=0.4, linewidth=0)
    ax.plot(
        band.x,
        at[50],
        color=look.good,
        linewidth=1.3,
        marker="o" if len(band.x) < 3 else None,
        markersize=5,
        gid=lane.name,
    )


def _ends(ax: Any, look: Look, lanes: list[Lane]) -> None:
    """The scale of each lane at its right end."""
    count = len(lanes)
    for place, lane in enumerate(lanes):
        base = count - 1 - place
        ends = ((base + 0.84, number(lane.top)), (base, "0")) if count <= 6 else ((base + 0.6, number(lane.top)),)
        for y, text in ends:
            ax.annotate(
                text, (1.0, y), (4, 0), xycoords=ax.get_yaxis_transform(), textcoords="offset points", va="center",
                fontsize=min(row_size(ax, count), 7.0), color=look.muted,
            )  # fmt: skip


def _handles(look: Look, pooled: int) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if pooled == 1:
        return [Line2D([], [], color=look.good, label="each position of the trace")]
    return [
        Line2D([], [], color=look.good, label=f"median of {pooled}"),
        Patch(color=look.good, alpha=0.5, linewidth=0, label="50 %"),
        Patch(color=look.good, alpha=0.22, linewidth=0, label="90 %"),
    ]
