"""How much context the model makes use of: the loss when the state is reset k tokens before the scored one.

The same tokens are scored with 1, 2, 5, … tokens of context; the dashed line is their loss with all of it. Where the
curve meets the line, more context does no more good. The bars are one standard error of the difference to the line.
Where the record has it, the forgetting length stands beside it: after so many tokens two states that began
differently are the same, so that nothing older can matter.
"""

from dataclasses import dataclass
from typing import Any

from rnneval.records.run import Forgetting, Run
from rnneval.render.figures._style import begin, finish, legend, number, whole
from rnneval.render.words import counted

KINDS = ("rnneval.run/1",)
ORDER = 40
HEIGHT = 0.56
CLOSE = 0.01
"""Nats a token; what counts as no longer better."""


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What is drawn."""

    lengths: tuple[int, ...]
    nats: tuple[float, ...]
    errors: tuple[float, ...]
    whole: float
    anchors: int
    forgetting: Forgetting | None


def data_of(source: Run) -> Reach | None:
    """Take the context curve, where the run has one (`rnneval trace --context`)."""
    curve = None if isinstance(source, list) else source.context
    if curve is None or not curve.lengths:
        return None
    return Reach(
        lengths=curve.lengths,
        nats=curve.nats,
        errors=curve.extra_error,
        whole=curve.whole,
        anchors=curve.anchors,
        forgetting=source.streams.forgetting_length,
    )


def enough(data: Reach) -> int | None:
    """Give the shortest context from which on the loss stays within CLOSE of that with all of it."""
    far = [place for place, nats in enumerate(data.nats) if not nats - data.whole <= CLOSE]
    after = far[-1] + 1 if far else 0
    return data.lengths[after] if after < len(data.lengths) else None


def title_of(data: Reach) -> str:
    """Say how much context is as good as all of it."""
    length = enough(data)
    if length is None:
        return f"With {counted(data.lengths[-1], 'token')} of context the loss is still above that with all of it"
    verb = "is" if length == 1 else "are"
    return f"{counted(length, 'token')} of context {verb} as good as all of it"


def alt_of(data: Reach) -> str:
    """Say the curve."""
    points = ", ".join(f"{number(y)} at {k:,}" for k, y in zip(data.lengths, data.nats, strict=True))
    kept = data.forgetting
    forgets = (
        f" The state forgets its start after {whole(kept.median)} tokens (median; at most {whole(kept.max)})."
        if kept
        else ""
    )
    return (
        f"{title_of(data)} (to within {CLOSE} nats). Loss in nats a token by tokens of context, mean over "
        f"{counted(data.anchors, 'token')}: {points}; {number(data.whole)} with all of it.{forgets}"
    )


def draw(data: Reach, *, ax: Any = None) -> Any:
    """Draw the curve on `ax`; give the Axes."""
    ax, look = begin(ax)
    ax.set_xscale("log")
    ax.errorbar(
        data.lengths, data.nats, yerr=data.errors, color=look.good, marker="o", markersize=5, linewidth=1.8, capsize=2,
        label="state reset that many tokens before",
    )  # fmt: skip
    ax.axhline(data.whole, color=look.ink, linestyle="--", linewidth=1.1, label=f"all context, {number(data.whole)}")
    length = enough(data)
    if length is not None:
        y = data.nats[data.lengths.index(length)]
        ax.plot(
            [length], [y], marker="o", markersize=11, markerfacecolor="none", markeredgecolor=look.ink,
            linestyle="none", label=f"within {CLOSE} nats from {counted(length, 'token')}",
        )  # fmt: skip
    if data.forgetting is not None:
        kept = data.forgetting
        ax.axvline(
            kept.median, color=look.bad, linestyle=":", linewidth=1.8,
            label=f"state forgets its start: {whole(kept.median)} (median)",
        )  # fmt: skip
        if kept.p95 > kept.median:
            ax.axvspan(kept.median, kept.p95, color=look.bad, alpha=0.15, linewidth=0, label="… in 95 % of stretches")
    finish(ax, look, title=title_of(data), x="context (tokens, logarithmic)", y="loss (nats a token)")
    ax.set_xticks(data.lengths, [f"{k:,}" for k in data.lengths])
    ax.minorticks_off()
    legend(ax, look, loc="upper center", bbox_to_anchor=(0.46, -0.2), ncols=2, columnspacing=1.4)
    return ax
