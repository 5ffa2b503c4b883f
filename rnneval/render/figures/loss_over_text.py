"""The loss along the text: where the model finds it hard.

Each dot is a block of the text (256 bytes or more), in nats a token; of a long text, shaded bands hold 50 % and 90 %
of neighbouring blocks. The line is a running mean over a twentieth of the text, weighted by tokens, begun anew in
each document. The dashed line is the mean of the whole, with its 95 % interval around it; ticks at the bottom are
where documents end.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnneval.records.run import Run
from rnneval.render.figures._style import Doubles, Look, bands, begin, counting, finish, legend, number
from rnneval.render.words import counted

KINDS = ("rnneval.run/1",)
ORDER = 20
HEIGHT = 0.56
_WINDOW = 20  # parts of the text


@dataclass(frozen=True, kw_only=True)
class Course:
    """What is drawn; all arrays `(blocks that scored something,)`."""

    middle: Doubles
    """Of each block, in bytes."""
    nats: Doubles
    """A token."""
    running: Doubles
    mean: float
    low: float | None
    high: float | None
    ends: tuple[int, ...]
    """Where documents end, the last one's left out."""
    bytes: int
    missing: int
    """Scored blocks whose loss is not finite."""


def data_of(source: Run) -> Course | None:
    """Take the blocks' losses; none where no block has one."""
    if isinstance(source, list):
        return None
    blocks = source.blocks
    ends = np.array(blocks.bytes, np.float64)
    tokens = np.array(blocks.tokens, np.float64)
    nats = np.array(blocks.sums.get("nats", ()), np.float64)
    if len(nats) != len(tokens) or not (tokens > 0).any():
        return None
    kept = (tokens > 0) & np.isfinite(nats)
    if not kept.any():
        return None
    starts = np.concatenate([[0.0], ends[:-1]])
    document = np.array(blocks.document)
    changed = np.flatnonzero(np.diff(document))
    score = source.scores.get("cross_entropy")
    return Course(
        middle=((starts + ends) / 2)[kept],
        nats=nats[kept] / tokens[kept],
        running=_running(nats[kept], tokens[kept], document[kept]),
        mean=float(nats[kept].sum() / tokens[kept].sum()),
        low=score.low if score else None,
        high=score.high if score else None,
        ends=tuple(int(ends[k]) for k in changed),
        bytes=int(ends[-1]),
        missing=int(((tokens > 0) & ~np.isfinite(nats)).sum()),
    )


def _running(nats: Doubles, tokens: Doubles, document: Any) -> Doubles:
    """Mean of the blocks within a window around each, of the same document, weighted by tokens."""
    half = max(len(nats) // _WINDOW // 2, 1)
    sums = np.concatenate([[0.0], np.cumsum(nats)])
    counts = np.concatenate([[0.0], np.cumsum(tokens)])
    place = np.arange(len(nats))
    first = np.searchsorted(document, document, side="left")
    after = np.searchsorted(document, document, side="right")
    low, high = np.maximum(place - half, first), np.minimum(place + half + 1, after)
    return np.asarray((sums[high] - sums[low]) / (counts[high] - counts[low]))


def title_of(data: Course) -> str:
    """Say the mean, and where the running mean is highest."""
    if len(data.nats) < 8:
        return f"{number(data.mean)} nats a token over {counted(len(data.nats), 'block')} of text"
    place = int(np.argmax(data.running))
    most = float(data.running[place])
    where = f"hardest near {_bytes(data.middle[place])} ({number(most)})"
    return f"{number(data.mean)} nats a token; {where}"


def alt_of(data: Course) -> str:
    """Say mean, interval, range and what is missing."""
    low, high = np.quantile(data.nats, (0.05, 0.95))
    interval = (
        f" (95 % interval {number(data.low)} to {number(data.high)})"
        if data.low is not None and data.high is not None
        else ""
    )
    place, least = int(np.argmax(data.running)), int(np.argmin(data.running))
    documents = f" {counted(len(data.ends) + 1, 'document')}." if data.ends else ""
    return (
        f"Loss along {_bytes(data.bytes)} of text: {number(data.mean)} nats a token on average{interval}; 90 % of "
        f"{counted(len(data.nats), 'block')} lie between {number(low)} and {number(high)}; the running mean is highest "
        f"near {_bytes(data.middle[place])} ({number(data.running[place])}) and lowest near "
        f"{_bytes(data.middle[least])} ({number(data.running[least])}).{documents}{_missing(data)}"
    )


def _missing(data: Course) -> str:
    return f" The loss of {counted(data.missing, 'block')} is not finite and not drawn." if data.missing else ""


def _bytes(count: float) -> str:
    return f"{number(count / 1000)} kB" if count >= 10_000 else f"byte {count:,.0f}"


def draw(data: Course, *, ax: Any = None) -> Any:
    """Draw the loss along the text on `ax`; give the Axes."""
    ax, look = begin(ax)
    unit, name = (1000.0, "kB") if data.bytes >= 10_000 else (1.0, "bytes")
    _blocks(ax, look, data, unit)
    if data.low is not None and data.high is not None:
        ax.axhspan(data.low, data.high, color=look.ink, alpha=0.12, linewidth=0, label="95 % interval of the mean")
    ax.axhline(data.mean, color=look.ink, linewidth=1.1, linestyle="--", label=f"mean, {number(data.mean)}")
    middle, running = _broken(data)
    ax.plot(middle / unit, running, color=look.bad, linewidth=2, label="running mean")
    if data.ends:
        ax.plot(
            np.array(data.ends) / unit, np.zeros(len(data.ends)), marker="|", linestyle="none", color=look.muted,
            markersize=9, transform=ax.get_xaxis_transform(), clip_on=False, label="document ends",
        )  # fmt: skip
    ax.set_xlim(0, data.bytes / unit)
    finish(ax, look, title=title_of(data), x=f"position in the text ({name})", y="loss (nats a token)")
    if data.missing:
        ax.text(
            0.99, 0.02, _missing(data).strip(), transform=ax.transAxes, ha="right", fontsize="small", color=look.ink
        )
    counting(ax.xaxis)
    legend(ax, look, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, columnspacing=1.4)
    return ax


def _blocks(ax: Any, look: Look, data: Course, unit: float) -> None:
    if len(data.nats) <= 600:
        size, alpha = (3.5, 0.6) if len(data.nats) > 40 else (7, 1)
        ax.plot(data.middle / unit, data.nats, ".", color=look.good, markersize=size, alpha=alpha, label="a block")
        return
    pooled = bands(data.middle, data.nats)
    x = pooled.x / unit
    ax.fill_between(
        x, pooled.quantiles[5], pooled.quantiles[95], color=look.good, alpha=0.18, linewidth=0, label="90 % of blocks"
    )
    ax.fill_between(
        x, pooled.quantiles[25], pooled.quantiles[75], color=look.good, alpha=0.3, linewidth=0, label="50 % of blocks"
    )


def _broken(data: Course) -> tuple[Doubles, Doubles]:
    """The running mean with a gap where a document ends."""
    places = np.searchsorted(data.middle, data.ends)
    places = places[(places > 0) & (places < len(data.middle))]
    return np.insert(data.middle, places, np.nan), np.insert(data.running, places, np.nan)
