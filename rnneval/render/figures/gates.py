"""Gate activations: how far each gate is open, as shares of the time, and how often it is saturated."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from rnneval.metrics.diagnostics.gates import HIGH, LOW
from rnneval.records.tables import TRACE
from rnneval.render.figures._base import Figure, TidyTable
from rnneval.render.figures._style import SMALLEST, Doubles, Look, label, lanes, percent
from rnneval.render.phrasing import counted

KINDS = (TRACE,)
ORDER = 30
_COLUMNS = (8, 44)
"""Points between the right edge and each of the two columns of shares."""


@dataclass(frozen=True, kw_only=True)
class _Activations:
    name: str
    edges: Doubles
    counts: Doubles
    low: float
    """Share of activations below LOW."""
    high: float
    """Share of activations above HIGH."""

    @property
    def saturated(self) -> float:
        return self.low + self.high


def figure(table: TidyTable) -> Figure | None:
    """Return the figure of the histograms of all gates, in the order of the trace; None if the trace has no gate."""
    gates = []
    for (layer, slot), part in table.frame.groupby(["layer", "slot"], observed=True, sort=False):
        bins = part[part["statistic"] == "histogram"].sort_values("low")
        if len(bins) and bins["low"].min() >= 0 and bins["high"].max() <= 1 and bins["value"].sum() > 0:
            shares = part.groupby("statistic", observed=True)["value"].mean()
            gates.append(
                _Activations(
                    name=f"{layer}.{slot}",
                    edges=np.append(bins["low"].to_numpy(np.float64), bins["high"].iloc[-1]),
                    counts=bins["value"].to_numpy(np.float64),
                    low=float(shares.get("saturated_low", 0.0)),
                    high=float(shares.get("saturated_high", 0.0)),
                )
            )
    if not gates:
        return None
    most = max(gates, key=lambda gate: gate.saturated)
    (share, state), (rest, other) = sorted(((most.low, "closed"), (most.high, "open")), reverse=True)
    title = f"{label(most.name)} is {state} {percent(share)} of the time"
    title += f" and {other} {percent(rest)}" if rest >= 0.1 else ""
    if most.saturated < 0.2:
        title = f"No gate is saturated more than {percent(most.saturated)} of the time ({label(most.name)})"
    shares = "; ".join(
        f"{label(gate.name)} {percent(gate.low)} below {LOW}, {percent(gate.high)} above {HIGH}" for gate in gates
    )
    return Figure(
        title=title,
        alt=f"{title}. Histograms of {counted(len(gates), 'gate')}; saturated shares: {shares}.",
        height=min(0.28 + 0.055 * len(gates), 1.3),
        grid="x",
        paint=partial(_paint, gates),
    )


def _paint(gates: Sequence[_Activations], ax: Any, look: Look) -> None:
    shown, size = lanes(ax, gates, key=lambda gate: gate.saturated, name=lambda gate: gate.name)
    for ends in ((0.0, LOW), (HIGH, 1.0)):
        ax.axvspan(*ends, color=look.bad, alpha=0.2, linewidth=0)
    for base, gate in zip(reversed(range(len(shown))), shown, strict=True):
        heights = base + 0.86 * gate.counts / gate.counts.max()
        ax.stairs(heights, gate.edges, baseline=base, fill=True, color=look.good, alpha=0.45, linewidth=0)
        ax.stairs(heights, gate.edges, baseline=base, color=look.good, linewidth=size / 8, gid=gate.name)
        for points, share in zip(_COLUMNS, (gate.low, gate.high), strict=True):
            ax.annotate(
                percent(share), (1.0, base + 0.4), (points, 0), xycoords=ax.get_yaxis_transform(),
                textcoords="offset points", va="center", fontsize=SMALLEST,
                fontweight="bold" if share >= 0.5 else "normal",
            )  # fmt: skip
    for points, text in zip(_COLUMNS, (f"< {LOW}", f"> {HIGH}"), strict=True):
        ax.annotate(
            text, (1.0, 1.01), (points, 0), xycoords="axes fraction", textcoords="offset points", fontsize=SMALLEST,
            color=look.muted, va="bottom",
        )  # fmt: skip
    more = len(gates) - len(shown)
    rest = f"; {counted(more, 'less saturated gate')} not shown" if more else ""
    ax.set_xlim(0, 1)
    ax.set_xlabel(f"activation (0 closed, 1 open){rest}")
