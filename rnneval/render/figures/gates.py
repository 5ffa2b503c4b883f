"""Gate activations: how far each gate is open, as shares of the time, and how often it is saturated."""

from functools import partial
from typing import Any

from rnneval.metrics.diagnostics.gates import HIGH, LOW
from rnneval.records.tables import TRACE
from rnneval.render.figures._base import Figure, TidyTable
from rnneval.render.figures._style import SMALLEST, Look, label, lanes, percent
from rnneval.render.phrasing import counted

KINDS = (TRACE,)
ORDER = 30
_COLUMNS = (8, 44)
"""Points between the right edge and each of the two columns of shares."""
_DOES = {
    ("update", "closed"): " (takes the new value)",
    ("update", "open"): " (keeps the state)",
    ("forget", "closed"): " (forgets)",
    ("forget", "open"): " (keeps the state)",
}
"""Effect of a gate of a GRU or an LSTM, as Keras and PyTorch count it."""


def figure(table: TidyTable) -> Figure | None:
    """Return the figure of the histograms of all gates, in the order of the trace; None if the trace has no gate."""
    gates = {}
    for (layer, slot), rows in table.frame.groupby(["layer", "slot"], observed=True, sort=False):
        bins = rows[rows["statistic"] == "histogram"].sort_values("low")
        if len(bins) and bins["low"].min() >= 0 and bins["high"].max() <= 1 and bins["value"].sum() > 0:
            shares = rows.groupby("statistic", observed=True)["value"].mean()
            low, high = (float(shares.get(f"saturated_{side}", 0.0)) for side in ("low", "high"))
            gates[f"{layer}.{slot}"] = bins, low, high
    if not gates:
        return None
    most = max(gates, key=lambda name: sum(gates[name][1:]))
    _, low, high = gates[most]
    (share, state), (rest, other) = sorted(((low, "closed"), (high, "open")), reverse=True)
    title = f"{label(most)} is {state}{_DOES.get((most.rpartition('.')[2], state), '')} {percent(share)} of the time"
    title += f" and {other} {percent(rest)}" if rest >= 0.1 else ""
    if low + high < 0.2:
        title = f"No gate is saturated more than {percent(low + high)} of the time ({label(most)})"
    saturated = "; ".join(
        f"{label(name)} {percent(low)} below {LOW}, {percent(high)} above {HIGH}"
        for name, (_, low, high) in gates.items()
    )
    return Figure(
        title=title,
        alt=f"{title}. Histograms of {counted(len(gates), 'gate')}; saturated shares: {saturated}.",
        height=min(0.28 + 0.055 * len(gates), 1.3),
        grid="x",
        paint=partial(_paint, gates),
    )


def _paint(gates: dict[str, tuple[Any, float, float]], ax: Any, look: Look) -> None:
    shown = lanes(ax, {name: low + high for name, (_, low, high) in gates.items()})
    beside: dict[str, Any] = {"textcoords": "offset points", "fontsize": SMALLEST}
    for ends in ((0.0, LOW), (HIGH, 1.0)):
        ax.axvspan(*ends, color=look.bad, alpha=0.2, linewidth=0)
    for base, name in shown:
        bins, *shares = gates[name]
        heights = base + 0.86 * bins["value"] / bins["value"].max()
        edges = [*bins["low"], bins["high"].iloc[-1]]
        ax.stairs(heights, edges, baseline=base, fill=True, color=look.good, alpha=0.45, linewidth=0)
        ax.stairs(heights, edges, baseline=base, color=look.good, linewidth=1, gid=name)
        for points, share in zip(_COLUMNS, shares, strict=True):
            weight, where = "bold" if share >= 0.5 else "normal", ax.get_yaxis_transform()
            ax.annotate(
                percent(share), (1.0, base + 0.4), (points, 0), xycoords=where, va="center", fontweight=weight, **beside
            )
    for points, text in zip(_COLUMNS, (f"< {LOW}", f"> {HIGH}"), strict=True):
        ax.annotate(text, (1.0, 1.01), (points, 0), xycoords="axes fraction", color=look.muted, va="bottom", **beside)
    more = len(gates) - len(shown)
    rest = f"; {counted(more, 'less saturated gate')} not shown" if more else ""
    ax.set_xlim(0, 1)
    ax.set_xlabel(f"activation (0 closed, 1 open){rest}")
