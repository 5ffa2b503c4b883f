"""The flow matrix of a wiring record: which state each state received."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from rnneval.records.wiring import Flow, Slot, Wiring
from rnneval.render.figures._base import Figure
from rnneval.render.figures._style import Look, crowded, in_legend, label, labels, legend, plain
from rnneval.render.phrasing import counted
from rnneval.render.wiring_document import RIGHT, runs_of_calls, shown_flow, state_name

KINDS = ("rnneval.wiring/1",)
ORDER = 10
_AROUND = 55.0
"""Points that legend, names and axis label take of the height of narrow Axes, before they are laid out."""
_SAYS = {
    "crossed": "{into} gets {source}'s state",
    "stale": "{into} gets an outdated state of its own",
    "dropped": "{into} starts from its initial state at every call",
    "fresh": "{into}'s state is returned but not used",
    "random": "{into} starts from random numbers",
    "mixed": "{into} gets a mixture of several states",
    "misplaced": "{into} gets its own state in the wrong position",
    "partial": "{into} gets only a part of its state",
    "swapped": "{into}'s parts of the state are swapped",
}


def figure(wiring: Wiring) -> Figure | None:
    """Return the figure of the states and what went into them; None if no flow was seen.

    Of a very large model it shows only the states that are out of order.
    """
    if not wiring.flow:
        return None
    shown, sources, hidden = shown_flow(wiring)
    flow = [entry for entry in wiring.flow if entry.into in shown]
    # The first call always begins with the initial state: it needs a column only where it is seen elsewhere.
    elsewhere = {entry.source for entry in flow if entry.kind != "initial"}
    columns = [source for source in sources if isinstance(source, Slot) or source in elsewhere]
    wrong = list(dict.fromkeys(_said(entry) for entry in flow if entry.kind not in RIGHT))
    title = f"No state was seen in a wrong place, and the verdict is: {wiring.verdict}"
    if wrong:
        title = "; ".join(wrong[:2]) + (f"; and {len(wrong) - 2} more" if len(wrong) > 2 else "")
    elif wiring.verdict == "pass":
        layers = len(wiring.layers)
        title = f"{'The layer' if layers == 1 else f'Each of the {layers} layers'} gets its own state back"
    said = "; ".join(
        f"{state_name(e.into)} from {state_name(e.source)} ({e.kind}, calls {runs_of_calls(e.calls)})" for e in flow
    )
    rest = f" {counted(hidden, 'further state')} in order and not shown." if hidden else ""
    wide = max(len(state_name(column)) for column in columns) > 12
    drawn = {entry.kind in RIGHT for entry in flow if entry.source in columns and entry.kind != "unknown"}
    return Figure(
        title=title,
        alt=f"Flow matrix of {counted(len(shown), 'state')}. {title}. Values went into {said}.{rest}",
        height=min(max(0.24 + 0.05 * len(shown), 0.42) + (0.1 if wide else 0), 0.95),
        x="state came from",
        y="state went into",
        grid="",
        paint=partial(
            _paint, shown=shown, columns=columns, flow=[e for e in flow if e.source in columns], hidden=hidden
        ),
        marks={"round mark": True in drawn, "cross": False in drawn},
    )


def _said(entry: Flow) -> str:
    into = label(entry.into.layer)
    source = label(entry.source if isinstance(entry.source, str) else entry.source.layer)
    says = _SAYS.get(entry.kind)  # an unknown kind comes out of a file: it is no format string
    return says.format(into=into, source=source) if says else f"{into}: {label(entry.kind)}"


def _paint(
    ax: Any, look: Look, *, shown: Sequence[Slot], columns: Sequence[Slot | str], flow: Sequence[Flow], hidden: int
) -> None:
    import seaborn as sns
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Rectangle

    wrong = np.zeros((len(shown), len(columns)))
    for entry in flow:
        if entry.kind not in RIGHT:
            wrong[shown.index(entry.into), columns.index(entry.source)] = 1
    box, narrow = ax.get_window_extent(), crowded(ax)
    room = max(box.height * 72 / ax.figure.dpi - _AROUND * narrow, 20.0 * len(shown))
    points = float(min(box.width * 72 / ax.figure.dpi / len(columns), room / len(shown)))  # of a cell
    sns.heatmap(
        ax=ax, data=wrong, vmin=0, vmax=1, cmap=[to_rgba(look.grid, 0.45), to_rgba(look.bad, 0.25)],
        cbar=False, square=True, linewidths=points * 0.08, linecolor=look.paper,
    )  # fmt: skip
    for k in range(len(shown)):
        rim = Rectangle((k + 0.04, k + 0.04), 0.92, 0.92, facecolor="none", edgecolor=look.ink, linewidth=1.3)
        rim.set_gid("diagonal")
        ax.add_patch(rim)
    size = max(min(points * 0.3, 13), 4)
    for entry in flow:
        x, y = columns.index(entry.source) + 0.5, shown.index(entry.into) + 0.5
        if points > 26:  # below the mark there is room for the calls
            y -= 6 / points
            ax.annotate(
                runs_of_calls(entry.calls), (x, y), (0, -size / 2 - 3), textcoords="offset points", ha="center",
                va="top", fontsize="x-small",
            )  # fmt: skip
        ax.plot(x, y, gid=entry.kind, **_style(entry.kind, look) | {"markersize": size})
    across, down = (labels(list(map(state_name, ends)), 14 if narrow else 36) for ends in (columns, shown))
    turned = max(map(len, across)) * 5.0 > points
    slanted = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if turned else {}
    ax.set_xticks(np.arange(len(columns)) + 0.5, list(map(plain, across)), **slanted)
    ax.set_yticks(np.arange(len(shown)) + 0.5, list(map(plain, down)), rotation=0)
    ax.tick_params(length=0)
    ax.set_anchor("NW")
    _legend(ax, look, dict.fromkeys(entry.kind for entry in flow), numbered=points > 26, hidden=hidden, narrow=narrow)


def _style(kind: str, look: Look) -> dict[str, Any]:
    """Choose the marker: filled for a carried state, a ring for others that are right, a cross for a wrong one."""
    if kind in RIGHT:
        face = look.good if kind == "carried" else "none"
        style = {"marker": "o", "color": look.good, "markerfacecolor": face, "markeredgewidth": 1.4}
    elif kind == "unknown":
        style = {"marker": "$?$", "color": look.muted}
    else:
        style = {"marker": "x", "color": look.bad, "markeredgewidth": 2.2}
    return style | {"linestyle": "none", "markersize": 8}


def _legend(ax: Any, look: Look, kinds: dict[str, None], *, numbered: bool, hidden: int, narrow: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    own = Patch(facecolor="none", edgecolor=look.ink, label="own state")
    marks = [Line2D([], [], **_style(kind, look), label=in_legend(label(kind))) for kind in kinds]
    notes = ["numbers: calls"] * numbered + [f"{hidden} more in order"] * bool(hidden)
    place: dict[str, Any] = {"place": "beside"}
    if narrow:  # below are names, slanted if they are long
        place = {"place": "above", "loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 3}
    legend(ax, **place, handles=[own, *marks, *(Line2D([], [], linestyle="none", label=note) for note in notes)])
