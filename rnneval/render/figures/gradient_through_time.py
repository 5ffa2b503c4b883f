"""How far back learning reaches: the gradient of one token's loss by the state k tokens before it.

A line a slot, the median over many tokens of the total derivative as a share of what it is at the first lag at which
the slot acts; the bands hold 90 % (drawn for one or two slots). Below the dashed line 99 % are gone; a mark shows
where a line goes below it for good. Where the lines fall before the truncation of training, longer segments would
teach no more; where they do not fall, training cut off what the model can remember.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnneval.records.gradients import Gradients, ThroughTime
from rnneval.render.figures._style import Style, begin, finish, halo, in_legend, label, legend, number, styles
from rnneval.render.words import counted

KINDS = ("rnneval.gradients/1",)
ORDER = 10
HEIGHT = 0.6
GONE = 0.01
_FLOOR = 1e-4


@dataclass(frozen=True, kw_only=True)
class Backwards:
    """What is drawn."""

    slots: dict[str, ThroughTime]
    truncation: int
    anchors: int

    @property
    def shown(self) -> int:
        """The last lag that is drawn: a little past where all lines are gone, past the truncation if that is near."""
        reached = [_last_above(course, _FLOOR) for course in self.slots.values()]
        far = max(len(course.median) - 1 for course in self.slots.values())
        wanted = max(reached) + 2
        return min(max(wanted, self.truncation + 2) if self.truncation <= 2 * wanted else wanted, far)


def _last_above(course: ThroughTime, floor: float) -> int:
    above = np.flatnonzero(np.array(course.median) >= floor)
    return int(above[-1]) if len(above) else 0


def data_of(source: Gradients) -> Backwards | None:
    """Take the courses through time, of slots that have one."""
    if isinstance(source, list):
        return None
    slots = {name: course for name, course in source.through_time.items() if course.median}
    return Backwards(slots=slots, truncation=source.truncation, anchors=source.anchors) if slots else None


def title_of(data: Backwards) -> str:
    """Say after how many tokens the gradient is gone everywhere, or where it is not."""
    lasting = [name for name, course in data.slots.items() if course.gone is None]
    if lasting:
        lags = max(len(data.slots[name].median) - 1 for name in lasting)
        return f"In {label(lasting[0])} the gradient still acts {counted(lags, 'token')} back"
    last = max(data.slots, key=lambda name: data.slots[name].gone or 0)
    length = counted(data.slots[last].gone or 0, "token")
    return f"99 % of the gradient is gone after {length} ({label(last)} lasts longest)"


def alt_of(data: Backwards) -> str:
    """Say for each slot when it is gone and how fast it falls."""
    rows = [
        f"{label(name)} "
        + (f"after {counted(course.gone, 'token')}" if course.gone is not None else "not within what was looked at")
        + f", by a factor of {number(course.decay)} a token"
        for name, course in data.slots.items()
    ]
    return (
        f"{title_of(data)}. Median over {counted(data.anchors, 'token')} of the gradient by lag; 99 % gone: "
        f"{'; '.join(rows)}. Truncation: {counted(data.truncation, 'token')}."
    )


def draw(data: Backwards, *, ax: Any = None) -> Any:
    """Draw the courses on `ax`; give the Axes."""
    ax, look = begin(ax)
    ax.set_yscale("log")
    shown = data.shown
    chosen = zip(styles(len(data.slots), look), data.slots.items(), strict=True)
    for style, (name, course) in chosen:
        _course(ax, style, name, course, shown, banded=len(data.slots) <= 2)
    top = max(max(course.high[: shown + 1]) for course in data.slots.values())
    ax.set_ylim(_FLOOR, max(top * 1.5, 2))
    ax.set_xlim(0, shown + 0.5)
    ax.axhline(GONE, color=look.muted, linestyle="--", linewidth=1)
    ax.annotate(
        "99 % gone below", (shown, GONE), (0, 3), textcoords="offset points", ha="right", fontsize="small",
        color=look.ink, path_effects=halo(look),
    )  # fmt: skip
    where = f"truncation: {counted(data.truncation, 'token')}"
    if data.truncation <= shown:
        ax.axvline(data.truncation, color=look.ink, linestyle=":", linewidth=1.8)
        place, side, text = (data.truncation, 0.97), "right", f"{where} "
    else:
        place, side, text = (shown, 0.97), "right", f"{where} →"
    ax.text(*place, text, transform=ax.get_xaxis_transform(), ha=side, va="top", fontsize="small", color=look.ink)
    finish(ax, look, title=title_of(data), x="lag (tokens back)", y="gradient, share of the first")
    size = "small" if len(data.slots) <= 8 else "x-small" if len(data.slots) <= 16 else "xx-small"
    options = {"title": "99 % gone after", "loc": "upper left", "bbox_to_anchor": (1.01, 1.02), "fontsize": size}
    legend(ax, look, borderaxespad=0.0, labelspacing=0.35, markerscale=0.8, **options)
    return ax


def _course(ax: Any, style: Style, name: str, course: ThroughTime, shown: int, *, banded: bool) -> None:
    lags = np.arange(len(course.median))[course.base : shown + 1]
    median, low, high = (np.array(part)[course.base : shown + 1] for part in (course.median, course.low, course.high))
    if banded:
        ax.fill_between(lags, np.maximum(low, _FLOOR / 10), high, color=style.color, alpha=0.14, linewidth=0)
    positive = np.where(median > 0, median, np.nan)
    gone = "never" if course.gone is None else f"{course.gone}"
    ax.plot(
        lags, positive, color=style.color, linestyle=style.dashes, linewidth=1.8, gid=name, marker=style.marker,
        markevery=[0 if course.gone is None or course.gone > shown else max(course.gone - course.base, 0)],
        markersize=7, label=in_legend(f"{label(name, 20)}: {gone}"),
    )  # fmt: skip
