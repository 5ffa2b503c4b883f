"""Differences, their uncertainty and what was allowed: a forest plot."""

from collections.abc import Sequence
from functools import partial
from math import expm1
from typing import Any, NamedTuple

from rnneval.gates.explanation import amount, in_per_cent
from rnneval.gates.explanation import number as in_unit
from rnneval.gates.ranking import compare
from rnneval.metrics import by_name
from rnneval.pages import page
from rnneval.records import Gate, Ranking, Run
from rnneval.render.figures._base import Figure
from rnneval.render.figures._style import SMALLEST, Look, labels, legend, on_paper, plain, rows
from rnneval.render.phrasing import counted, framed, listed, model_names

KINDS = ("rnneval.gate/1", "rnneval.run/1", "rnneval.compare/1")
ORDER = 10
_MOST = 40
"""Rows that can be read."""
_URGENCY = {"fail": 0, "inconclusive": 1}
_MARKS = {"pass": ("o", "good"), "fail": ("X", "bad"), "": ("o", "good")}


class _ForestRow(NamedTuple):
    """One difference on the axis of the picture."""

    name: str
    middle: float
    bounds: tuple[float, ...]
    text: str
    """The difference and its bounds, in the metric's own unit."""
    verdict: str = ""


def figure(*sources: Any) -> Figure | None:
    """Draw the comparisons of a gate, a ranking, or several runs, which are ranked."""
    first, *others = sources
    if others:
        return _of_ranking(compare(list(sources), blocks=0)) if all(isinstance(each, Run) for each in sources) else None
    if isinstance(first, Gate):
        return _of_gate(first)
    return _of_ranking(first) if isinstance(first, Ranking) else None


def _of_gate(gate: Gate) -> Figure | None:
    """Return the forest plot of a gate's comparisons; None if none has an interval and an allowance."""
    sides = list(dict.fromkeys(each.candidate for each in gate.comparisons if each.baseline != "limit"))
    names = dict(zip(sides, model_names(sides), strict=True)) if len(sides) > 1 else {}
    shown, left_out, worst = [], [], None
    for each in gate.comparisons:
        values, allowed = (each.difference, each.low, each.high), each.allowed
        if None in values or not allowed or each.metric not in by_name():  # 0 (nothing may be lost) is no scale
            left_out.append(each.title)
            continue
        known = [value or 0.0 for value in values]
        middle, *ends = (value * by_name()[each.metric].worse / abs(allowed) for value in known)
        difference, low, high = (in_unit(each.metric, value) for value in known)
        name = each.metric.replace("_", " ") + framed(", ", names.get(each.candidate))
        text = f"{difference} [{low}, {high}], allowed {in_unit(each.metric, allowed)}"
        shown.append(_ForestRow(name, middle, (min(ends), max(ends)), text, each.verdict))
        if _URGENCY.get(each.verdict, 2) < (2 if worst is None else _URGENCY[worst.verdict]):
            worst = each
    if not shown:
        return None
    title = f"{gate.verdict.capitalize()}: {gate.reason.partition(' (')[0]}"
    if worst is not None:  # the first failure, else the first inconclusive comparison
        name = worst.metric.replace("_", " ")
        change, most = (amount(worst.metric, worst.unit, n or 0.0) for n in (worst.difference, worst.allowed))
        title = f"{name.capitalize()} changed by {change}, and {most} is allowed"
        if worst.verdict == "inconclusive":
            title = f"Too little text to say whether {name} got worse by more than what is allowed"
    elif gate.verdict == "pass":
        title = "Nothing is worse by more than what is allowed"
    return _forest(shown, title, "difference, in multiples of the allowed change (right: worse)", left_out, margin=1.0)


