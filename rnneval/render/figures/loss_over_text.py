"""The loss along the text: where the model finds it hard.

Each dot is a block of the text (256 bytes or more), in nats a token; of a long text, shaded bands hold 50 % and 95 % of
neighbouring blocks. The line is a running mean over a twentieth of the text, weighted by tokens; it starts anew in each
document. The dashed line is the mean of the whole text, with its 95 % interval around it; ticks at the bottom mark
where documents end.
"""

from functools import partial
from typing import Any

import numpy as np

from rnneval.records.run import Run, Score
from rnneval.render.figures._base import Figure
from rnneval.render.figures._style import Doubles, Look, bands, counting, draw, legend, number
from rnneval.render.phrasing import counted

KINDS = ("rnneval.run/1",)
ORDER = 20
SEABORN = "lineplot"
_WINDOW = 20  # parts of the text


def figure(run: Run) -> Figure | None:
    """Return the figure of the loss of each block that scored something; None if no block has a finite loss."""
    import pandas as pd

    blocks = run.blocks
    nats = blocks.sums.get("nats", ())
    if len(nats) != len(blocks.tokens) or not any(blocks.tokens):
        return None
    ends = np.array(blocks.bytes, np.float64)
    table = pd.DataFrame({"end": ends, "tokens": blocks.tokens, "nats": nats, "document": blocks.document})
    table["middle"] = (table["end"] + table["end"].shift(fill_value=0.0)) / 2
    scored = table[table["tokens"] > 0]
    kept = scored[np.isfinite(scored["nats"])].reset_index(drop=True)
    if kept.empty:
        return None
    kept = kept.assign(mean=kept["nats"] / kept["tokens"], running=_running(kept))
    documents = table.groupby("document", sort=False)["end"].max().iloc[:-1].to_numpy()
    missing = len(scored) - len(kept)
    note = f"The loss of {counted(missing, 'block')} is not finite and not drawn." if missing else ""
    mean = float(kept["nats"].sum() / kept["tokens"].sum())
    most, least = kept.loc[kept["running"].idxmax()], kept.loc[kept["running"].idxmin()]
    title = f"{number(mean)} nats a token; hardest near {_bytes(most['middle'])} ({number(most['running'])})"
    if len(kept) < 8:
        title = f"{number(mean)} nats a token over {counted(len(kept), 'block')} of text"
    score = run.scores.get("cross_entropy")
    low, high = kept["mean"].quantile([0.025, 0.975])
    parts = [
        f"Loss along {_bytes(ends[-1])} of text: {number(mean)} nats a token on average{_interval(score)}; 95 % of "
        f"{counted(len(kept), 'block')} lie between {number(low)} and {number(high)}; the running mean is highest near "
        f"{_bytes(most['middle'])} ({number(most['running'])}) and lowest near {_bytes(least['middle'])} "
        f"({number(least['running'])})."
    ]
    parts += [f"{counted(len(documents) + 1, 'document')}."] * bool(len(documents)) + [note] * bool(note)
    return Figure(
        title=title,
        alt=" ".join(parts),
        height=0.56,
        x=f"position in the text ({_unit(ends[-1])[1]})",
        y="loss (nats a token)",
        paint=partial(
            _paint, blocks=kept, documents=documents, size=float(ends[-1]), mean=mean, score=score, note=note
        ),
        chapter="numbers",
    )


def _running(blocks: Any) -> Any:
    """Return the mean of the blocks within a window around each, of the same document, weighted by tokens."""
    half = max(len(blocks) // _WINDOW // 2, 1)
    documents = blocks.groupby("document")[["nats", "tokens"]]
    sums = documents.rolling(2 * half + 1, center=True, min_periods=1).sum().droplevel("document")
    return sums["nats"] / sums["tokens"]


def _interval(score: Score | None) -> str:
    if score is None or score.low is None or score.high is None:
        return ""
    return f" (95 % interval {number(score.low)} to {number(score.high)})"


def _bytes(count: float) -> str:
    return f"{number(count / 1000)} kB" if count >= 10_000 else f"byte {count:,.0f}"


def _unit(size: float) -> tuple[float, str]:
    return (1000.0, "kB") if size >= 10_000 else (1.0, "bytes")


def _paint(
    ax: Any, look: Look, *, blocks: Any, documents: Doubles, size: float, mean: float, score: Score | None, note: str
) -> None:
    unit = _unit(size)[0]
    if len(blocks) <= 600:
        dots, alpha = (3.5, 0.6) if len(blocks) > 40 else (7, 1)
        x = blocks["middle"] / unit
        ax.plot(x, blocks["mean"], ".", color=look.good, markersize=dots, alpha=alpha, label="a block")
    else:
        pooled, _ = bands(blocks["middle"].to_numpy() / unit, blocks["mean"].to_numpy())
        for low, high, alpha in ((2.5, 97.5, 0.18), (25, 75, 0.3)):
            label = f"{high - low:.0f} % of blocks"
            ax.fill_between(pooled["x"], pooled[low], pooled[high], color=look.good, alpha=alpha, lw=0, label=label)
    if score is not None and score.low is not None and score.high is not None:
        label = "95 % interval of the mean"
        ax.axhspan(score.low, score.high, color=look.ink, alpha=0.12, linewidth=0, label=label)
    ax.axhline(mean, color=look.ink, linewidth=1.1, linestyle="--", label=f"mean, {number(mean)}")
    before = len(ax.lines)
    draw(  # a line for each document
        "lineplot", ax, look, x=blocks["middle"] / unit, y=blocks["running"], units=blocks["document"],
        estimator=None, color=look.bad, linewidth=2, legend=False, gid="running mean",
    )  # fmt: skip
    ax.lines[before].set_label("running mean")
    if len(documents):
        ax.plot(
            documents / unit, np.zeros(len(documents)), "|", color=look.muted, markersize=9,
            transform=ax.get_xaxis_transform(), clip_on=False, label="document ends",
        )  # fmt: skip
    if note:
        ax.text(0.99, 0.02, note, transform=ax.transAxes, ha="right", fontsize="small")
    ax.set_xlim(0, size / unit)
    counting(ax.xaxis)
    legend(ax, "below", ncols=3)
