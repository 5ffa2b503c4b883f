"""Gradient norms in training: one line for each layer, step by step, on a logarithmic axis."""

from functools import partial
from typing import Any

import numpy as np

from rnneval.records.tables import GRADIENT_HISTORY
from rnneval.render.figures._base import Figure, Table
from rnneval.render.figures._style import Look, bands, counting, end_labels, label, legend, lines, percent, pooled_by
from rnneval.render.phrasing import counted, number

KINDS = (GRADIENT_HISTORY,)
ORDER = 20
_LARGEST_NORM = 1e5
"""Largest norm of a gradient in a sound training run, also where the loss is a sum over a large batch."""
_LARGEST_UPDATE = 10.0
"""Largest change of all weights in one step, as a multiple of their norm."""


def figure(table: Table) -> Figure | None:
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
    model_norms = norms[norms["layer"] == ""]
    wide = frame[frame["layer"] == ""].pivot_table(index="step", columns="statistic", values="value", observed=True)
    wide = wide.reindex(columns=["grad_norm", "grad_norm_clipped", "update_ratio"])
    # By step, the norm after clipping where it was smaller than before.
    clipped = wide.loc[wide["grad_norm_clipped"] < wide["grad_norm"] * (1 - 1e-4), "grad_norm_clipped"]
    first_bad = int(broken["step"].min()) if len(broken) else None
    diverged = _broken(model_norms, first_bad) if first_bad is not None else _diverged(model_norms, wide)
    title, peak = (diverged, None) if diverged else _title(model_norms, len(clipped))
    last = int(table.frame["step"].max())
    medians = norms[norms["layer"] != ""].groupby("layer", sort=False)["value"].median()
    parts = [f"{title}.", f"Gradient norms (L2) over {counted(last, 'step')}."]
    if len(medians):
        parts.append(f"Medians by layer: {', '.join(f'{label(name)} {number(v)}' for name, v in medians.items())}.")
    parts.append(f"Clipped at {counted(len(clipped), 'step')}." if len(clipped) else "Never clipped.")
    if first_bad is not None:
        layers = [label(name) for name in broken.loc[broken["step"] == first_bad, "layer"].unique() if name]
        parts.append(f"First not finite at step {first_bad:,}, in {', '.join(layers)}.")
    note = f"{counted(zeros, 'norm')} of 0 not drawn" if zeros else ""
    pooled = max((pooled_by(len(part)) for _, part in norms.groupby("layer")), default=1) > 1
    marks = {"clipp": len(clipped), "vertical line": first_bad is not None, "median of neighbouring": pooled}
    return Figure(
        title=title,
        alt=" ".join([*parts, f"{note}."] if note else parts),
        x=f"training step ({note})" if note else "training step",
        y="gradient norm ‖g‖₂",
        paint=partial(_paint, norms=norms, clipped=clipped, first_bad=first_bad, peak=peak, last=last),
        marks=marks,
        diverged=bool(diverged),
    )


def _broken(model_norms: Any, first_bad: int) -> str:
    """Return the title of a training with gradients that are not finite: since when, and the norm just before."""
    steps = model_norms["step"]
    title = f"Gradients are not finite from step {first_bad:,} on"
    if (steps > first_bad).any():  # it recovered
        title = f"The first gradient that is not finite came at step {first_bad:,}"
    before = model_norms.loc[steps == first_bad - 1, "value"]
    return f"{title}; the norm of the step before was {number(before.iloc[-1])}" if len(before) else title


def _diverged(model_norms: Any, wide: Any) -> str:
    """Return the title of a training run with a norm or a step beyond any of a sound one; "" for others."""
    peak = model_norms.loc[model_norms["value"].idxmax()] if len(model_norms) else None
    if peak is not None and peak["value"] > _LARGEST_NORM:
        norm, step = number(peak["value"]), f"{peak['step']:,.0f}"
        return f"The training run diverged: the gradient norm reached {norm} at step {step}"
    updates = wide["update_ratio"].dropna()
    if len(updates) and updates.max() > _LARGEST_UPDATE:
        times, step = number(updates.max()), f"{updates.idxmax():,}"
        return f"The training run diverged: step {step} changed the weights by {times} times their norm"
    return ""


