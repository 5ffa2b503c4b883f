"""The loss of the model between those of baselines: models without a network, fitted to the same text.

`uniform` takes every token for equally likely, `unigram` knows how often each occurs. Shorter bars are better; the line
at the end of a model's bar is its 95 % interval. Several runs stand below one another; only runs with the same
baselines are shown.
"""

import math
from functools import partial
from typing import Any

from rnneval.records.run import Run
from rnneval.render.figures._base import Figure
from rnneval.render.figures._style import Look, draw, label, labels, number, rows, run_names
from rnneval.render.phrasing import counted

KINDS = ("rnneval.run/1",)
ORDER = 70
SEABORN = "barplot"
TOGETHER = True


def figure(*runs: Run) -> Figure | None:
    """Compare the loss of each run with the baselines of the first, from the worst to the best."""
    import pandas as pd

    base = {name: value for name, value in runs[0].baselines.items() if math.isfinite(value)}
    kept = [run for run in runs if "cross_entropy" in run.scores and run.valid and run.baselines == runs[0].baselines]
    if not base or not kept:
        return None
    table: list[tuple[str, float, float | None, float | None, str]]
    table = [(label(name), nats, nats, nats, "baseline") for name, nats in base.items()]
    for name, run in zip(labels(run_names(kept)), kept, strict=True):
        score = run.scores["cross_entropy"]
        table.append((name, score.value, score.low, score.high, "model"))
    frame = pd.DataFrame(table, columns=["name", "nats", "low", "high", "kind"])
    frame = frame.fillna({"low": frame["nats"], "high": frame["nats"]})  # no interval
    frame = frame.sort_values("nats", ascending=False, kind="stable", ignore_index=True)
    title = _title(frame)
    without = len(runs) - len(kept)
    note = f" {counted(without, 'run')} not comparable, not shown." if without else ""
    losses = ", ".join(f"{name} {number(nats)}" for name, nats in zip(frame["name"], frame["nats"], strict=True))
    return Figure(
        title=title,
        alt=f"{title}. Loss in nats a token: {losses}.{note}",
        height=min(0.2 + 0.06 * len(frame), 1.0),
        x=f"loss (nats a token; less is better){note}",
        grid="x",
        paint=partial(_paint, frame),
        chapter="baselines",
    )


def _title(frame: Any) -> str:
    """Compare the best model with the best baseline."""
    model = frame[frame["kind"] == "model"].iloc[-1]
    base = frame[frame["kind"] == "baseline"].iloc[-1]
    gain = base["nats"] - model["nats"]
    if gain <= 0:
        against = f"{number(model['nats'])} against {number(base['nats'])} nats a token"
        return f"{model['name']} is no better than {base['name']}: {against}"
    return f"{model['name']} is {number(gain)} nats a token better than {base['name']}"


def _paint(frame: Any, ax: Any, look: Look) -> None:
    colors = {"model": look.good, "baseline": look.muted}
    places = list(frame.index)  # rows and not names, since two runs may have the same name
    draw(
        "barplot", ax, look, x=frame["nats"], y=places, hue=frame["kind"], orient="h", palette=colors, saturation=1,
        alpha=0.75, width=0.62, linewidth=0, errorbar=None, legend=False,
    )  # fmt: skip
    ax.hlines(places, frame["low"], frame["high"], color=look.ink, linewidth=2.2, gid="interval")
    ends = frame[["nats", "high"]].max(axis=1)
    for place, nats, end in zip(places, frame["nats"], ends, strict=True):
        ax.annotate(number(nats), (end, place), (7, 0), textcoords="offset points", va="center", fontsize="small")
    ax.set_xlim(0, ends.max() * 1.12)
    rows(ax, frame["name"])
