"""Where the model stands between knowing nothing and what it knows: its loss beside that of models without a network.

`uniform` takes every token for equally likely, `unigram` knows how often each occurs. The bar of a model is its 95 %
interval. Several runs stand below one another; they are held against the same baselines only where those agree.
"""

import math
from dataclasses import dataclass
from typing import Any

from rnneval.records.run import Run
from rnneval.render.figures._style import begin, finish, label, number, plain
from rnneval.render.words import counted

KINDS = ("rnneval.run/1",)
ORDER = 70
TOGETHER = True


@dataclass(frozen=True, kw_only=True)
class Place:
    """One row."""

    name: str
    nats: float
    low: float | None
    high: float | None
    model: bool


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """What is drawn, from the worst to the best."""

    places: tuple[Place, ...]
    without: int
    """Runs that have no loss, or other baselines."""


def data_of(source: Any) -> Ladder | None:
    """Take the loss of each run and the baselines of the first."""
    runs: list[Run] = source if isinstance(source, list) else [source]
    base = {name: value for name, value in runs[0].baselines.items() if math.isfinite(value)}
    kept = [run for run in runs if "cross_entropy" in run.scores and run.valid and run.baselines == runs[0].baselines]
    if not base or not kept:
        return None
    places = [Place(name=name, nats=value, low=None, high=None, model=False) for name, value in base.items()]
    for run in kept:
        score = run.scores["cross_entropy"]
        name = run.checkpoint.path.replace("\\", "/").rstrip("/").rpartition("/")[2] or "model in memory"
        places.append(Place(name=name, nats=score.value, low=score.low, high=score.high, model=True))
    return Ladder(places=tuple(sorted(places, key=lambda place: -place.nats)), without=len(runs) - len(kept))


def title_of(data: Ladder) -> str:
    """Say how far the best model is from the best baseline."""
    model = min((place for place in data.places if place.model), key=lambda place: place.nats)
    base = min((place for place in data.places if not place.model), key=lambda place: place.nats)
    gain = base.nats - model.nats
    name = label(model.name)
    if gain <= 0:
        against = f"{number(model.nats)} against {number(base.nats)} nats a token"
        return f"{name} is no better than {label(base.name)}: {against}"
    return f"{name} is {number(gain)} nats a token better than {label(base.name)}"


def alt_of(data: Ladder) -> str:
    """Say every loss."""
    rows = [f"{label(place.name)} {number(place.nats)}" for place in data.places]
    return f"{title_of(data)}. Loss in nats a token: {', '.join(rows)}.{_without(data)}"


def _without(data: Ladder) -> str:
    return f" {counted(data.without, 'run')} not comparable, not shown." if data.without else ""


def height_of(data: Ladder) -> float:
    """A line a row."""
    return min(0.2 + 0.06 * len(data.places), 1.0)


def draw(data: Ladder, *, ax: Any = None) -> Any:
    """Draw a row a model and baseline on `ax`, the worst on top; give the Axes."""
    ax, look = begin(ax)
    for row, place in enumerate(data.places):
        color, marker = (look.good, "o") if place.model else (look.muted, "s")
        ax.plot([0, place.nats], [row, row], color=look.grid, linewidth=2, zorder=1)
        if place.low is not None and place.high is not None:
            ax.plot([place.low, place.high], [row, row], color=color, linewidth=4, alpha=0.5, zorder=2)
        ax.plot([place.nats], [row], marker, color=color, markersize=8, zorder=3, gid=place.name)
        ax.annotate(
            number(place.nats), (max(place.high or 0, place.nats), row), (9, 0), textcoords="offset points",
            va="center", fontsize="small", color=look.ink,
        )  # fmt: skip
    ax.set_xlim(0, max(max(place.high or 0, place.nats) for place in data.places) * 1.12)
    ax.set_ylim(len(data.places) - 0.4, -0.6)
    finish(ax, look, title=title_of(data), x=f"loss (nats a token; less is better){_without(data)}", grid="x")
    ax.set_yticks(range(len(data.places)), [plain(label(place.name)) for place in data.places])
    ax.tick_params(axis="y", length=0)
    return ax
