"""What the gates do: how often each is how far open, and how much of the time it is stuck.

A row is a gate of a layer, its hill the histogram of all its activations over the text (units × positions), 0 closed,
1 open; each hill has its own height. The shaded ends are where a gate counts as saturated (below 0.03, above 0.97),
and the numbers say which share lies there. A gate that is always at one end does nothing, and learns nothing.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnneval.metrics.inside.gates import HIGH, LOW
from rnneval.render.figures._sources import TRACE, Table
from rnneval.render.figures._style import Doubles, Look, begin, finish, label, most_rows, percent, plain, row_size
from rnneval.render.words import counted

KINDS = (TRACE,)
ORDER = 30
SLOTS = ("h", "c")


@dataclass(frozen=True, kw_only=True)
class Hill:
    """One gate."""

    name: str
    edges: Doubles
    counts: Doubles
    low: float | None
    """Share below LOW."""
    high: float | None
    """Share above HIGH."""

    @property
    def stuck(self) -> float:
        """At either end."""
        return (self.low or 0.0) + (self.high or 0.0)


@dataclass(frozen=True, kw_only=True)
class Gates:
    """What is drawn."""

    hills: tuple[Hill, ...]


def data_of(source: Table) -> Gates | None:
    """Take each gate's histogram, in the order of the trace; none where no gate is known."""
    if isinstance(source, list):
        return None
    frame = source.frame
    histograms = frame[frame["statistic"] == "histogram"]
    hills = []
    for (layer, gate), part in histograms.groupby(["layer", "slot"], observed=True, sort=False):
        inside = part["low"].min() >= 0 and part["high"].max() <= 1
        if inside and part["value"].sum() > 0:
            own = frame[(frame["layer"] == layer) & (frame["slot"] == gate)]
            hills.append(_hill(f"{layer}.{gate}", part, own))
    return Gates(hills=tuple(hills)) if hills else None


def _hill(name: str, part: Any, own: Any) -> Hill:
    part = part.sort_values("low")
    edges = np.append(part["low"].to_numpy(np.float64), part["high"].iloc[-1])
    return Hill(
        name=name,
        edges=edges,
        counts=part["value"].to_numpy(np.float64),
        low=_mean(own, "saturated_low"),
        high=_mean(own, "saturated_high"),
    )


def _mean(own: Any, statistic: str) -> float | None:
    values = own.loc[own["statistic"] == statistic, "value"]
    return float(values.mean()) if len(values) else None


def title_of(data: Gates) -> str:
    """Say which gate is stuck most."""
    most = max(data.hills, key=lambda hill: hill.stuck)
    low, high = most.low or 0.0, most.high or 0.0
    if most.stuck < 0.2:
        return f"No gate is stuck: at most {percent(most.stuck)} of the time ({label(most.name)})"
    side = f"shut {percent(low)} of the time" if low >= high else f"open {percent(high)} of the time"
    other = f" and open {percent(high)}" if low >= high else f" and shut {percent(low)}"
    return f"{label(most.name)} stands fully {side}{other if min(low, high) >= 0.1 else ''}"


def alt_of(data: Gates) -> str:
    """Say the shares of every gate."""
    rows = [
        f"{label(hill.name)} {percent(hill.low or 0)} below {LOW}, {percent(hill.high or 0)} above {HIGH}"
        for hill in data.hills
    ]
    return f"{title_of(data)}. Histograms of {counted(len(rows), 'gate')}; shares at the ends: {'; '.join(rows)}."


def height_of(data: Gates) -> float:
    """A row a gate."""
    return min(0.28 + 0.055 * len(data.hills), 1.3)


def draw(data: Gates, *, ax: Any = None) -> Any:
    """Draw a hill a gate on `ax`, the first on top; give the Axes."""
    ax, look = begin(ax)
    fits = most_rows(ax)
    shown = sorted(data.hills, key=lambda hill: -hill.stuck)[:fits]
    hills = [hill for hill in data.hills if any(hill is each for each in shown)]
    count = len(hills)
    for ends in ((0.0, LOW), (HIGH, 1.0)):
        ax.axvspan(*ends, color=look.bad, alpha=0.2, linewidth=0)
    for place, hill in enumerate(hills):
        _draw_hill(ax, look, count - 1 - place, hill, size=row_size(ax, count))
    ax.set_xlim(0, 1)
    ax.set_ylim(-0.08, count)
    finish(
        ax, look, raised=True, title=title_of(data), x=f"activation (0 closed, 1 open){_rest(data, count)}", grid="x"
    )
    ax.set_yticks([count - 1 - k + 0.35 for k in range(count)], [plain(label(hill.name)) for hill in hills])
    ax.tick_params(axis="y", length=0, labelsize=row_size(ax, count))
    for x, text in ((1.03, f"< {LOW}"), (1.15, f"> {HIGH}")):
        ax.text(x, 1.0, text, transform=ax.transAxes, fontsize="x-small", color=look.muted, va="bottom")
    return ax


def _rest(data: Gates, shown: int) -> str:
    more = len(data.hills) - shown
    return f"; {counted(more, 'gate')} that are stuck less not shown" if more else ""


def _draw_hill(ax: Any, look: Look, base: int, hill: Hill, *, size: float) -> None:
    heights = base + 0.86 * hill.counts / hill.counts.max()
    ax.stairs(heights, hill.edges, baseline=base, fill=True, color=look.good, alpha=0.45, linewidth=0)
    ax.stairs(heights, hill.edges, baseline=base, color=look.good, linewidth=1.1 if size > 7 else 0.6, gid=hill.name)
    for x, share in ((1.03, hill.low), (1.15, hill.high)):
        many = share is not None and share >= 0.5
        ax.text(
            x, base + 0.35, "–" if share is None else percent(share), transform=ax.get_yaxis_transform(), va="center",
            fontsize=min(size, 7.0), color=look.ink, fontweight="bold" if many else "normal",
        )  # fmt: skip
