"""Where each slot's state came from: the flow matrix of a wiring record.

A row is a slot that a state went into, a column is where it came from. The squares with a rim are the diagonal: a
slot's own state. A round mark there is a state that was carried as it should be; a cross, wherever it is, is one that
does not belong there. The small numbers say in which calls (segments) it was seen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rnneval.records.wiring import Flow, Slot, Wiring
from rnneval.render.figures._style import Look, begin, finish, in_legend, label, legend, plain
from rnneval.render.words import counted

KINDS = ("rnneval.wiring/1",)
ORDER = 10
_MOST = 12
_RIGHT = {"carried", "carried-transformed", "handoff", "declared", "initial", "uncarried"}
_SAYS = {
    "crossed": "{into} gets {source}'s state",
    "stale": "{into} gets an old state of its own again",
    "dropped": "{into} starts from nothing at every call",
    "fresh": "{into}'s state is given back and not used",
    "random": "{into} starts from random numbers",
    "mixed": "{into} gets states of several slots mixed",
    "misplaced": "{into} gets its own state at the wrong place",
    "partial": "{into} gets only a part of its state",
}


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """What is drawn."""

    rows: tuple[Slot, ...]
    columns: tuple[Slot | str, ...]
    flow: tuple[Flow, ...]
    verdict: str
    layers: int
    hidden: int
    """Slots in order that are not shown, since there are many."""


def data_of(source: Wiring) -> Matrix | None:
    """Take the slots and what went into them; of a very large model, those that are not in order."""
    if isinstance(source, list) or not source.flow:
        return None
    slots = [Slot(layer=layer.name, slot=slot) for layer in source.layers for slot in layer.slots]
    shown = slots if len(slots) <= _MOST else (_out_of_order(source.flow, slots) or slots)[:_MOST]
    flow = tuple(entry for entry in source.flow if entry.into in shown)
    # The start of the very first call is where everything begins: it needs no column unless something is odd there.
    words = dict.fromkeys(entry.source for entry in flow if isinstance(entry.source, str) and entry.kind != "initial")
    return Matrix(
        rows=tuple(shown),
        columns=(*shown, *list(words)[:_MOST]),
        flow=flow,
        verdict=source.verdict,
        layers=len(source.layers),
        hidden=len(slots) - len(shown),
    )


def _out_of_order(flow: Sequence[Flow], slots: Sequence[Slot]) -> list[Slot]:
    named = {end for entry in flow if entry.kind not in _RIGHT for end in (entry.into, entry.source)}
    return [slot for slot in slots if slot in named]


def title_of(data: Matrix) -> str:
    """Say which layers get the wrong state, or that all get their own."""
    wrong = list(dict.fromkeys(_said(entry) for entry in data.flow if entry.kind not in _RIGHT))
    if wrong:
        return "; ".join(wrong[:2]) + (f"; and {len(wrong) - 2} more" if len(wrong) > 2 else "")
    if data.verdict == "pass":
        every = "The layer gets" if data.layers == 1 else f"Each of the {data.layers} layers gets"
        return f"{every} its own state back"
    return f"No state was seen in a wrong place, and the verdict is: {data.verdict}"


def _said(entry: Flow) -> str:
    into = label(entry.into.layer)
    source = label(entry.source if isinstance(entry.source, str) else entry.source.layer)
    if entry.kind == "swapped":
        return f"{into}'s parts of the state are swapped"
    says = _SAYS.get(entry.kind)  # a kind that is not known comes out of a file, and is no format
    return says.format(into=into, source=source) if says else f"{into}: {label(entry.kind)}"


def alt_of(data: Matrix) -> str:
    """Say every entry."""
    entries = [f"{_name(e.into)} from {_name(e.source)} ({e.kind}, calls {_calls(e.calls)})" for e in data.flow]
    rest = f" {data.hidden} further slots are in order and not shown." if data.hidden else ""
    slots = counted(len(data.rows), "slot")
    return f"Flow matrix of {slots}. {title_of(data)}. State went into {'; '.join(entries)}.{rest}"


def height_of(data: Matrix) -> float:
    """A square a slot, between sensible bounds."""
    longest = max(len(_name(column)) for column in data.columns)
    return min(max(0.24 + 0.05 * len(data.rows), 0.42) + (0.1 if longest > 12 else 0), 0.95)


def draw(data: Matrix, *, ax: Any = None) -> Any:
    """Draw the matrix on `ax`; give the Axes."""
    ax, look = begin(ax)
    _squares(ax, look, data)
    for entry in data.flow:
        if entry.source in data.columns:
            _mark(ax, look, data, entry)
    ax.set_xlim(-0.5, len(data.columns) - 0.5)
    ax.set_ylim(len(data.rows) - 0.5, -0.5)
    finish(ax, look, title=title_of(data), x="state came from", y="state went into", grid="")
    turned = max(len(_name(column)) for column in data.columns) * 6.0 > _points(ax, data)
    ax.set_xticks(
        range(len(data.columns)),
        [_tick(column) for column in data.columns],
        **({"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if turned else {}),
    )
    ax.set_yticks(range(len(data.rows)), [_tick(row) for row in data.rows])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_aspect("equal", adjustable="box", anchor="NW")
    _legend(ax, look, data)
    return ax


def _squares(ax: Any, look: Look, data: Matrix) -> None:
    from matplotlib.patches import Rectangle

    for y, row in enumerate(data.rows):
        for x, column in enumerate(data.columns):
            own = row == column
            ax.add_patch(
                Rectangle(
                    (x - 0.46, y - 0.46), 0.92, 0.92, facecolor=look.grid, alpha=0.45, edgecolor="none", zorder=1
                )
            )  # fmt: skip
            if own:
                rim = Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, facecolor="none", edgecolor=look.ink, linewidth=1.3)
                rim.set_gid("diagonal")
                rim.set_zorder(2)
                ax.add_patch(rim)


def _mark(ax: Any, look: Look, data: Matrix, entry: Flow) -> None:
    x, y = data.columns.index(entry.source), data.rows.index(entry.into)
    points = _points(ax, data)
    marker, color, filled = _style(entry.kind, look)
    if entry.kind not in _RIGHT:
        from matplotlib.patches import Rectangle

        ax.add_patch(Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, facecolor=look.bad, alpha=0.22, zorder=1.5))
    numbered = points > 26
    size = max(min(points * 0.3, 13), 4)
    lifted = ax.transData + _shift(ax, 6 if numbered else 0)
    ax.plot(
        [x], [y], marker=marker, color=color, linestyle="none", zorder=3, markersize=size, transform=lifted,
        markeredgewidth=2.2 if marker == "x" else 1.4, markerfacecolor=color if filled else "none", gid=entry.kind,
    )  # fmt: skip
    if numbered:
        ax.annotate(
            _calls(entry.calls), (x, y), (0, 3 - size / 2), textcoords="offset points", ha="center", va="top",
            fontsize="x-small", color=look.ink, zorder=4,
        )  # fmt: skip


def _shift(ax: Any, points: float) -> Any:
    from matplotlib.transforms import ScaledTranslation

    return ScaledTranslation(0, points / 72, ax.figure.dpi_scale_trans)


def _points(ax: Any, data: Matrix) -> float:
    """How large a square is, in points."""
    box = ax.get_window_extent()
    return float(min(box.width / len(data.columns), box.height / len(data.rows)) / ax.figure.dpi * 72)


def _style(kind: str, look: Look) -> tuple[str, str, bool]:
    """Marker, colour, filled."""
    if kind == "carried":
        return "o", look.good, True
    if kind in _RIGHT:
        return "o", look.good, False
    return ("$?$", look.muted, True) if kind == "unknown" else ("x", look.bad, True)


def _legend(ax: Any, look: Look, data: Matrix) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    own = Patch(facecolor="none", edgecolor=look.ink, label="own state")
    kinds = dict.fromkeys(entry.kind for entry in data.flow if entry.source in data.columns)
    marks = [Line2D([], [], linestyle="none", **_handle(kind, look), label=in_legend(label(kind))) for kind in kinds]
    note = [Line2D([], [], linestyle="none", label="numbers: calls")] if len(data.rows) <= 8 else []
    more = [Line2D([], [], linestyle="none", label=f"{data.hidden} more in order")] if data.hidden else []
    legend(ax, look, handles=[own, *marks, *note, *more], loc="upper left", bbox_to_anchor=(1.02, 1.0))


def _handle(kind: str, look: Look) -> dict[str, Any]:
    marker, color, filled = _style(kind, look)
    return {"marker": marker, "color": color, "markerfacecolor": color if filled else "none", "markersize": 8} | (
        {"markeredgewidth": 2.2} if marker == "x" else {}
    )


def _name(end: Slot | str) -> str:
    return label(end) if isinstance(end, str) else f"{label(end.layer, 20)}.{label(end.slot)}"


def _tick(end: Slot | str) -> str:
    return plain(_name(end))


def _calls(calls: Sequence[int]) -> str:
    """Runs of calls: 0, 1–3."""
    return ", ".join(_runs(calls))


def _runs(calls: Sequence[int]) -> Iterator[str]:
    start = None
    for place, call in enumerate(calls):
        start = call if start is None else start
        if place + 1 == len(calls) or calls[place + 1] != call + 1:
            yield f"{start}" if start == call else f"{start}–{call}"
            start = None
