"""Loss by context: the loss when the state is reset k tokens before the scored token."""

from functools import partial
from typing import Any

from rnneval.records.run import ContextCurve, Forgetting, Run
from rnneval.render.figures._base import Figure
from rnneval.render.figures._style import Look, legend, narrow, ring
from rnneval.render.phrasing import counted, number

KINDS = ("rnneval.run/1",)
ORDER = 40
CLOSE = 0.01  # largest difference to the loss with full context, in nats a token, that counts as none


def figure(run: Run) -> Figure | None:
    """Return the figure of a run's context curve; None if it has none (`rnneval trace --context` makes it)."""
    curve, kept = run.context, run.forgetting
    if curve is None or not curve.lengths:
        return None
    # The shortest context from which on the loss stays within CLOSE of that with full context.
    far = [place for place, nats in enumerate(curve.nats) if not nats - curve.whole <= CLOSE]
    length = next(iter(curve.lengths[far[-1] + 1 if far else 0 :]), None)
    title = f"With {counted(curve.lengths[-1], 'token')} of context the loss is still above the loss with full context"
    if length is not None:
        title = f"{counted(length, 'token')} of context {'is' if length == 1 else 'are'} as good as the full context"
    least, best = min(zip(curve.nats, curve.lengths, strict=True))
    if curve.whole - least > CLOSE:
        title = f"The full context costs {number(curve.whole - least)} nats more than {counted(best, 'token')} of it"
    points = ", ".join(f"{number(y)} at {k:,}" for k, y in zip(curve.lengths, curve.nats, strict=True))
    forgets = ""
    if kept is not None:
        forgets = f" The state forgets its start within {kept.median:,.0f} tokens (median; at most {kept.max:,.0f})."
    return Figure(
        title=title,
        alt=f"{title} (to within {CLOSE} nats). Loss in nats a token by tokens of context, mean over "
        f"{counted(curve.anchors, 'token')}: {points}; {number(curve.whole)} with full context.{forgets}",
        x="context (tokens, logarithmic)",
        y="loss (nats a token)",
        paint=partial(_paint, curve, length, kept),
    )


def _paint(curve: ContextCurve, length: int | None, forgetting: Forgetting | None, ax: Any, look: Look) -> None:
    ax.set_xscale("log")
    bars = [1.96 * error for error in curve.extra_error]
    ax.errorbar(curve.lengths, curve.nats, yerr=bars, fmt="none", ecolor=look.good, capsize=2)
    style = {"color": look.good, "marker": "o", "markersize": 5, "markeredgewidth": 0, "linewidth": 1.8}
    ax.plot(curve.lengths, curve.nats, label="state reset that many tokens before", **style)
    ax.axhline(curve.whole, color=look.ink, linestyle="--", linewidth=1.1, label=f"full context, {number(curve.whole)}")
    if length is not None:
        close = f"within {CLOSE} nats from {counted(length, 'token')}"
        ring(ax, look, length, curve.nats[curve.lengths.index(length)], close)
    if forgetting is not None:
        forgets = f"state forgets its start within {forgetting.median:,.0f} (median)"
        ax.axvline(forgetting.median, color=look.bad, linestyle=":", linewidth=1.8, label=forgets)
        if forgetting.p95 > forgetting.median:
            most = "… in 95 % of excerpts"
            ax.axvspan(forgetting.median, forgetting.p95, color=look.bad, alpha=0.15, linewidth=0, label=most)
    named = curve.lengths[:: 2 if narrow(ax) else 1]
    ax.set_xticks(curve.lengths, [f"{k:,}" if k in named else "" for k in curve.lengths])
    ax.minorticks_off()
    legend(ax, ncols=2)
