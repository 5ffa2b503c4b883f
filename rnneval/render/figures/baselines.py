"""The loss of the model between those of baselines: models without a network, fitted to the same text."""

import math
from functools import partial
from typing import Any

from rnneval.records.run import Run
from rnneval.render.figures._base import Figure
from rnneval.render.figures._style import Look, label, labels, narrow, plain
from rnneval.render.phrasing import model_names, number

KINDS = ("rnneval.run/1",)
ORDER = 70


def figure(run: Run) -> Figure | None:
    """Compare the loss of a valid run with its baselines; None if it has none."""
    score = run.scores.get("cross_entropy")
    known = {label(name): nats for name, nats in run.baselines.items() if math.isfinite(nats)}
    if score is None or not known or not run.valid:
        return None
    model = label(model_names([run.title])[0])
    best = min(known, key=known.__getitem__)
    title = f"{model} is no better than {best}: {number(score.value)} against {number(known[best])} nats a token"
    if score.value < known[best]:
        title = f"{model} is {number(known[best] - score.value)} nats a token better than {best}"
    losses = sorted([*known.items(), (model, score.value)], key=lambda pair: -pair[1])
    return Figure(
        title=title,
        alt=f"{title}. Loss in nats a token: {', '.join(f'{name} {number(loss)}' for name, loss in losses)}.",
        height=min(0.2 + 0.06 * len(losses), 1.0),
        x="loss (nats a token; less is better)",
        grid="x",
        paint=partial(_paint, losses, model, () if score.low is None else (score.low, score.high)),
        chapter="baselines",
    )


def _paint(losses: list[tuple[str, float]], model: str, ends: tuple[Any, ...], ax: Any, look: Look) -> None:
    for place, (name, loss) in enumerate(losses):
        is_model = name == model
        ax.barh(place, loss, height=0.62, color=look.good if is_model else look.muted, alpha=0.75, linewidth=0)
        if is_model and ends:
            ax.hlines(place, *ends, color=look.ink, linewidth=2.2, gid="interval")
        end = max(loss, *ends) if is_model and ends else loss
        ax.annotate(number(loss), (end, place), (7, 0), textcoords="offset points", va="center", fontsize="small")
    ax.set_xlim(0, 1.15 * max(*(loss for _, loss in losses), *ends))
    ax.set_ylim(len(losses) - 0.4, -0.6)
    ax.set_yticks(range(len(losses)), list(map(plain, labels([name for name, _ in losses], 16 if narrow(ax) else 24))))
    ax.tick_params(axis="y", length=0)
