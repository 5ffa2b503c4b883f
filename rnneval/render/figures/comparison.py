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
from rnneval.records.gate import Comparison
from rnneval.render.figures._base import Figure, require_metric
from rnneval.render.figures._style import SMALLEST, Look, labels, legend, on_paper, plain, rows
from rnneval.render.phrasing import counted, listed, model_names

KINDS = ("rnneval.gate/1", "rnneval.run/1", "rnneval.compare/1")
ORDER = 10
TOGETHER = True
_MOST = 40
"""Rows that can be read; where there are more, those that did not pass come before the others."""
_URGENCY = {"fail": 0, "inconclusive": 1}
_MARKS = {"pass": ("o", "good"), "fail": ("X", "bad"), "": ("o", "good")}


class _ForestRow(NamedTuple):
    """One difference on the axis of the picture."""

    name: str
    middle: float
    bounds: tuple[float, float] | None
    text: str
    """The difference and its bounds, in the metric's own unit."""
    verdict: str = ""


def figure(*sources: Any, metric: str | None = None) -> Figure | None:
    """Draw the comparisons of a gate, or of them those by a metric; a ranking; or several runs, which are ranked."""
    first, *others = sources
    compared = list(by_name())
    if isinstance(first, Gate):
        compared = list(dict.fromkeys(each.metric for each in first.comparisons))
    elif isinstance(first, Ranking):
        compared = [first.metric]
    require_metric(metric, compared, "the comparison")
    if others:
        is_run = all(isinstance(each, Run) for each in sources)
        return _of_ranking(compare(list(sources), metric=metric, blocks=0)) if is_run else None
    if isinstance(first, Gate):
        return _of_gate(first, metric)
    return _of_ranking(first) if isinstance(first, Ranking) else None


def _of_gate(gate: Gate, metric: str | None) -> Figure | None:
    """Return the forest plot of a gate's comparisons; None if none has an interval and an allowance."""
    sides = list(dict.fromkeys(each.candidate for each in gate.comparisons if each.baseline != "limit"))
    names = dict(zip(sides, model_names(sides), strict=True)) if len(sides) > 1 else {}
    wanted = [each for each in gate.comparisons if metric in (None, each.metric)]
    shown = [each for each in wanted if _is_measured(each)]
    if not shown:
        return None
    # The first failure, else the first inconclusive comparison, else the verdict.
    worst = next((each for word in _URGENCY for each in shown if each.verdict == word), None)
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
        [_measured(each, names.get(each.candidate)) for each in shown],
        title=title,
        axis="difference, in multiples of the allowed change (right: worse)",
        margin=1.0,
        left_out=[each.title for each in wanted if each not in shown],
    )


def _is_measured(each: Comparison) -> bool:
    """Return whether the allowance is a scale for a difference; 0 (nothing may be lost) is none."""
    return None not in (each.difference, each.low, each.high) and bool(each.allowed) and each.metric in by_name()


def _measured(each: Comparison, candidate: str | None) -> _ForestRow:
    values = [value or 0.0 for value in (each.difference, each.low, each.high)]
    allowed = each.allowed or 0.0
    middle, *ends = (value * by_name()[each.metric].worse / abs(allowed) for value in values)
    text = _with_bounds(*(in_unit(each.metric, value) for value in values))
    return _ForestRow(
        name=", ".join(filter(None, (each.metric.replace("_", " "), candidate))),
        middle=middle,
        bounds=(min(ends), max(ends)),
        text=f"{text}, allowed {in_unit(each.metric, allowed)}",
        verdict=each.verdict,
    )


def _with_bounds(middle: str, low: str, high: str) -> str:
    return f"{middle} [{low}, {high}]"


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
        bounds = None if row.low is None or row.high is None else (row.low, row.high)
        if bounds and bounds != (0.0, 0.0):
            text = _with_bounds(text, *(in_unit(ranking.metric, end) for end in bounds))
        middle = row.difference
        if per_cent:  # as the numbers beside the rows
            middle, bounds = 100 * expm1(middle), bounds and (100 * expm1(bounds[0]), 100 * expm1(bounds[1]))
        shown.append(_ForestRow(name=name, middle=middle, bounds=bounds, text=text))
    if len(shown) < 2:
        return None
    side = "right" if by_name()[ranking.metric].worse > 0 else "left"
    metric = ranking.metric.replace("_", " ")
    first, second = shown[:2]
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
    urgent = sorted(shown, key=lambda row: _URGENCY.get(row.verdict, 2))[:_MOST]
    drawn = [row for row in shown if row in urgent]
    differences = "; ".join(
        f"{name} {row.text}" + (f" ({row.verdict})" if row.verdict else "")
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
        ax.text(
            0.02, place - 0.32, plain(row.text), transform=ax.get_yaxis_transform(), va="center", fontsize=SMALLEST,
            bbox=on_paper(look),
        )  # fmt: skip
        ends += [row.middle, *(row.bounds or ())]
    for verdict, line in verdicts.items():
        line.set_label(plain(verdict) if verdict else None)
    room = 0.08 * ((max(ends) - min(ends)) or 1.0)
    ax.set_xlim(min(ends) - room, max(ends) + room)
    ax.locator_params(axis="x", nbins=6)
    rows(ax, [row.name for row in shown])
    legend(ax, ncols=5)
