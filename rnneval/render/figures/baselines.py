"""The loss of the model between those of baselines: models without a network, fitted to the same text."""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
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


def figure(*runs: Run, metric: str | None = None) -> Figure | None:
    """Compare the loss of each run, or a score that follows from it, with the baselines of the first."""
    import pandas as pd

    of_loss = [name for name, known in by_name().items() if known.hypothesis == "loss"]
    require_metric(metric, [name for name in of_loss if name in runs[0].scores], "a baseline")
    measured = by_name()[metric or _LOSS]
    across = measured.name in ACROSS_TOKENS
    named = list(zip(labels(model_names([run.title for run in runs])), runs, strict=True))
    valid = [(name, run) for name, run in named if run.valid and measured.name in run.scores]
    kept = [(name, run) for name, run in valid if difference_between(valid[0][1], run, across_tokens=across) is None]
    base = _baselines(kept, measured)
    if not base:
        return None
    table: list[tuple[str, float, float | None, float | None, str]]
    table = [(label(name), value, value, value, "baseline") for name, value in base]
    for name, run in kept:
        score = run.scores[measured.name]
        table.append((name, score.value, score.low, score.high, "model"))
    frame = pd.DataFrame(table, columns=["name", "score", "low", "high", "kind"])
    frame = frame.fillna({"low": frame["score"], "high": frame["score"]})  # no interval
    frame = frame.sort_values("score", ascending=False, kind="stable", ignore_index=True)
    what = "loss" if measured.name == _LOSS else measured.name.replace("_", " ")
    model, baseline = (frame[frame["kind"] == kind].iloc[-1] for kind in ("model", "baseline"))  # the best
    gain = baseline["score"] - model["score"]
    against = f"{number(model['score'])} against {number(baseline['score'])}"
    against = f"{against} nats a token" if what == "loss" else f"{what} {against}"
    title = f"{model['name']} is {'better' if gain > 0 else 'no better'} than {baseline['name']}: {against}"
    if what == "loss" and gain > 0:
        title = f"{model['name']} is {number(gain)} nats a token better than {baseline['name']}"
    shown = {id(run) for _, run in kept}
    without = {
        "not valid": [name for name, run in named if not run.valid],
        "not comparable": [name for name, run in named if run.valid and id(run) not in shown],
    }
    note = "".join(f"\n{why}, not shown: {listed(names, 3)}" for why, names in without.items() if names)
    marks = {f"`{kind}": any(name.startswith(kind) for name, _ in base) for kind in ("uniform", "unigram", "ngram")}
    marks |= {"interval": bool(frame["high"].gt(frame["low"]).any()), "Several runs": len(runs) > 1}
    marks |= {"Where a baseline differs": any(name.endswith(")") for name, _ in base)}
    scores = ", ".join(f"{name} {number(value)}" for name, value in zip(frame["name"], frame["score"], strict=True))
    return Figure(
        title=title,
        alt=f"{title}. {what.capitalize()} in {measured.unit}: {scores}.{note.replace(chr(10), ' ')}",
        height=min(0.2 + 0.06 * len(frame), 1.0),
        x=f"{what} ({measured.unit}; less is better){note}",
        grid="x",
        paint=partial(_paint, frame),
        marks=marks,
        chapter="baselines",
    )


def _baselines(named: Sequence[tuple[str, Run]], measured: Metric) -> list[tuple[str, float]]:
    """Return every baseline with its score; the name of its run stands behind one that others have, too, and unlike."""
    found: dict[str, dict[float, str]] = {}
    for run_name, run in named:
        for name, score in _scores(run, measured).items():
            found.setdefault(name, {}).setdefault(score, run_name)
    return [
        (name if len(scores) == 1 else f"{name} ({run_name})", score)
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


def _paint(frame: Any, ax: Any, look: Look) -> None:
    import seaborn as sns

    colors = {"model": look.good, "baseline": look.muted}
    places = list(frame.index)  # rows and not names, since two runs may have the same name
    sns.barplot(
        ax=ax, x=frame["score"], y=places, hue=frame["kind"], orient="h", palette=colors, saturation=1,
        alpha=0.75, width=0.62, linewidth=0, errorbar=None, legend=False,
    )  # fmt: skip
    ax.hlines(places, frame["low"], frame["high"], color=look.ink, linewidth=2.2, gid="interval")
    ends = frame[["score", "high"]].max(axis=1)
    for place, score, end in zip(places, frame["score"], ends, strict=True):
        ax.annotate(number(score), (end, place), (7, 0), textcoords="offset points", va="center", fontsize="small")
    ax.set_xlim(0, ends.max() * 1.12)
    rows(ax, frame["name"])