def _title(model_norms: Any, clipped: int) -> tuple[str, Any]:
    """Return the title, which states the worst, and the row of the largest norm if it stands out.

    That is a jump to over 10 times the median, or much clipping; else the norms are even.
    """
    norms = model_norms["value"]
    if norms.empty:
        return "No gradient was larger than 0", None
    median, most = norms.median(), norms.max()
    if len(norms) > 2 and most > 10 * median:
        peak = model_norms.iloc[norms.argmax()]
        step = f"step {peak['step']:,.0f}"
        return f"The gradient norm jumped to {number(most)} at {step}, {number(most / median)} times its median", peak
    if clipped >= 0.05 * len(norms):
        return f"Gradients were clipped in {percent(clipped / len(norms))} of {counted(len(norms), 'step')}", None
    return f"Gradient norms stayed even: median {number(median)}, largest {number(most)}", None


def _paint(ax: Any, look: Look, *, norms: Any, clipped: Any, first_bad: int | None, peak: Any, last: int) -> None:
    import pandas as pd

    tables, ends = {}, []
    for layer, part in norms.groupby("layer", sort=False):
        steps, values = part[["step", "value"]].to_numpy(np.float64).T
        tables[layer] = bands(steps, values)[0].assign(layer=layer)  # quantiles of neighbouring steps: columns 0 to 100
    model_band = tables.pop("", None)
    few = max(map(len, tables.values()), default=0) <= 12
    if tables:
        medians = pd.concat(tables.values()).rename(columns={50: "norm"})
        drawn = lines(ax, look, medians, x="x", y="norm", by="layer", marked=few, linewidth=1.4, markersize=5)
        ends = [(line.get_ydata()[-1], line.get_gid(), line.get_color()) for line in drawn]
    if model_band is not None:
        ax.fill_between(model_band["x"], model_band[0], model_band[100], color=look.ink, alpha=0.13, linewidth=0)
        ax.plot(model_band["x"], model_band[50], color=look.ink, linewidth=2.2, marker="." if few else None, gid="")
        ends.append((model_band[50].iloc[-1], "whole model", look.ink))
    ax.set_yscale("log")
    ax.set_xlim(float(norms["step"].min() if len(norms) else 1) - 0.5, last + 0.5)
    counting(ax.xaxis)
    _marks(ax, look, clipped, first_bad, peak)
    if not ends:
        ax.set_yticks([])  # nothing finite: no size to read
        ax.minorticks_off()
    end_labels(ax, ends)
    legend(ax, "above", ncols=3)


def _marks(ax: Any, look: Look, clipped: Any, first_bad: int | None, peak: Any) -> None:
    """Mark the jump, the clipped steps, the level they were clipped to, and the first step that is not finite."""
    top = ax.get_xaxis_transform()
    if peak is not None:
        text = f"largest, {number(peak['value'])}"
        ax.plot(peak["step"], peak["value"], "^", color=look.ink, markersize=7, label=text, clip_on=False)
    if len(clipped):
        ax.plot(
            clipped.index, np.full(len(clipped), 0.985), "|", transform=top, color=look.bad, markersize=7,
            label=f"clipped ({counted(len(clipped), 'step')})", rasterized=len(clipped) > 2000,
        )  # fmt: skip
        if np.ptp(clipped) <= 1e-3 * clipped.mean():  # clipping by norm gives the same norm each time
            text = f"clipped to {number(clipped.median())}"
            ax.axhline(clipped.median(), color=look.bad, linestyle=":", linewidth=1.3, label=text)
    if first_bad is not None:
        ax.axvline(
            first_bad, color=look.bad, linewidth=2, label=f"first not finite: step {first_bad:,}", gid="first_bad"
        )
        ax.plot(first_bad, 0.5, "X", transform=top, color=look.bad, markersize=10)
