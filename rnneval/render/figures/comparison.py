"""Differences, their uncertainty and what was allowed: a forest plot."""

from dataclasses import dataclass
from functools import partial
from math import expm1
from typing import Any

from rnneval.errors import UsageError
from rnneval.gates.explanation import amount, in_per_cent
from rnneval.gates.explanation import number as in_unit
from rnneval.gates.ranking import compare
from rnneval.metrics import by_name
from rnneval.pages import page
from rnneval.records import Gate, Ranking, Run
from rnneval.records.gate import Comparison
from rnneval.render.figures._base import Figure, meant
from rnneval.render.figures._style import SMALLEST, Look, labels, legend, on_paper, plain, rows
from rnneval.render.phrasing import counted, listed, model_names

KINDS = ("rnneval.gate/1", "rnneval.run/1", "rnneval.compare/1")
ORDER = 10
TOGETHER = True
_MOST = 40
"""Rows that can be read; where there are more, those that did not pass come before the others."""
_URGENCY = {"fail": 0, "inconclusive": 1}
_MARKS = {"pass": ("o", "good"), "fail": ("X", "bad"), "inconclusive": ("D", "muted"), "": ("o", "good")}


@dataclass(frozen=True, kw_only=True)
class _ForestRow:
    """One difference on the axis of the picture."""

    name: str
    middle: float
    bounds: tuple[float, float] | None
    verdict: str = ""
    text: str
    """The difference and its bounds, in the metric's own unit."""
    allowed: str = ""


def figure(*sources: Any, metric: str | None = None) -> Figure | None:
    """Draw the comparisons of a gate, or of them those by a metric; a ranking; or several runs, which are ranked."""
    if metric is not None and metric not in by_name():
        raise UsageError(
            f"metric={metric!r} is not known{meant(metric, by_name())}: give one of {', '.join(by_name())}"
        )
    if len(sources) > 1:
        runs = [each for each in sources if isinstance(each, Run)]
        return _of_ranking(compare(runs, metric=metric, blocks=0)) if len(runs) == len(sources) else None
    (source,) = sources
    if not isinstance(source, Gate | Ranking):
        return None
    compared = [each.metric for each in source.comparisons] if isinstance(source, Gate) else [source.metric]
    if metric is not None and metric not in compared:
        raise UsageError(f"metric={metric!r}: the record compares by {listed(dict.fromkeys(compared), 9)} alone")
    return _of_gate(source, metric) if isinstance(source, Gate) else _of_ranking(source)


def _of_gate(gate: Gate, metric: str | None) -> Figure | None:
    """Return the forest plot of a gate's comparisons; None if none has an interval and an allowance."""
    sides = list(dict.fromkeys(each.candidate for each in gate.comparisons if each.baseline != "limit"))
    names = dict(zip(sides, model_names(sides), strict=True)) if len(sides) > 1 else {}
    found = [
        (each, _measured(each, names.get(each.candidate))) for each in gate.comparisons if metric in (None, each.metric)
    ]
    shown = [(each, row) for each, row in found if row is not None]
    if not shown:
        return None
    # The first failure, else the first inconclusive comparison, else the verdict.
    worst = next((each for word in ("fail", "inconclusive") for each, _ in shown if each.verdict == word), None)
    title = f"{gate.verdict.capitalize()}: {gate.reason.partition(' (')[0]}"
    if worst is None and gate.verdict == "pass":
        title = "Nothing is worse by more than what is allowed"
    elif worst is not None:
        name = worst.metric.replace("_", " ")
        change, allowed = (amount(worst.metric, worst.unit, n or 0.0) for n in (worst.difference, worst.allowed))
        title = f"{name.capitalize()} changed by {change}, and {allowed} is allowed"
        if worst.verdict == "inconclusive":
            title = f"Too little text to say whether {name} got worse by more than what is allowed"
    return _forest(
        [row for _, row in shown],
        title=title,
        axis="difference, in multiples of the allowed change (right: worse)",
        margin=1.0,
        left_out=[each.title for each, row in found if row is None],
    )


def _measured(each: Comparison, candidate: str | None) -> _ForestRow | None:
    """Measure a difference by its allowance; an allowance of 0 (nothing may be lost) gives no such scale."""
    if each.difference is None or each.low is None or each.high is None:
        return None
    if not each.allowed or each.metric not in by_name():
        return None
    scale = by_name()[each.metric].worse / abs(each.allowed)
    low, high = sorted((each.low * scale, each.high * scale))
    middle, *ends = (in_unit(each.metric, value) for value in (each.difference, each.low, each.high))
    name = each.metric.replace("_", " ")
    return _ForestRow(
        name=f"{name}, {candidate}" if candidate else name,
        middle=each.difference * scale,
        bounds=(low, high),
        verdict=each.verdict,
        text=f"{middle} [{', '.join(ends)}]",
        allowed=f", allowed {in_unit(each.metric, each.allowed)}",
    )


