"""KL of a candidate along the text, and by position in a call."""

from functools import partial
from typing import Any

import numpy as np

from rnneval.records import Parity
from rnneval.records.parity import ByPosition
from rnneval.render.figures._base import Figure
from rnneval.render.figures._style import SMALLEST, Look, legend
from rnneval.render.parity_document import first_in_words
from rnneval.render.phrasing import file_name

KINDS = ("rnneval.parity/1",)
ORDER = 5
_SMALLEST = 1e-16  # what is drawn for 0


def figure(record: Parity) -> Figure | None:
    """Return the figure of both curves; None of a candidate whose logits are not finite."""
    if record.by_position is None or record.kl is None:
        return None
    name = file_name(record.candidate.checkpoint.title)
    title = f"{name}: {record.verdict}{f', {record.fault}' if record.fault else ''}"
    return Figure(
        title=title,
        alt=f"{title}. {first_in_words(record)}. Mean KL {record.kl.mean:.2g} nats a token, largest "
        f"{record.kl.largest:.2g}; the limit of rounding is {record.floor.limit:.2g}.",
        x="position (tokens): along the text, and in a call of the candidate",
        y="KL(reference ‖ candidate), nats a token",
        paint=partial(_paint, record, record.by_position),
        chapter="numbers",
    )


def _paint(record: Parity, along: ByPosition, ax: Any, look: Look) -> None:
    in_call, x = record.in_call, _middles(along)
    low, high = _drawn(along.floor_low), _drawn(along.floor_high)
    ax.fill_between(x, low, high, color=look.muted, alpha=0.3, linewidth=0, label="floor: reference against itself")
    style = {"marker": "o", "markersize": 3, "label": "along the text", "gid": "text"}
    ax.plot(x, _drawn(along.mean_kl), color=look.palette[0], **style)
    if in_call is not None:
        style = {"marker": "s", "markersize": 3, "label": "in a call, from the second on", "gid": "call"}
        ax.plot(_middles(in_call), _drawn(in_call.mean_kl), color=look.palette[1], dashes=(4, 1.6), **style)
    ax.axhline(record.floor.limit, color=look.muted, linestyle=":", label="limit of rounding", gid="limit")
    if record.first_hand_over is not None:
        ax.axvline(record.first_hand_over + 1, color=look.muted, linewidth=0.8, gid="hand-over")
        place = (record.first_hand_over + 1, 0.02)
        style = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "fontsize": SMALLEST}
        ax.annotate("first hand-over", place, (3, 0), **style)
    ax.set(xscale="log", yscale="log")
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0e}".replace("e-0", "e-"))
    legend(ax, ncols=2)


def _middles(bins: ByPosition) -> Any:
    """Return the middle of each bin on the logarithmic axis, positions counted from 1."""
    edges = np.asarray(bins.edges) + 1.0
    return np.sqrt(edges[:-1] * np.maximum(edges[1:] - 1, edges[:-1]))


def _drawn(values: tuple[float, ...]) -> Any:
    return np.maximum(np.asarray(values), _SMALLEST)
