"""How large the gradients were in training: the norm per layer, step by step, on a logarithmic axis.

Norms are those before clipping. Ticks at the top mark the steps at which the gradient was clipped. A vertical line
marks the first step with a gradient that is not finite: a layer's line ends there. Of a long training the lines are
medians of neighbouring steps, and the band goes from the smallest to the largest norm of the whole model.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnneval.render.figures._sources import GRADIENT_HISTORY, Table
from rnneval.render.figures._style import (
    Doubles,
    Look,
    bands,
    begin,
    counting,
    end_labels,
    finish,
    label,
    legend,
    number,
    percent,
    styles,
)
from rnneval.render.words import counted

KINDS = (GRADIENT_HISTORY,)
ORDER = 20
HEIGHT = 0.6


@dataclass(frozen=True, kw_only=True)
class Line:
    """One layer, or the whole model."""

    name: str
    steps: Doubles
    norms: Doubles


@dataclass(frozen=True, kw_only=True)
class History:
    """What is drawn."""

    layers: tuple[Line, ...]
    whole: Line
    clipped: Doubles
    """Steps at which the whole gradient was larger before clipping than after."""
    level: float | None
    """What it was clipped to, where that was always the same."""
    first_bad: int | None
    """The first step with a gradient that is not finite."""
    culprits: tuple[str, ...]
    """The layers that had one at that step."""
    zeros: int
    """Norms of 0, which a logarithmic axis has no place for."""
    last: int


def data_of(source: Table) -> History | None:
    """Take norms a layer, the steps that were clipped, and the first that was not finite."""
    if isinstance(source, list):
        return None
    frame = source.frame
    norms = frame[(frame["statistic"] == "grad_norm") & (frame["variable"] == "")]
    bad = frame[(frame["statistic"] == "not_finite") & (frame["variable"] == "") & (frame["value"] > 0)]
    if not len(norms) and not len(bad):
        return None
    lines = [_line(str(name), part) for name, part in norms.groupby("layer", observed=True, sort=False)]
    first = int(bad["step"].min()) if len(bad) else None
    layers = bad.loc[bad["step"] == first, "layer"] if first is not None else []
    clipped, level = _clipping(frame[(frame["layer"] == "") & (frame["variable"] == "")])
    return History(
        layers=tuple(line for line in lines if line.name),
        whole=next((line for line in lines if not line.name), Line(name="", steps=np.zeros(0), norms=np.zeros(0))),
        clipped=clipped,
        level=level,
        first_bad=first,
        culprits=tuple(dict.fromkeys(str(name) for name in layers if name)),
        zeros=int((norms["value"] <= 0).sum()),
        last=int(frame["step"].max()),
    )


def _line(name: str, part: Any) -> Line:
    part = part[part["value"] > 0].sort_values("step")
    return Line(name=name, steps=part["step"].to_numpy(np.float64), norms=part["value"].to_numpy(np.float64))


def _clipping(whole: Any) -> tuple[Doubles, float | None]:
    """Steps that were clipped, and the level where there is one: clipping by norm gives the same norm each time."""
    table = whole[whole["statistic"].isin(["grad_norm", "grad_norm_clipped"])]
    wide = table.pivot_table(index="step", columns="statistic", values="value", observed=True)
    if not {"grad_norm", "grad_norm_clipped"} <= set(wide.columns):
        return np.zeros(0), None
    cut = wide[wide["grad_norm_clipped"] < wide["grad_norm"] * (1 - 1e-4)]
    levels = cut["grad_norm_clipped"].to_numpy(np.float64)
    same = len(levels) > 0 and float(np.ptp(levels)) <= 1e-3 * float(levels.mean())
    return cut.index.to_numpy(np.float64), float(np.median(levels)) if same else None


def title_of(data: History) -> str:
    """Say the worst: not finite, a jump, much clipping; else that it was even."""
    if data.first_bad is not None:
        return f"From step {data.first_bad:,} on gradients are not finite{_before(data)}"
    norms = data.whole.norms
    if not len(norms):
        return "No gradient was larger than 0"
    median, most = float(np.median(norms)), float(norms.max())
    share = len(data.clipped) / len(norms)
    if (peak := _peak(data)) is not None:
        step = int(peak[0])
        return f"The gradient jumped to {number(most)} at step {step:,}, {number(most / median)} times its median"
    if share >= 0.05:
        return f"Gradients were clipped in {percent(share)} of {counted(len(norms), 'step')}"
    return f"Gradients kept their size: {number(median)} in the median, {number(most)} at most"


def _peak(data: History) -> tuple[float, float] | None:
    """The step with the largest norm, where it is far above the median."""
    norms = data.whole.norms
    if len(norms) < 3 or not norms.max() > 10 * np.median(norms) or data.first_bad is not None:
        return None
    place = int(np.argmax(norms))
    return float(data.whole.steps[place]), float(norms[place])


def _before(data: History) -> str:
    if len(data.whole.norms) < 2:
        return ""
    return f"; the step before, the norm was {number(float(data.whole.norms[-1]))}"


def alt_of(data: History) -> str:
    """Say sizes, clipping and what was not finite."""
    rows = [f"{label(line.name)} {number(float(np.median(line.norms)))}" for line in data.layers if len(line.norms)]
    medians = f" Medians by layer: {', '.join(rows)}." if rows else ""
    clipped = f" Clipped at {counted(len(data.clipped), 'step')}." if len(data.clipped) else " Never clipped."
    bad = (
        f" First not finite at step {data.first_bad:,}, in {', '.join(map(label, data.culprits))}."
        if data.first_bad
        else ""
    )
    zeros = f" {counted(data.zeros, 'norm')} of 0 not drawn." if data.zeros else ""
    return f"{title_of(data)}. Gradient norms (L2) over {counted(data.last, 'step')}.{medians}{clipped}{bad}{zeros}"


def draw(data: History, *, ax: Any = None) -> Any:
    """Draw the history on `ax`; give the Axes."""
    ax, look = begin(ax)
    ax.set_yscale("log")
    ends = [
        _layer(ax, style, line)
        for style, line in zip(styles(len(data.layers), look), data.layers, strict=True)
        if len(line.norms)
    ]
    if len(data.whole.norms):
        ends.append(_whole(ax, look, data.whole))
    first = min((line.steps[0] for line in (*data.layers, data.whole) if len(line.steps)), default=1)
    ax.set_xlim(first - 0.5, data.last + 0.5)
    finish(ax, look, raised=True, title=title_of(data), x=f"training step{_zeros(data)}", y="gradient norm ‖g‖₂")
    counting(ax.xaxis)
    _marks(ax, look, data)
    if not ends:
        ax.set_yticks([])  # nothing finite: no size to read
        ax.minorticks_off()
    end_labels(ax, ends, size="x-small" if len(ends) > 8 else "small")
    if ax.get_legend_handles_labels()[0]:
        legend(ax, look, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, borderaxespad=0.2)
    return ax


def _zeros(data: History) -> str:
    return f" ({counted(data.zeros, 'norm')} of 0 not drawn)" if data.zeros else ""


def _layer(ax: Any, style: Any, line: Line) -> tuple[float, str, Any]:
    pooled = bands(line.steps, line.norms)
    ax.plot(
        pooled.x, pooled.quantiles[50], color=style.color, linestyle=style.dashes, linewidth=1.4,
        marker=style.marker if len(pooled.x) <= 12 else None, markersize=5, gid=line.name,
    )  # fmt: skip
    return float(pooled.quantiles[50][-1]), label(line.name, 18), style.color


def _whole(ax: Any, look: Look, line: Line) -> tuple[float, str, Any]:
    pooled = bands(line.steps, line.norms)
    if pooled.pooled > 1:
        ax.fill_between(pooled.x, pooled.quantiles[0], pooled.quantiles[100], color=look.ink, alpha=0.13, linewidth=0)
    ax.plot(
        pooled.x,
        pooled.quantiles[50],
        color=look.ink,
        linewidth=2.2,
        marker="." if len(pooled.x) <= 12 else None,
        gid="",
    )
    return float(pooled.quantiles[50][-1]), "whole model", look.ink


def _marks(ax: Any, look: Look, data: History) -> None:
    peak = _peak(data)
    if peak is not None:
        ax.plot(
            [peak[0]], [peak[1]], "^", color=look.ink, markersize=7, label=f"largest, {number(peak[1])}", clip_on=False
        )
    if len(data.clipped):
        ax.plot(
            data.clipped, np.full(len(data.clipped), 0.985), "|", transform=ax.get_xaxis_transform(), color=look.bad,
            markersize=7, label=f"clipped ({counted(len(data.clipped), 'step')})", rasterized=len(data.clipped) > 2000,
        )  # fmt: skip
    if data.level is not None:
        ax.axhline(data.level, color=look.bad, linestyle=":", linewidth=1.3, label=f"clipped to {number(data.level)}")
    if data.first_bad is not None:
        ax.axvline(
            data.first_bad,
            color=look.bad,
            linewidth=2,
            label=f"not finite from step {data.first_bad:,}",
            gid="first_bad",
        )
        ax.plot([data.first_bad], [0.5], "X", transform=ax.get_xaxis_transform(), color=look.bad, markersize=10)
