"""Differences that a gate judged, their uncertainty and what was allowed: a forest plot."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from rnneval.gates.explanation import amount, in_unit, number
from rnneval.metrics import by_name
from rnneval.records.gate import Comparison, Gate
from rnneval.render.figures._base import Figure
from rnneval.render.figures._style import SMALLEST, Look, labels, legend, narrow, on_paper, plain
from rnneval.render.phrasing import counted, framed, listed, model_names

KINDS = ("rnneval.gate/1",)
ORDER = 10
_MOST = 40  # rows that can be read
_URGENCY = ("fail", "inconclusive")
_MARKS = {"improved": ("o", "good"), "pass": ("o", "good"), "fail": ("X", "bad")}


class _ForestRow(NamedTuple):
    """One difference, in multiples of the allowed change."""

    name: str
    middle: float
    bounds: tuple[float, float]
    text: str  # the difference and its bounds, in the metric's own unit
    verdict: str


def figure(gate: Gate) -> Figure | None:
    """Return the forest plot of a gate's comparisons; None if none has an interval and an allowance."""
    sides = list(dict.fromkeys(each.candidate for each in gate.comparisons if each.baseline != "limit"))
    names = dict(zip(sides, model_names(sides), strict=True)) if len(sides) > 1 else {}
    pairs = [(each, _row(each, names.get(each.candidate))) for each in gate.comparisons]
    every = [row for _, row in pairs if row is not None]
    if not every:
        return None
    shown, missing = every[:_MOST], labels([each.title for each, row in pairs if row is None])
    said = zip(labels([row.name for row in shown], 40), shown, strict=True)
    differences = "; ".join(f"{name} {row.text} ({row.verdict})" for name, row in said)
    rest = framed(" Not drawn, for lack of a difference, an interval or an allowance: ", listed(missing, _MOST), ".")
    notes = ["difference, in multiples of the allowed change (right: worse)"]
    notes += [f"not drawn: {listed(missing, 3)}"] if missing else []
    notes += [f"no room for {counted(len(every) - len(shown), 'further row')}"] if len(every) > len(shown) else []
    title = _title(gate, [each for each, row in pairs if row is not None])
    return Figure(
        title=title,
        alt=f"{title}. Forest plot of {counted(len(every), 'difference')}: {differences}.{rest}",
        height=min(0.3 + 0.075 * len(shown), 1.2),
        x="\n".join(notes),
        grid="x",
        paint=partial(_paint, shown),
    )


def _row(each: Comparison, candidate: str | None) -> _ForestRow | None:
    """Return the row of a comparison; None without an interval, or with an allowance of 0, which is no scale."""
    if each.difference is None or each.low is None or each.high is None or not each.allowed:
        return None
    if each.metric not in by_name():
        return None
    known = each.difference, each.low, each.high
    scale = abs(in_unit(each.metric, each.allowed))
    middle, *ends = (in_unit(each.metric, value) * by_name()[each.metric].worse / scale for value in known)
    difference, low, high = (number(each.metric, value) for value in known)
    name = each.metric.replace("_", " ") + framed(", ", candidate)
    text = f"{difference} [{low}, {high}], allowed {number(each.metric, each.allowed)}"
    return _ForestRow(name, middle, (min(ends), max(ends)), text, each.word)


def _title(gate: Gate, drawn: Sequence[Comparison]) -> str:
    """State the first failure, else the first inconclusive comparison, else the verdict."""
    urgent = [each for each in drawn if each.verdict in _URGENCY]
    worst = min(urgent, key=lambda each: _URGENCY.index(each.verdict), default=None)
    if worst is None:
        reason = gate.reason.partition(" (")[0]
        if gate.improved:
            return f"Improved: {listed([each.metric.replace('_', ' ') for each in drawn], _MOST)}"
        passed = gate.verdict == "pass"
        return "Nothing is worse by more than what is allowed" if passed else f"{gate.verdict.capitalize()}: {reason}"
    name = worst.metric.replace("_", " ")
    if worst.verdict == "inconclusive":
        return f"Too little text to say whether {name} got worse by more than what is allowed"
    change, most = (amount(worst.metric, worst.unit, value or 0.0) for value in (worst.difference, worst.allowed))
    return f"{name.capitalize()} changed by {change}, and {most} is allowed"


def _paint(rows: Sequence[_ForestRow], ax: Any, look: Look) -> None:
    ends, verdicts = [0.0, 1.0], {}
    ax.axvspan(-1e6, 1, color=look.good, alpha=0.09, linewidth=0, zorder=0)
    ax.axvline(1, color=look.bad, linestyle="--", linewidth=1.5, label="allowed", gid="allowed")
    ax.axvline(0, color=look.ink, linewidth=0.9, label="no change")
    for place, row in enumerate(rows):
        marker, role = _MARKS.get(row.verdict, ("D", "muted"))
        color = getattr(look, role)
        ax.plot(row.bounds, [place, place], color=color, linewidth=2.4, solid_capstyle="butt")
        ax.plot(row.bounds, [place, place], "|", color=color, markersize=9, markeredgewidth=1.8)
        face = look.paper if marker == "D" else color
        style = {"color": color, "marker": marker, "markerfacecolor": face, "markersize": 8}
        (verdicts[row.verdict],) = ax.plot(row.middle, place, gid=row.name, **style)
        beside = {"transform": ax.get_yaxis_transform(), "va": "center", "fontsize": SMALLEST, "bbox": on_paper(look)}
        ax.text(0.02, place - 0.32, plain(row.text), **beside)
        ends += [row.middle, *row.bounds]
    for verdict, line in verdicts.items():
        line.set_label(plain(verdict))
    room = 0.08 * (max(ends) - min(ends))
    ax.set_xlim(min(ends) - room, max(ends) + room)
    ax.locator_params(axis="x", nbins=6)
    ax.set_ylim(len(rows) - 0.4, -0.6)  # the first is on top
    ax.set_yticks(range(len(rows)), list(map(plain, labels([row.name for row in rows], 16 if narrow(ax) else 24))))
    ax.tick_params(axis="y", length=0)
    legend(ax, ncols=5)
