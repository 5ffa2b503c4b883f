"""What changed, how surely, and how much was allowed: a forest plot.

Of a gate record, a row is a metric; to the right is worse. The dot is the difference, the bar its bounds (one-sided
95 % each), and the line at 1 is what is allowed: every row is measured by its own allowance, so that metrics of
different units stand on one axis; the numbers at the right are in each metric's own unit. A bar wholly beyond the
line fails, one wholly before it passes, and one across it is no verdict. Of several run records, a row is a run, and
the difference is that to the best one; the intervals of all pairs of runs hold together with 95 %.
"""

from dataclasses import dataclass, replace
from typing import Any

from rnneval.gates.ranking import Ranking, rank
from rnneval.gates.sides import named
from rnneval.gates.words import amount, number
from rnneval.metrics import by_name
from rnneval.records import Gate, Run
from rnneval.records.gate import Comparison
from rnneval.render.figures._style import Look, begin, finish, label, legend, most_rows, plain
from rnneval.render.words import counted, listed

KINDS = ("rnneval.gate/1", "rnneval.run/1", "rnneval.compare/1")
ORDER = 10
TOGETHER = True
_URGENCY = {"fail": 0, "inconclusive": 1}
_MARKS = {"pass": ("o", "good"), "fail": ("X", "bad"), "inconclusive": ("D", "muted"), "": ("o", "good")}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One difference, on the axis of the picture."""

    name: str
    middle: float
    low: float | None
    high: float | None
    verdict: str
    says: str
    """The difference, its bounds and what is allowed, in the metric's own unit."""


@dataclass(frozen=True, kw_only=True)
class Forest:
    """What is drawn."""

    rows: tuple[Row, ...]
    title: str
    axis: str
    margin: float | None
    """Where what is allowed ends."""
    left_out: tuple[str, ...]
    """Comparisons without a difference, and limits."""


def data_of(source: Any) -> Forest | None:
    """Take the comparisons that have a difference; of several runs, rank them first."""
    if isinstance(source, Gate):
        return _of_gate(source)
    if isinstance(source, Ranking):
        return _of_ranking(source)
    if isinstance(source, list) and len(source) > 1 and all(isinstance(each, Run) for each in source):
        return _of_ranking(rank(named(source, "run"), blocks=0))
    return None


def _of_gate(gate: Gate) -> Forest | None:
    several = _several(gate)
    pairs = [(each, _row(each, several=several)) for each in gate.comparisons]
    rows = tuple(row for _, row in pairs if row is not None)
    if not rows:
        return None
    return Forest(
        rows=rows,
        title=_gate_title(gate, [each for each, row in pairs if row is not None]),
        axis="difference as a share of what is allowed (right: worse)",
        margin=1.0,
        left_out=tuple(each.metric for each, row in pairs if row is None),
    )


def _several(gate: Gate) -> bool:
    return len({each.candidate for each in gate.comparisons if each.baseline != "limit"}) > 1


def _row(each: Comparison, *, several: bool) -> Row | None:
    """Measure a difference by its allowance; one of 0 (nothing may be lost) has no such scale."""
    if not each.allowed or each.difference is None or each.metric not in by_name():
        return None
    worse = by_name()[each.metric].worse
    scale = worse / abs(each.allowed)
    ends = sorted(end * scale for end in (each.low, each.high) if end is not None)
    bounds = f" [{number(each.metric, each.low)}, {number(each.metric, each.high)}]" if len(ends) == 2 else ""  # type: ignore[arg-type]
    name = each.metric.replace("_", " ")
    allowed = f"allowed {amount(each.metric, each.unit, each.allowed)}"
    return Row(
        name=f"{name}, {_file(each.candidate)}" if several else name,
        middle=each.difference * scale,
        low=ends[0] if len(ends) == 2 else None,
        high=ends[1] if len(ends) == 2 else None,
        verdict=each.verdict,
        says=f"{number(each.metric, each.difference)}{bounds}\n{allowed}",
    )


def _gate_title(gate: Gate, shown: list[Comparison]) -> str:
    for verdict in ("fail", "inconclusive"):
        for each in shown:
            if each.verdict == verdict:
                return _sentence(each)
    if gate.verdict == "pass":
        return "Nothing is worse by more than what is allowed"
    return f"{gate.verdict.capitalize()}: {gate.reason.partition(' (')[0]}"


def _sentence(each: Comparison) -> str:
    assert each.difference is not None  # noqa: S101 - asked for before
    assert each.allowed is not None  # noqa: S101 - asked for before
    name = each.metric.replace("_", " ")
    if each.verdict == "inconclusive":
        return f"Too little text to say whether {name} got worse by more than what is allowed"
    change = amount(each.metric, each.unit, each.difference)
    return f"{name.capitalize()} changed by {change}, and {amount(each.metric, each.unit, each.allowed)} is allowed"


def _of_ranking(ranking: Ranking) -> Forest | None:
    known = [row for row in ranking.rows if row.difference is not None]
    if len(known) < 2:
        return None
    short = dict(zip(ranking.rows, _short([row.name for row in ranking.rows]), strict=True))
    worse = by_name()[ranking.metric].worse
    rows = []
    for row in known:
        difference = row.difference or 0.0
        bounds = None if row.low is None or row.high is None else (row.low, row.high)
        says = number(ranking.metric, difference) if difference else "best"
        if bounds and bounds != (0.0, 0.0):
            says += f" [{number(ranking.metric, bounds[0])}, {number(ranking.metric, bounds[1])}]"
        low, high = bounds or (None, None)
        rows.append(Row(name=short[row], middle=difference, low=low, high=high, verdict="", says=says))
    side = "right" if worse > 0 else "left"
    return Forest(
        rows=tuple(rows),
        title=_ranking_title(ranking, rows),
        axis=f"difference of {ranking.metric.replace('_', ' ')} to the best ({ranking.unit}; {side}: worse)",
        margin=None,
        left_out=tuple(short[row] for row in ranking.rows if row.difference is None),
    )


