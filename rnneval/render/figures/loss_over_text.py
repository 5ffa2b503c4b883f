"""The loss along the text: where the model finds it hard."""

from functools import partial
from typing import Any

import numpy as np

from rnneval.gates.clusters import UNITS, Statistic, columns_of, statistic_of
from rnneval.gates.sides import is_lossy
from rnneval.metrics import Metric, UnavailableError, by_name
from rnneval.records.run import Run, Score
from rnneval.render.figures._base import Figure, require_metric
from rnneval.render.figures._style import Doubles, Look, bands, counting, legend
from rnneval.render.phrasing import counted, interval, number

KINDS = ("rnneval.run/1",)
ORDER = 20
_LOSS = "cross_entropy"
_WINDOW = 20  # parts of the text
_DOTS = 600
"""More blocks are drawn as bands."""


def figure(run: Run, metric: str | None = None) -> Figure | None:
    """Return the figure of the loss, or another score, of each block that scored something; None without a finite one.

    Of perplexities, the mean is geometric.
    """
    import pandas as pd

    known = by_name()
    of_blocks = [name for name in run.scores if name in known and not known[name].biased_upwards]
    require_metric(metric, of_blocks, "a block of the text")
    measured = known[metric or _LOSS]
    blocks = run.blocks
    names = tuple(blocks.sums)
    if "nats" not in names or not any(blocks.tokens):
        return None
    score_of = partial(_score, measured, statistic_of(measured, names, lossless=not is_lossy(run)))
    ends = pd.Series(blocks.bytes, dtype=np.float64)
    table = pd.DataFrame({"end": ends, "middle": (ends + ends.shift(fill_value=0.0)) / 2, "document": blocks.document})
    sums = pd.DataFrame(columns_of(blocks, names).T, columns=[*range(UNITS), *names])
    scored = np.array(blocks.tokens) > 0
    finite = scored & np.isfinite(sums["nats"])
    kept, sums = table[finite].reset_index(drop=True), sums[finite].reset_index(drop=True)
    mean = score_of(sums.to_numpy().sum(axis=0))
    if not np.isfinite(mean):
        return None
    # The sums of the blocks within a window around each, of the same document.
    window = 2 * max(len(sums) // _WINDOW // 2, 1) + 1
    running = sums.groupby(kept["document"]).rolling(window, center=True, min_periods=1).sum().droplevel("document")
    kept = kept.assign(mean=list(map(score_of, sums.to_numpy())), running=list(map(score_of, running.to_numpy())))
    documents = table.groupby("document", sort=False)["end"].max().iloc[:-1].to_numpy()
    missing = int(scored.sum() - finite.sum())
    note = f"The loss of {counted(missing, 'block')} is not finite and not drawn." if missing else ""
    size = float(ends.iloc[-1])
    score = run.scores.get(measured.name)
    score = None if score is None or score.low is None else score
    title, along = _words(kept, mean, score, size=_bytes(size), measured=measured)
    more = [f"{counted(len(documents) + 1, 'document')}."] if len(documents) else []
    unit, unit_name = (1000.0, "kB") if size >= 10_000 else (1.0, "bytes")
    return Figure(
        title=title,
        alt=" ".join(filter(None, [along, *more, note])),
        x=f"position in the text ({unit_name})",
        y=f"{'loss' if measured.name == _LOSS else measured.name.replace('_', ' ')} ({measured.unit})",
        paint=partial(
            _paint, blocks=kept, documents=documents, unit=unit, size=size, mean=mean, score=score, note=note
        ),
        chapter="numbers",
    )


def _score(measured: Metric, statistic: Statistic, sums: Doubles) -> float:
    """Return the metric of sums, `(quantities,)`; NaN if it has no value for them."""
    try:
        return measured.back(float(statistic(sums[:, None])[0]))
    except UnavailableError:
        return np.nan


def _words(blocks: Any, mean: float, score: Score | None, *, size: str, measured: Metric) -> tuple[str, str]:
    """Return the title, and the first sentence of the text alternative."""

    def place(block: Any) -> str:
        return f"near {_bytes(block['middle'])} ({number(block['running'])})"

    loss = measured.name == _LOSS
    count = counted(len(blocks), "block")
    what = "Loss" if loss else measured.name.replace("_", " ").capitalize()
    high, low = blocks.loc[blocks["running"].idxmax()], blocks.loc[blocks["running"].idxmin()]
    value = f"{number(mean)} nats a token" if loss else f"{what} {number(mean)}"
    hardest = f"; hardest {place(high if measured.worse > 0 else low)}"
    title = value + (hardest if len(blocks) >= 8 else f" over {count} of text")
    least, most = map(number, blocks["mean"].quantile([0.025, 0.975]))
    bounds = "" if score is None else f" (95 % interval {interval(score.low, score.high, number, ' to ')})"
    return title, (
        f"{what} along {size} of text: {number(mean)} {measured.unit} on average{bounds}; 95 % of {count} lie between "
        f"{least} and {most}; the running mean is highest {place(high)} and lowest {place(low)}."
    )


def _bytes(count: float) -> str:
    return f"{number(count / 1000)} kB" if count >= 10_000 else f"byte {count:,.0f}"


def _paint(
    ax: Any, look: Look, *, blocks: Any, documents: Doubles, unit: float, size: float, mean: float,
    score: Score | None, note: str,
) -> None:  # fmt: skip
    valued = blocks.dropna(subset="mean")
    if len(blocks) <= _DOTS:
        dots, alpha = (3.5, 0.6) if len(blocks) > 40 else (7, 1)
        x = valued["middle"] / unit
        ax.plot(x, valued["mean"], ".", color=look.good, markersize=dots, alpha=alpha, label="a block")
    else:
        pooled, _ = bands(valued["middle"].to_numpy() / unit, valued["mean"].to_numpy())
        for low, high, alpha in ((2.5, 97.5, 0.18), (25, 75, 0.3)):
            label = f"{high - low:.0f} % of blocks"
            ax.fill_between(pooled["x"], pooled[low], pooled[high], color=look.good, alpha=alpha, lw=0, label=label)
    if score is not None:
        ax.axhspan(score.low, score.high, color=look.ink, alpha=0.12, lw=0, label="95 % interval of the mean")
    ax.axhline(mean, color=look.ink, linewidth=1.1, linestyle="--", label=f"mean, {number(mean)}")
    label = "running mean"
    for _, part in blocks.groupby("document", sort=False):
        ax.plot(part["middle"] / unit, part["running"], color=look.bad, linewidth=2, label=label, gid="running mean")
        label = ""  # one line of the legend for all
    if len(documents):
        ax.plot(
            documents / unit, np.zeros(len(documents)), "|", color=look.muted, markersize=9,
            transform=ax.get_xaxis_transform(), clip_on=False, label="document ends",
        )  # fmt: skip
    if note:
        ax.text(0.99, 0.02, note, transform=ax.transAxes, ha="right", fontsize="small")
    ax.set_xlim(0, size / unit)
    counting(ax.xaxis)
    legend(ax)