def _of_ranking(ranking: Ranking) -> Figure | None:
    """Return the forest plot of the differences to the best; None if fewer than two rows have one."""
    short = labels(model_names([row.name for row in ranking.rows]), 40)
    values = [value for row in ranking.rows for value in (row.difference, row.low, row.high) if value is not None]
    per_cent = in_per_cent(ranking.metric, max(values, default=0.0))
    shown, left_out = [], []
    for row, name in zip(ranking.rows, short, strict=True):
        if row.difference is None:
            left_out.append(f"{name} ({row.marks[0].partition(':')[0]})" if row.marks else name)
            continue
        text = in_unit(ranking.metric, row.difference) if row.difference else "best"
        middle, bounds = row.difference, None if row.low is None or row.high is None else (row.low, row.high)
        if bounds and bounds != (0.0, 0.0):
            text += f" [{in_unit(ranking.metric, bounds[0])}, {in_unit(ranking.metric, bounds[1])}]"
        if per_cent:  # as the numbers beside the rows
            middle, bounds = 100 * expm1(middle), bounds and (100 * expm1(bounds[0]), 100 * expm1(bounds[1]))
        shown.append(_ForestRow(name=name, middle=middle, bounds=bounds, text=text))
    if len(shown) < 2:
        return None
    side = "right" if by_name()[ranking.metric].worse > 0 else "left"
    metric, (first, second) = ranking.metric.replace("_", " "), shown[:2]
    low, high = second.bounds or (0.0, 1.0)
    title = f"{first.name} is best by {metric}, but {second.name} may be as good"
    if second.middle == 0 and low == 0:
        title = f"{first.name} and {second.name} are the same by {metric}"
    elif second.bounds and low * high > 0:
        title = f"{first.name} is best by {metric}, a significant difference on this text"
    return _forest(
        shown,
        title=title,
        axis=f"difference of {metric} to the best ({'per cent' if per_cent else ranking.unit}; {side}: worse)",
        margin=None,
        left_out=left_out,
        reading=page("comparison").paragraph("How to read the figure of several runs"),
    )


def _forest(
    shown: list[_ForestRow], *, title: str, axis: str, margin: float | None, left_out: list[str], reading: str = ""
) -> Figure:
    """Return a figure with one line for each row; of too many rows, the most urgent."""
    urgent = sorted(range(len(shown)), key=lambda k: _URGENCY.get(shown[k].verdict, 2))[:_MOST]
    drawn = [shown[k] for k in sorted(urgent)]
    differences = "; ".join(
        f"{name} {row.text}{row.allowed}" + (f" ({row.verdict})" if row.verdict else "")
        for name, row in zip(labels([row.name for row in drawn], 40), drawn, strict=True)
    )
    names, notes, rest = labels(left_out), [axis], ""
    if left_out:
        notes.append(f"not drawn: {listed(names, 3)}")
        rest = f" Not drawn, for lack of a difference, an interval or an allowance: {listed(names, _MOST)}."
    notes += [f"no room for {counted(len(shown) - len(drawn), 'further row')}"] if len(shown) > len(drawn) else []
    return Figure(
        title=title,
        alt=f"{title}. Forest plot of {counted(len(shown), 'difference')}: {differences}.{rest}",
        height=min(0.3 + 0.075 * len(drawn), 1.2),
        x="\n".join(notes),
        grid="x",
        paint=partial(_paint, drawn, margin),
        reading=reading,
    )


def _paint(shown: list[_ForestRow], margin: float | None, ax: Any, look: Look) -> None:
    from matplotlib.lines import Line2D

    def mark(verdict: str) -> dict[str, Any]:
        marker, role = _MARKS.get(verdict, ("D", "muted"))
        color = getattr(look, role)
        face = look.paper if marker == "D" else color
        return {"marker": marker, "color": color, "markerfacecolor": face, "markersize": 8, "linestyle": "none"}

    ends = [0.0, margin or 0.0]
    if margin is not None:
        ax.axvspan(-1e6, margin, color=look.good, alpha=0.09, linewidth=0, zorder=0)
        ax.axvline(margin, color=look.bad, linestyle="--", linewidth=1.5, label="allowed", gid="allowed")
    ax.axvline(0, color=look.ink, linewidth=0.9, label="no change")
    for place, row in enumerate(shown):
        style = mark(row.verdict)
        if row.bounds:
            ax.plot(row.bounds, [place, place], color=style["color"], linewidth=2.4, solid_capstyle="butt")
            ax.plot(row.bounds, [place, place], "|", color=style["color"], markersize=9, markeredgewidth=1.8)
        ax.plot(row.middle, place, gid=row.name, **style)
        ax.text(
            0.02, place - 0.32, plain(row.text + row.allowed), transform=ax.get_yaxis_transform(), va="center",
            fontsize=SMALLEST, bbox=on_paper(look),
        )  # fmt: skip
        ends += [row.middle, *(row.bounds or ())]
    room = 0.08 * ((max(ends) - min(ends)) or 1.0)
    ax.set_xlim(min(ends) - room, max(ends) + room)
    ax.locator_params(axis="x", nbins=6)
    rows(ax, [row.name for row in shown])
    handles = ax.get_legend_handles_labels()[0]
    for verdict in dict.fromkeys(row.verdict for row in shown if row.verdict):
        handles.append(Line2D([], [], label=plain(verdict), **mark(verdict) | {"linestyle": "-"}))
    legend(ax, handles=handles, ncols=5)
