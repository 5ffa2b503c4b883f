"""The loss of the model between those of baselines: models without a network, fitted to the same text."""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rnneval.gates.sides import ACROSS_TOKENS, difference_between
from rnneval.metrics import Metric, UnavailableError, by_name, totals_of
from rnneval.records.run import Run
from rnneval.render.figures._base import Figure, require_metric
from rnneval.render.figures._style import Look, label, labels, rows
from rnneval.render.phrasing import listed, model_names, number

KINDS = ("rnneval.run/1",)
ORDER = 70
TOGETHER = True
_LOSS = "cross_entropy"


@dataclass(frozen=True, kw_only=True)
class _Bar:
    name: str
    score: float
    bounds: tuple[float, float] | None = None
    is_model: bool = False


def figure(*runs: Run, metric: str | None = None) -> Figure | None:
    """Compare the loss of each run, or a score that follows from it, with the baselines of the first."""
    of_loss = [name for name, known in by_name().items() if known.hypothesis == "loss"]
    require_metric(metric, [name for name in of_loss if name in runs[0].scores], "a baseline")
    measured = by_name()[metric or _LOSS]
    across = measured.name in ACROSS_TOKENS
    named = list(zip(labels(model_names([run.title for run in runs])), runs, strict=True))
    valid = [(name, run) for name, run in named if run.valid and measured.name in run.scores]
    kept = [(name, run) for name, run in valid if difference_between(valid[0][1], run, across_tokens=across) is None]
    bars = _baselines(kept, measured)
    if not bars:
        return None
    for name, run in kept:
        score = run.scores[measured.name]
        bounds = None if score.low is None or score.high is None else (score.low, score.high)
        bars.append(_Bar(name=name, score=score.value, bounds=bounds, is_model=True))
    bars.sort(key=lambda bar: -bar.score)
    what = "loss" if measured.name == _LOSS else measured.name.replace("_", " ")
    model, baseline = (next(bar for bar in reversed(bars) if bar.is_model is kind) for kind in (True, False))  # best
    gain, against = baseline.score - model.score, f"{number(model.score)} against {number(baseline.score)}"
    against = f"{against} nats a token" if what == "loss" else f"{what} {against}"
    title = f"{model.name} is {'better' if gain > 0 else 'no better'} than {baseline.name}: {against}"
    if what == "loss" and gain > 0:
        title = f"{model.name} is {number(gain)} nats a token better than {baseline.name}"
    shown = {id(run) for _, run in kept}
    without = {
        "not valid": [name for name, run in named if not run.valid],
        "not comparable": [name for name, run in named if run.valid and id(run) not in shown],
    }
    note = "".join(f"\n{why}, not shown: {listed(names, 3)}" for why, names in without.items() if names)
    scores = ", ".join(f"{bar.name} {number(bar.score)}" for bar in bars)
    return Figure(
        title=title,
        alt=f"{title}. {what.capitalize()} in {measured.unit}: {scores}.{note.replace(chr(10), ' ')}",
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
        for name, score in _scores(run, measured).items():
            found.setdefault(name, {}).setdefault(score, run_name)
    return [
        _Bar(name=label(name if len(scores) == 1 else f"{name} ({run_name})"), score=score)
        for name, scores in found.items()
        for score, run_name in scores.items()
    ]


def _scores(run: Run, measured: Metric) -> dict[str, float]:
    """Return the score of each baseline: that of the run, with the baseline's loss in place of the model's."""
    if measured.name == _LOSS:
        return {name: nats for name, nats in run.baselines.items() if math.isfinite(nats)}
    totals, found = totals_of(run), {}
    for name, nats in run.baselines.items():
        with suppress(UnavailableError):
            found[name] = measured.finish(replace(totals, sums={**totals.sums, "nats": nats * totals.tokens}))
    return found


def _paint(bars: Sequence[_Bar], ax: Any, look: Look) -> None:
    for place, bar in enumerate(bars):
        ax.barh(place, bar.score, height=0.62, color=look.good if bar.is_model else look.muted, alpha=0.75, linewidth=0)
        end = bar.score
        if bar.bounds:
            ax.hlines(place, *bar.bounds, color=look.ink, linewidth=2.2, gid="interval")
            end = max(end, bar.bounds[1])
        ax.annotate(number(bar.score), (end, place), (7, 0), textcoords="offset points", va="center", fontsize="small")
    ax.set_xlim(0, 1.15 * max(max((bar.score, *(bar.bounds or ()))) for bar in bars))
    rows(ax, [bar.name for bar in bars])