def _ranking_title(ranking: Ranking, rows: list[Row]) -> str:
    name = ranking.metric.replace("_", " ")
    second = rows[1]
    apart = second.low is not None and second.high is not None and second.low * second.high > 0
    if second.middle == 0 and second.low == 0:
        return f"{label(rows[0].name)} and {label(second.name)} are the same by {name}"
    if apart:
        return f"{label(rows[0].name)} is best by {name}, and surely so on this text"
    return f"{label(rows[0].name)} is best by {name}, but {label(second.name)} may be as good"


def _file(path: str) -> str:
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _short(paths: list[str]) -> list[str]:
    """File names where they tell the runs apart, else the whole paths."""
    files = [_file(path) for path in paths]
    return files if len(set(files)) == len(files) else paths


def title_of(data: Forest) -> str:
    """Say what the verdict rests on."""
    return data.title


def alt_of(data: Forest) -> str:
    """Say every row."""
    rows = [
        f"{label(row.name, 40)} {row.says.replace(chr(10), ', ')}" + (f" ({row.verdict})" if row.verdict else "")
        for row in data.rows
    ]
    return f"{data.title}. Forest plot of {counted(len(rows), 'difference')}: {'; '.join(rows)}.{_left_out(data)}"


def _left_out(data: Forest) -> str:
    if not data.left_out:
        return ""
    return f" Not drawn, since no difference with an allowance is there: {', '.join(label(n) for n in data.left_out)}."


def height_of(data: Forest) -> float:
    """A line a row."""
    return min(0.3 + 0.075 * len(data.rows), 1.2)


def draw(data: Forest, *, ax: Any = None) -> Any:
    """Draw a row for each difference on `ax`, the first on top, as many as can be read; return the Axes.

    Where there are more, those that did not pass come before the others.
    """
    ax, look = begin(ax)
    urgent = sorted(range(len(data.rows)), key=lambda k: _URGENCY.get(data.rows[k].verdict, 2))[: most_rows(ax)]
    more = len(data.rows) - len(urgent)
    data = replace(data, rows=tuple(data.rows[k] for k in sorted(urgent)))
    if data.margin is not None:
        ax.axvspan(-1e6, data.margin, color=look.good, alpha=0.09, linewidth=0, zorder=0)
        ax.axvline(data.margin, color=look.bad, linestyle="--", linewidth=1.5, label="allowed", gid="allowed")
    ax.axvline(0, color=look.ink, linewidth=0.9, label="no change")
    for place, row in enumerate(data.rows):
        _draw_row(ax, look, place, row)
    _limits(ax, data)
    finish(ax, look, raised=True, title=data.title, x=data.axis, grid="x")
    ax.set_yticks(range(len(data.rows)), [plain(label(row.name, 24)) for row in data.rows])
    ax.tick_params(axis="y", length=0)
    _note(ax, look, data, more)
    _legend(ax, look, data)
    return ax


def _draw_row(ax: Any, look: Look, place: int, row: Row) -> None:
    marker, role = _MARKS.get(row.verdict, ("D", "muted"))
    color = getattr(look, role)
    if row.low is not None and row.high is not None:
        ax.plot([row.low, row.high], [place, place], color=color, linewidth=2.4, solid_capstyle="butt")
        ax.plot([row.low, row.high], [place, place], "|", color=color, markersize=9, markeredgewidth=1.8)
    ax.plot(
        [row.middle], [place], marker=marker, color=color, linestyle="none", markersize=8, gid=row.name,
        markerfacecolor=look.paper if marker == "D" else color,
    )  # fmt: skip
    ax.text(
        1.02, place, plain(row.says), transform=ax.get_yaxis_transform(), va="center", fontsize="x-small",
        color=look.ink, linespacing=1.4,
    )  # fmt: skip


def _limits(ax: Any, data: Forest) -> None:
    ends = [0.0 if data.margin is None else data.margin, 0.0]
    for row in data.rows:
        ends += [row.middle, *(end for end in (row.low, row.high) if end is not None)]
    low, high = min(ends), max(ends)
    room = 0.08 * ((high - low) or 1.0)
    ax.set_xlim(low - room, high + room)
    ax.set_ylim(len(data.rows) - 0.4, -0.6)
    ax.locator_params(axis="x", nbins=6)


def _note(ax: Any, look: Look, data: Forest, more: int) -> None:
    """Say below the axis what is not drawn: comparisons without a difference, and rows for which there is no room."""
    texts = [f"not drawn: {listed(map(label, data.left_out), most=3)}"] if data.left_out else []
    texts += [f"no room for {counted(more, 'further row')}"] if more else []
    if texts:
        ax.set_xlabel("\n".join([ax.get_xlabel(), *map(plain, texts)]), color=look.ink, fontsize="small")


def _legend(ax: Any, look: Look, data: Forest) -> None:
    from matplotlib.lines import Line2D

    handles, names = ax.get_legend_handles_labels()
    for verdict in dict.fromkeys(row.verdict for row in data.rows if row.verdict):
        marker, role = _MARKS.get(verdict, ("D", "muted"))
        color = getattr(look, role)
        face = look.paper if marker == "D" else color
        handles.append(Line2D([], [], marker=marker, color=color, linewidth=2.4, markersize=8, markerfacecolor=face))
        names.append(verdict)
    legend(
        ax, look, handles=handles, labels=names, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=5,
        borderaxespad=0.2, columnspacing=1.2,
    )  # fmt: skip
