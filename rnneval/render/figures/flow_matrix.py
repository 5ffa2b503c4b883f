"""The flow matrix of a wiring record: which state each state received."""

from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Any

from rnneval.records.wiring import Flow, Slot, Wiring
from rnneval.render.figures._base import Figure
from rnneval.render.figures._style import SMALLEST, Look, label, labels, legend, narrow, plain
from rnneval.render.phrasing import counted
from rnneval.render.wiring_document import RIGHT, kind_name, runs_of_calls, shown_flow, state_name

KINDS = ("rnneval.wiring/1",)
ORDER = 10
_TEXTS = {
    "crossed": "{into} gets {source}'s state",
    "stale": "{into} gets an outdated state of its own",
    "dropped": "{into} starts from its initial state at every call",
    "fresh": "{into}'s state is returned but not used",
    "random": "{into} starts from random numbers",
    "mixed": "{into} gets a mixture of several states",
    "misplaced": "{into} gets its own state in the wrong position",
    "partial": "{into} gets only a part of its state",
    "swapped": "{into}'s parts of the state are swapped",
    "unknown": "Whose state {into} gets was not told",
}


def figure(wiring: Wiring) -> Figure | None:
    """Return the figure of the states and what went into them; None if no flow was seen.

    Of a very large model it shows only the states that are out of order.
    """
    if not wiring.flow:
        return None
    rows, sources, hidden = shown_flow(wiring)
    flow = [entry for entry in wiring.flow if entry.into in rows]
    # The first call always begins with the initial state: it needs a column only where it is seen elsewhere.
    elsewhere = {entry.source for entry in flow if entry.kind != "initial"}
    columns = [source for source in sources if isinstance(source, Slot) or source in elsewhere]
    drawn = [entry for entry in flow if entry.source in columns]
    title = _title(wiring, flow)
    values = "; ".join(
        f"{state_name(e.into)} from {state_name(e.source)} ({kind_name(e.kind)}, calls {runs_of_calls(e.calls)})"
        for e in flow
    )
    rest = f" {counted(hidden, 'further state')} in order and not shown." if hidden else ""
    wide = max(len(state_name(column)) for column in columns) > 12
    return Figure(
        title=title,
        alt=f"Flow matrix of {counted(len(rows), 'state')}. {title}. Values went into {values}.{rest}",
        height=min(max(0.3 + 0.06 * len(rows), 0.5) + (0.1 if wide else 0), 1.0),
        x="state came from",
        y="state went into",
        grid="",
        paint=partial(_paint, rows=rows, columns=columns, flow=drawn, hidden=hidden),
        chapter="wiring",
    )


def _title(wiring: Wiring, flow: Sequence[Flow]) -> str:
    """State what is wrong, else the verdict."""
    wrong = []
    for entry in flow:
        if entry.kind not in RIGHT:
            source = entry.source if isinstance(entry.source, str) else entry.source.layer
            text = _TEXTS.get(entry.kind)  # an unknown kind comes out of a file: it is no format string
            into, source = label(entry.into.layer), label(source)
            wrong.append(text.format(into=into, source=source) if text else f"{into}: {label(entry.kind)}")
    wrong = list(dict.fromkeys(wrong))
    if wrong:
        return "; ".join(wrong[:2]) + (f"; and {len(wrong) - 2} more" if len(wrong) > 2 else "")
    if wiring.verdict == "pass":
        layers = len(wiring.layers)
        return f"{'The layer' if layers == 1 else f'Each of the {layers} layers'} gets its own state back"
    return f"No state was seen in a wrong place, and the verdict is: {wiring.verdict}"


def _paint(
    ax: Any, look: Look, *, rows: Sequence[Slot], columns: Sequence[Slot | str], flow: Sequence[Flow], hidden: int
) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch, Rectangle

    box = ax.get_window_extent()
    points = float(min(box.width / len(columns), box.height / (len(rows) + 1)) * 72 / ax.figure.dpi)  # of a cell
    wrong = {(entry.source, entry.into) for entry in flow if entry.kind not in RIGHT}
    for (row, into), (column, source) in product(enumerate(rows), enumerate(columns)):
        color, alpha = (look.bad, 0.25) if (source, into) in wrong else (look.grid, 0.45)
        place = (column + 0.04, row + 0.04)
        ax.add_patch(Rectangle(place, 0.92, 0.92, facecolor=color, alpha=alpha, linewidth=0))
        if source == into:
            rim = Rectangle(place, 0.92, 0.92, facecolor="none", edgecolor=look.ink, linewidth=1.3)
            ax.add_patch(rim).set_gid("diagonal")
    size, numbered = max(min(points * 0.3, 13), 4), points > 26  # below the mark there is room for the calls
    below = {"textcoords": "offset points", "ha": "center", "va": "top", "fontsize": SMALLEST}
    for entry in flow:
        x, y = columns.index(entry.source) + 0.5, rows.index(entry.into) + 0.5 - numbered * 6 / points
        if numbered:
            ax.annotate(runs_of_calls(entry.calls), (x, y), (0, -size / 2 - 3), **below)
        ax.plot(x, y, gid=entry.kind, **_style(entry.kind, look) | {"markersize": size})
    across, down = (labels(list(map(state_name, ends)), 14 if narrow(ax) else 36) for ends in (columns, rows))
    turned = max(map(len, across)) * 5.0 > points
    slanted = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if turned else {}
    ax.set(xlim=(0, len(columns)), ylim=(len(rows), 0), aspect="equal", anchor="NW")
    ax.set_xticks([k + 0.5 for k in range(len(columns))], list(map(plain, across)), **slanted)
    ax.set_yticks([k + 0.5 for k in range(len(rows))], list(map(plain, down)))
    ax.tick_params(length=0)
    own = Patch(facecolor="none", edgecolor=look.ink, label="own state")
    kinds = dict.fromkeys(entry.kind for entry in flow)
    marks = [Line2D([], [], **_style(kind, look), label=plain(label(kind_name(kind)))) for kind in kinds]
    notes = ["numbers: calls"] * numbered + [f"{hidden} more in order"] * bool(hidden)
    legend(ax, [own, *marks, *(Line2D([], [], linestyle="none", label=note) for note in notes)])


def _style(kind: str, look: Look) -> dict[str, Any]:
    """Choose the marker: filled for a carried state, a ring for others that are right, a cross for a wrong one."""
    style: dict[str, Any] = {"marker": "x", "color": look.bad, "markeredgewidth": 2.2}
    if kind in RIGHT:
        face = look.good if kind == "carried" else "none"
        style = {"marker": "o", "color": look.good, "markerfacecolor": face, "markeredgewidth": 1.4}
    elif kind == "unknown":
        style = {"marker": "$?$", "color": look.muted}
    return style | {"linestyle": "none", "markersize": 8}