def _of_ranking(ranking: Ranking) -> Figure | None:
    """Return the forest plot of the differences to the best; None if fewer than two rows have one."""
    values = [value for row in ranking.rows for value in (row.difference, row.low, row.high) if value is not None]
    per_cent = in_per_cent(ranking.metric, max(values, default=0.0))
    shown, left_out = [], []
    for row, name in zip(ranking.rows, labels(model_names([row.name for row in ranking.rows]), 40), strict=True):
        if row.difference is None:
            left_out.append(f"{name} ({row.marks[0].partition(':')[0]})" if row.marks else name)
            continue
        text = in_unit(ranking.metric, row.difference) if row.difference else "best"
        bounds = () if row.low is None or row.high is None else (row.low, row.high)
        if any(bounds):
            text += f" [{', '.join(in_unit(ranking.metric, end) for end in bounds)}]"
        middle, *ends = (100 * expm1(value) if per_cent else value for value in (row.difference, *bounds))
        shown.append(_ForestRow(name, middle, tuple(ends), text))
    if len(shown) < 2:
        return None
    metric, (first, second, *_) = ranking.metric.replace("_", " "), shown
    title = f"{first.name} is best by {metric}, but {second.name} may be as good"
    if second.middle == 0 and not any(second.bounds):
        title = f"{first.name} and {second.name} are the same by {metric}"
    elif second.bounds and second.bounds[0] * second.bounds[1] > 0:
        title = f"{first.name} is best by {metric}, a significant difference on this text"
    side = "right" if by_name()[ranking.metric].worse > 0 else "left"
    axis = f"difference of {metric} to the best ({'per cent' if per_cent else ranking.unit}; {side}: worse)"
    reading = page("comparison").paragraph("How to read the figure of several runs")
    return _forest(shown, title, axis, left_out, reading=reading)


def _forest(
    every: Sequence[_ForestRow], title: str, axis: str, left_out: Sequence[str], *, margin: float | None = None,
    reading: str = "",
) -> Figure:  # fmt: skip
    """Return a figure with one line for each row."""
    shown = every[:_MOST]
    names = labels([row.name for row in shown], 40)
    said = (f"{name} {row.text}{framed(' (', row.verdict, ')')}" for name, row in zip(names, shown, strict=True))
    missing, notes = labels(left_out), [axis]
    notes += [f"not drawn: {listed(missing, 3)}"] if missing else []
    notes += [f"no room for {counted(len(every) - len(shown), 'further row')}"] if len(every) > len(shown) else []
    rest = framed(" Not drawn, for lack of a difference, an interval or an allowance: ", listed(missing, _MOST), ".")
    return Figure(
        title=title,
        alt=f"{title}. Forest plot of {counted(len(every), 'difference')}: {'; '.join(said)}.{rest}",
        height=min(0.3 + 0.075 * len(shown), 1.2),
        x="\n".join(notes),
        grid="x",
        paint=partial(_paint, shown, margin),
        reading=reading,
    )


def _paint(shown: Sequence[_ForestRow], margin: float | None, ax: Any, look: Look) -> None:
    ends = [0.0, margin or 0.0]
    if margin is not None:
        ax.axvspan(-1e6, margin, color=look.good, alpha=0.09, linewidth=0, zorder=0)
        ax.axvline(margin, color=look.bad, linestyle="--", linewidth=1.5, label="allowed", gid="allowed")
    ax.axvline(0, color=look.ink, linewidth=0.9, label="no change")
    verdicts = {}
    for place, row in enumerate(shown):
        marker, role = _MARKS.get(row.verdict, ("D", "muted"))
        color = getattr(look, role)
        if row.bounds:
            ax.plot(row.bounds, [place, place], color=color, linewidth=2.4, solid_capstyle="butt")
            ax.plot(row.bounds, [place, place], "|", color=color, markersize=9, markeredgewidth=1.8)
        face = look.paper if marker == "D" else color
        style = {"color": color, "marker": marker, "markerfacecolor": face, "markersize": 8}
        (verdicts[row.verdict],) = ax.plot(row.middle, place, gid=row.name, **style)
        beside = {"transform": ax.get_yaxis_transform(), "va": "center", "fontsize": SMALLEST, "bbox": on_paper(look)}
        ax.text(0.02, place - 0.32, plain(row.text), **beside)
        ends += [row.middle, *row.bounds]
    for verdict, line in verdicts.items():
        line.set_label(plain(verdict) if verdict else None)
    room = 0.08 * ((max(ends) - min(ends)) or 1.0)
    ax.set_xlim(min(ends) - room, max(ends) + room)
    ax.locator_params(axis="x", nbins=6)
    rows(ax, [row.name for row in shown])
    legend(ax, ncols=5)
