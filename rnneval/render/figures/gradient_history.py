"""Gradient norms in training: one line for each layer, step by step, on a logarithmic axis."""

from functools import partial
from typing import Any

import numpy as np

from rnneval.records.tables import GRADIENT_HISTORY
from rnneval.render.figures._base import Figure, TidyTable
from rnneval.render.figures._style import Look, bands, counting, end_labels, label, legend, percent, styles
from rnneval.render.phrasing import counted, number

KINDS = (GRADIENT_HISTORY,)
ORDER = 20
_LARGEST_NORM = 1e5
"""Largest norm of a gradient in a sound training run, also where the loss is a sum over a large batch."""
_LARGEST_UPDATE = 10.0
"""Largest change of all weights in one step, as a multiple of their norm."""


def figure(table: TidyTable) -> Figure | None:
    """Return the figure of a gradient history; None without norms and gradients that are not finite."""
    frame = table.frame[table.frame["variable"] == ""]
    frame = frame.assign(layer=frame["layer"].astype(str))
    norms = frame[frame["statistic"] == "grad_norm"]
    broken = frame[
        (frame["statistic"] == "not_finite") & (frame["value"] > 0)
        | frame["statistic"].isin(["grad_norm", "weight_norm"]) & ~np.isfinite(frame["value"])
    ]
    if norms.empty and broken.empty:
        return None
    zeros = int((norms["value"] <= 0).sum())
    norms = norms[(norms["value"] > 0) & np.isfinite(norms["value"])].sort_values("step", kind="stable")
    whole = norms[norms["layer"] == ""].set_index("step")["value"]
    wide = frame[frame["layer"] == ""].pivot_table(index="step", columns="statistic", values="value", observed=True)
    wide = wide.reindex(columns=["grad_norm", "grad_norm_clipped", "update_ratio"])
    # By step, the norm after clipping where it was smaller than before.
    clipped = wide.loc[wide["grad_norm_clipped"] < wide["grad_norm"] * (1 - 1e-4), "grad_norm_clipped"]
    first_bad = int(broken["step"].min()) if len(broken) else None
    diverged = _diverged(whole, wide["update_ratio"].dropna(), first_bad)
    jumps = whole[whole > 10 * whole.median()] if len(whole) > 2 and not diverged else whole[:0]
    title, last = diverged or _title(whole, jumps, len(clipped)), int(table.frame["step"].max())
    medians = norms[norms["layer"] != ""].groupby("layer", sort=False)["value"].median()
    layers = ", ".join(f"{label(name)} {number(value)}" for name, value in medians.items()) or "none"
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
    if len(whole) and whole.max() > _LARGEST_NORM:
        norm, step = number(whole.max()), f"{whole.idxmax():,.0f}"
        return f"The training run diverged: the gradient norm reached {norm} at step {step}"
    if len(updates) and updates.max() > _LARGEST_UPDATE:
        times, step = number(updates.max()), f"{updates.idxmax():,}"
        return f"The training run diverged: step {step} changed the weights by {times} times their norm"
    return ""


def _title(whole: Any, jumps: Any, clipped: int) -> str:
    """State the worst of a sound training run: a jump to over 10 times the median, much clipping, or neither."""
    if whole.empty:
        return "No gradient was larger than 0"
    median, most = whole.median(), whole.max()
    if len(jumps):
        times = f"{number(most / median)} times its median"
        return f"The gradient norm jumped to {number(most)} at step {whole.idxmax():,.0f}, {times}"
    if clipped >= 0.05 * len(whole):
        return f"Gradients were clipped in {percent(clipped / len(whole))} of {counted(len(whole), 'step')}"
    return f"Gradient norms stayed even: median {number(median)}, largest {number(most)}"


def _paint(ax: Any, look: Look, *, norms: Any, clipped: Any, first_bad: int | None, jumps: Any, last: int) -> None:
    # Quantiles of neighbouring steps: columns 0 to 100.
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
    top = ax.get_xaxis_transform()
    if len(jumps):
        text = f"largest, {number(jumps.max())}"
        ax.plot(jumps.idxmax(), jumps.max(), "^", color=look.ink, markersize=7, label=text, clip_on=False)
    if len(clipped):
        text, heights = f"clipped ({counted(len(clipped), 'step')})", np.full(len(clipped), 0.985)
        many = len(clipped) > 2000
        ax.plot(clipped.index, heights, "|", transform=top, color=look.bad, markersize=7, label=text, rasterized=many)
        if np.ptp(clipped) <= 1e-3 * clipped.mean():  # clipping by norm gives the same norm each time
            text = f"clipped to {number(clipped.median())}"
            ax.axhline(clipped.median(), color=look.bad, linestyle=":", linewidth=1.3, label=text)
    if first_bad is not None:
        text = f"first not finite: step {first_bad:,}"
        ax.axvline(first_bad, color=look.bad, linewidth=2, label=text, gid="first_bad")
        ax.plot(first_bad, 0.5, "X", transform=top, color=look.bad, markersize=10)
    if not ends:
        ax.set_yticks([])  # nothing finite: no size to read
        ax.minorticks_off()
    end_labels(ax, ends)
    legend(ax)
