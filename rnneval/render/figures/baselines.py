"""The loss of the model between those of baselines: models without a network, fitted to the same text."""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from rnneval.gates.sides import ACROSS_TOKENS, difference_between
from rnneval.metrics import Metric, UnavailableError, by_name, totals_of
from rnneval.records.run import Run
from rnneval.render.figures._base import Figure, require_metric, run_labels
from rnneval.render.figures._style import Look, label, rows
from rnneval.render.phrasing import listed, number

KINDS = ("rnneval.run/1",)
ORDER = 70
TOGETHER = True
_LOSS = "cross_entropy"


class _Bar(NamedTuple):
    name: str
    score: float
    ends: tuple[float, ...] = ()
    """Of a model, its interval."""
    is_model: bool = False


def figure(*runs: Run, metric: str | None = None) -> Figure | None:
    """Compare the loss of each run, or a score that follows from it, with the baselines of the first."""
    of_loss = [name for name, known in by_name().items() if known.hypothesis == "loss"]
    require_metric(metric, [name for name in of_loss if name in runs[0].scores], "a baseline")
    measured = by_name()[metric or _LOSS]
    across = measured.name in ACROSS_TOKENS
    named = list(zip(run_labels(runs), runs, strict=True))
    valid = [(name, run) for name, run in named if run.valid and measured.name in run.scores]
    kept = [(name, run) for name, run in valid if difference_between(valid[0][1], run, across_tokens=across) is None]
    bars = _baselines(kept, measured)
    if not bars:
        return None
    baseline = min(bars, key=lambda bar: bar.score)
    scores = [(name, run.scores[measured.name]) for name, run in kept]
    models = [
        _Bar(name, score.value, () if score.low is None or score.high is None else (score.low, score.high), True)
        for name, score in scores
    ]
    model = min(models, key=lambda bar: bar.score)
    bars = sorted([*bars, *models], key=lambda bar: -bar.score)
    what = "loss" if measured.name == _LOSS else measured.name.replace("_", " ")
    gain = baseline.score - model.score
    against = f"{number(model.score)} against {number(baseline.score)}"
    against = f"{against} nats a token" if what == "loss" else f"{what} {against}"
    title = f"{model.name} is {'better' if gain > 0 else 'no better'} than {baseline.name}: {against}"
    if what == "loss" and gain > 0:
        title = f"{model.name} is {number(gain)} nats a token better than {baseline.name}"
    unlike = [name for name, run in named if run.valid and (name, run) not in kept]
    without = {"not valid": [name for name, run in named if not run.valid], "not comparable": unlike}
    note = "".join(f"\n{why}, not shown: {listed(names, 3)}" for why, names in without.items() if names)
    values = ", ".join(f"{bar.name} {number(bar.score)}" for bar in bars)
    return Figure(
        title=title,
        alt=f"{title}. {what.capitalize()} in {measured.unit}: {values}.{note.replace(chr(10), ' ')}",
        height=min(0.2 + 0.06 * len(bars), 1.0),
        x=f"{what} ({measured.unit}; less is better){note}",
        grid="x",
        paint=partial(_paint, bars),
        chapter="baselines",
    )


def _baselines(named: Sequence[tuple[str, Run]], measured: Metric) -> list[_Bar]:
    """Return every baseline with its score; the name of its run stands behind one that others have, too, and unlike."""
    found: dict[str, dict[float, str]] = {}
    for run_name, run in named:
        totals = totals_of(run)
        for name, nats in run.baselines.items():
            with suppress(UnavailableError):  # the score of the run, with the baseline's loss in place of the model's
                sums = {**totals.sums, "nats": nats * totals.tokens}
                score = nats if measured.name == _LOSS else measured.finish(replace(totals, sums=sums))
                if math.isfinite(nats):
                    found.setdefault(name, {}).setdefault(score, run_name)
    return [
        _Bar(label(name if len(scores) == 1 else f"{name} ({run_name})"), score)
        for name, scores in found.items()
        for score, run_name in scores.items()
    ]


def _paint(bars: Sequence[_Bar], ax: Any, look: Look) -> None:
    for place, bar in enumerate(bars):
        ax.barh(place, bar.score, height=0.62, color=look.good if bar.is_model else look.muted, alpha=0.75, linewidth=0)
        if bar.ends:
            ax.hlines(place, *bar.ends, color=look.ink, linewidth=2.2, gid="interval")
        end = max((bar.score, *bar.ends))
        ax.annotate(number(bar.score), (end, place), (7, 0), textcoords="offset points", va="center", fontsize="small")
    ax.set_xlim(0, 1.15 * max(max((bar.score, *bar.ends)) for bar in bars))
    rows(ax, [bar.name for bar in bars])
