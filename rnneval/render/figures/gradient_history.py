"""Gradient norms in training: one line for each layer, step by step, on a logarithmic axis."""

from functools import partial
from typing import Any

import numpy as np

from rnneval.records.tables import GRADIENT_HISTORY
from rnneval.render.figures._base import Figure, TidyTable
from rnneval.render.figures._style import Look, bands, counting, end_labels, label, legend, styles
from rnneval.render.phrasing import counted, number, per_cent

KINDS = (GRADIENT_HISTORY,)
ORDER = 20
_LARGEST_NORM = 1e5
"""Largest norm of a gradient in a sound training run, also where the loss is a sum over a large batch."""
_JUMP, _BEFORE = 10, 50  # times the median, also of so many steps before, from which a norm is a jump
_LARGEST_UPDATE = 10.0  # largest change of all weights in one step, as a multiple of their norm


def figure(table: TidyTable) -> Figure | None:
    """Return the figure of a gradient history; None without norms and gradients that are not finite."""
    frame = table.frame[table.frame["variable"] == ""]
    frame = frame.assign(layer=frame["layer"].astype(str))
    is_norm, value = frame["statistic"] == "grad_norm", frame["value"]
    broken = frame[
        (frame["statistic"] == "not_finite") & (value > 0)
        | (is_norm | (frame["statistic"] == "weight_norm")) & ~np.isfinite(value)
    ]
    if not is_norm.any() and broken.empty:
        return None
    norms = frame[is_norm & (value > 0) & np.isfinite(value)].sort_values("step", kind="stable")
    whole = norms[norms["layer"] == ""].set_index("step")["value"]
    wide = frame[frame["layer"] == ""].pivot_table(index="step", columns="statistic", values="value", observed=True)
    wide = wide.reindex(columns=["grad_norm", "grad_norm_clipped", "update_ratio"])
    # By step, the norm after clipping where it was smaller than before.
    clipped = wide.loc[wide["grad_norm_clipped"] < wide["grad_norm"] * (1 - 1e-4), "grad_norm_clipped"]
    first_bad = int(broken["step"].min()) if len(broken) else None
    diverged = _diverged(whole, wide["update_ratio"].dropna(), first_bad)
    jumps = whole[:0] if diverged else _jumps(whole)
    title, last = diverged or _title(whole, jumps, len(clipped)), int(table.frame["step"].max())
    medians = norms[norms["layer"] != ""].groupby("layer", sort=False)["value"].median()
    layers = ", ".join(f"{label(name)} {number(median)}" for name, median in medians.items()) or "none"
    zeros = int((is_norm & (value <= 0)).sum())
    note = f" ({counted(zeros, 'norm')} of 0 not drawn)" if zeros else ""
    return Figure(
        title=title,
        alt=f"{title}. Gradient norms (L2) over {counted(last, 'step')}{note}; medians by layer: {layers}; clipped at "
        f"{counted(len(clipped), 'step')}.",
        x=f"training step{note}",
        y="gradient norm ‖g‖₂",
        paint=partial(_paint, norms=norms, clipped=clipped, first_bad=first_bad, jumps=jumps, last=last),
        diverged=bool(diverged),
    )


def _diverged(whole: Any, updates: Any, first_bad: int | None) -> str:
    """Return the title of a training run that broke: with a gradient that is not finite, or far too large; else ""."""
    if first_bad is not None:
        title = f"Gradients are not finite from step {first_bad:,} on"
        if (whole.index > first_bad).any():  # it recovered
            title = f"The first gradient that is not finite came at step {first_bad:,}"
        before = whole.get(first_bad - 1)
        return title if before is None else f"{title}; the norm of the step before was {number(before)}"
    cause = ""
    if len(whole) and whole.max() > _LARGEST_NORM:
        cause = f"the gradient norm reached {number(whole.max())} at step {whole.idxmax():,.0f}"
    elif len(updates) and updates.max() > _LARGEST_UPDATE:
        cause = f"step {updates.idxmax():,} changed the weights by {number(updates.max())} times their norm"
    return f"The training run diverged: {cause}" if cause else ""


