"""The loss along the text: where the model finds it hard."""

from functools import partial
from typing import Any

import numpy as np

from rnneval.arrays import Doubles
from rnneval.records.run import Run, Score
from rnneval.render.figures._base import Figure
from rnneval.render.figures._style import Look, bands, counting, legend
from rnneval.render.phrasing import counted, interval, number

KINDS = ("rnneval.run/1",)
ORDER = 20
_WINDOW = 20  # parts of the text
_DOTS = 600  # more blocks are drawn as bands


def figure(run: Run) -> Figure | None:
    """Return the figure of the loss of each block that scored something; None without a finite one."""
    import pandas as pd

    given = run.blocks
    if "nats" not in given.sums or not any(given.tokens):
        return None
    columns = {"end": given.bytes, "document": given.document, "nats": given.sums["nats"], "tokens": given.tokens}
    blocks = pd.DataFrame(columns, dtype=np.float64)
    blocks["middle"] = (blocks["end"] + blocks["end"].shift(fill_value=0.0)) / 2
    size, ends = blocks["end"].iloc[-1], blocks.groupby("document", sort=False)["end"].max().iloc[:-1].to_numpy()
    scored = blocks[blocks["tokens"] > 0]
    blocks = scored[np.isfinite(scored["nats"])].reset_index(drop=True)
    if blocks.empty:
        return None
    # The loss of the blocks within a window around each, of the same document.
    window, sums = 2 * max(len(blocks) // _WINDOW // 2, 1) + 1, blocks[["nats", "tokens"]]
    running = sums.groupby(blocks["document"]).rolling(window, center=True, min_periods=1).sum().droplevel("document")
    blocks["mean"], blocks["running"] = blocks["nats"] / blocks["tokens"], running["nats"] / running["tokens"]
    mean, missing = blocks["nats"].sum() / blocks["tokens"].sum(), len(scored) - len(blocks)
    score = run.scores.get("cross_entropy")
    score = None if score is None or score.low is None else score
    note = f"The loss of {counted(missing, 'block')} is not finite and not drawn." if missing else ""
    title, along = _words(blocks, mean, score, size)
    documents = f"{counted(len(ends) + 1, 'document')}." if len(ends) else ""
    unit, unit_name = (1000.0, "kB") if size >= 10_000 else (1.0, "bytes")
    blocks["middle"] /= unit
    paint = partial(_paint, blocks=blocks, documents=ends / unit, size=size / unit, mean=mean, score=score, note=note)
    return Figure(
        title=title,
        alt=" ".join(filter(None, (along, documents, note))),
        x=f"position in the text ({unit_name})",
        y="loss (nats a token)",
        paint=paint,
        chapter="numbers",
    )


def _words(blocks: Any, mean: float, score: Score | None, size: float) -> tuple[str, str]:
    """Return the title, and the first sentence of the text alternative."""
    count, hardest, easiest = counted(len(blocks), "block"), blocks["running"].idxmax(), blocks["running"].idxmin()
    highest, lowest = (
        f"{_bytes(middle)} ({number(running)})"
        for middle, running in blocks.loc[[hardest, easiest], ["middle", "running"]].itertuples(index=False)
    )
    least, most = map(number, blocks["mean"].quantile([0.025, 0.975]))
    bounds = "" if score is None else f" (95 % interval {interval(score.low, score.high, number, ' to ')})"
    where = f"; hardest near {highest}" if len(blocks) >= 8 else f" over {count} of text"
    return f"{number(mean)} nats a token{where}", (
        f"Loss along {_bytes(size)} of text: {number(mean)} nats a token on average{bounds}; 95 % of {count} lie "
        f"between {least} and {most}; the running mean is highest near {highest} and lowest near {lowest}."
    )


def _bytes(count: float) -> str:
    return f"{number(count / 1000)} kB" if count >= 10_000 else f"byte {count:,.0f}"


def _paint(
    ax: Any, look: Look, *, blocks: Any, documents: Doubles, size: float, mean: float, score: Score | None, note: str
) -> None:
    if len(blocks) <= _DOTS:
        dots, alpha = (3.5, 0.6) if len(blocks) > 40 else (7, 1)
        ax.plot(blocks["middle"], blocks["mean"], ".", color=look.good, markersize=dots, alpha=alpha, label="a block")
    else:
        pooled, _ = bands(blocks["middle"].to_numpy(), blocks["mean"].to_numpy())
        for low, high, alpha in ((2.5, 97.5, 0.18), (25, 75, 0.3)):
            label = f"{high - low:.0f} % of blocks"
            ax.fill_between(pooled["x"], pooled[low], pooled[high], color=look.good, alpha=alpha, lw=0, label=label)
    if score is not None:
        ax.axhspan(score.low, score.high, color=look.ink, alpha=0.12, lw=0, label="95 % interval of the mean")
    ax.axhline(mean, color=look.ink, linewidth=1.1, linestyle="--", label=f"mean, {number(mean)}")
    label = "running mean"
    for _, part in blocks.groupby("document", sort=False):
        ax.plot(part["middle"], part["running"], color=look.bad, linewidth=2, label=label, gid="running mean")
        label = ""  # one line of the legend for all
    if len(documents):
        style = {"color": look.muted, "markersize": 9, "transform": ax.get_xaxis_transform(), "clip_on": False}
        ax.plot(documents, np.zeros(len(documents)), "|", label="document ends", **style)
    if note:
        ax.text(0.99, 0.02, note, transform=ax.transAxes, ha="right", fontsize="small")
    ax.set_xlim(0, size)
    counting(ax.xaxis)
    legend(ax)