def _jumps(whole: Any) -> Any:
    """Return the norms far above the median of all steps and of those before: a fall from large first ones is none."""
    before = whole.rolling(_BEFORE, min_periods=3).median().shift(1)
    return whole[(whole > _JUMP * whole.median()) & (whole > _JUMP * before)]


def _title(whole: Any, jumps: Any, clipped: int) -> str:
    """State the worst of a sound training run: a jump to over 10 times the median, much clipping, or neither."""
    if whole.empty:
        return "No gradient was larger than 0"
    median, most = whole.median(), whole.max()
    if len(jumps):
        times = f"{number(jumps.max() / median)} times its median"
        return f"The gradient norm jumped to {number(jumps.max())} at step {jumps.idxmax():,.0f}, {times}"
    if clipped >= 0.05 * len(whole):
        return f"Gradients were clipped in {per_cent(clipped / len(whole), '.0f')} of {counted(len(whole), 'step')}"
    if most > _JUMP * median:
        return f"Gradient norms fell from {number(most)} at step {whole.idxmax():,.0f} to a median of {number(median)}"
    return f"Gradient norms stayed even: median {number(median)}, largest {number(most)}"


def _paint(ax: Any, look: Look, *, norms: Any, clipped: Any, first_bad: int | None, jumps: Any, last: int) -> None:
    by_layer = norms.groupby("layer", sort=False)
    pooled = {layer: bands(*part[["step", "value"]].to_numpy(np.float64).T) for layer, part in by_layer}
    whole, together = pooled.pop("", (None, 1))
    few, ends = max((len(table) for table, _ in pooled.values()), default=0) <= 12, []
    for (layer, (table, _)), style in zip(pooled.items(), styles(look, len(pooled), marked=few), strict=True):
        ax.plot(table["x"], table[50], gid=layer, linewidth=1.4, markersize=5, **style)
        ends.append((table[50].iloc[-1], layer, style["color"]))
    if whole is not None:
        if together > 1:
            range_of = f"least to largest of {together} steps"
            ax.fill_between(whole["x"], whole[0], whole[100], color=look.ink, alpha=0.13, linewidth=0, label=range_of)
        ax.plot(whole["x"], whole[50], color=look.ink, linewidth=2.2, marker="." if few else None, gid="")
        ends.append((whole[50].iloc[-1], "whole model", look.ink))
    ax.set(yscale="log", xlim=(float(norms["step"].min() if len(norms) else 1) - 0.5, last + 0.5))
    counting(ax.xaxis)
    if len(jumps):
        text = f"largest, {number(jumps.max())}"
        ax.plot(jumps.idxmax(), jumps.max(), "^", color=look.ink, markersize=7, label=text, clip_on=False)
    marks = {"transform": ax.get_xaxis_transform(), "color": look.bad}
    if len(clipped):
        text, heights = f"clipped ({counted(len(clipped), 'step')})", np.full(len(clipped), 0.985)
        ax.plot(clipped.index, heights, "|", markersize=7, label=text, rasterized=len(clipped) > 2000, **marks)
        if np.ptp(clipped) <= 1e-3 * clipped.mean():  # clipping by norm gives the same norm each time
            text = f"clipped to {number(clipped.median())}"
            ax.axhline(clipped.median(), color=look.bad, linestyle=":", linewidth=1.3, label=text)
    if first_bad is not None:
        text = f"first not finite: step {first_bad:,}"
        ax.axvline(first_bad, color=look.bad, linewidth=2, label=text, gid="first_bad")
        ax.plot(first_bad, 0.5, "X", markersize=10, **marks)
    if not ends:
        ax.set_yticks([])  # nothing finite: no size to read
        ax.minorticks_off()
    end_labels(ax, ends)
    legend(ax)
