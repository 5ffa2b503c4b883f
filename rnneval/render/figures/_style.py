"""Colours, theme, numbers and names of all figures, and the parts that several figures draw.

A figure draws on Axes that may belong to a user. Nothing global is changed: text and legends take their colours from a
theme that is set while a figure draws (`Figure.draw`), and the axes are framed afterwards. The background of the Axes
decides between the light and the dark look.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnneval.arrays import Doubles
from rnneval.render.phrasing import shortened, visible


@dataclass(frozen=True, kw_only=True)
class Look:
    """Colours for one background."""

    paper: str
    ink: str
    muted: str
    grid: str
    palette: tuple[str, ...]
    """Distinct under all kinds of colour blindness, and at least 3:1 against the paper: a test computes both."""
    hot: str  # ground of the most surprising text: ink is legible on every mixture of it with the paper

    @property
    def good(self) -> str:
        """Colour of what is right; never the only sign of it."""
        return self.palette[0]

    @property
    def bad(self) -> str:
        """Colour of what is wrong; never the only sign of it."""
        return self.palette[1]

    def theme(self) -> dict[str, Any]:
        """Return seaborn's style in these colours, as matplotlib settings for the artists that a figure adds."""
        import seaborn as sns

        style = sns.axes_style("ticks", rc={"axes.labelcolor": self.ink, "text.color": self.ink})
        own = {key: value for key, value in style.items() if not key.startswith(("font.", "figure."))}
        return own | _LEGEND | {"legend.labelcolor": self.ink}


LIGHT = Look(
    paper="#ffffff", ink="#1b1e23", muted="#5a6069", grid="#dfe2e6", hot="#ea7231",
    palette=("#0072b2", "#d55e00", "#009e73", "#882255", "#999933", "#332288"),
)  # fmt: skip
DARK = Look(
    paper="#16181d", ink="#eceff3", muted="#a6adb8", grid="#343942", hot="#a8500c",
    palette=("#56b4e9", "#e69f00", "#00b58a", "#f0e442", "#cc79a7", "#ffffff"),
)  # fmt: skip
_DASHES = ((), (4, 1.6), (6.4, 1.6, 1, 1.6), (1, 1.6), (5, 1, 1, 1, 1, 1), (8, 2))
_MARKERS = ("o", "s", "^", "D", "v", "P")
_LEGEND = {
    "legend.borderaxespad": 0.2,
    "legend.borderpad": 0.2,
    "legend.columnspacing": 1.0,
    "legend.fontsize": "small",
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "legend.title_fontsize": "small",
}
_PERCENTS = (0, 2.5, 25, 50, 75, 97.5, 100)
_NARROW = 280.0  # points; on narrower Axes, nothing stands beside them, and names are shorter
SMALLEST = 7.2  # points of the smallest text; 9 pixels at least on a phone


# Axes


def look_of(ax: Any) -> Look:
    """Return the look that suits the background of the Axes."""
    from seaborn.utils import relative_luminance

    return LIGHT if relative_luminance(ax.get_facecolor()) > 0.2 else DARK


def frame(ax: Any, look: Look, *, title: str, x: str, y: str, grid: str) -> None:
    """Add title, axis labels and a quiet grid to drawn Axes; an empty label leaves the present one."""
    import seaborn as sns

    legend, width = ax.get_legend(), _points(ax, ax.get_window_extent().width)
    pad = 6.0 if legend is None else 6.0 + _points(ax, legend.get_window_extent().height)
    shown = ax.set_title("", loc="left", color=look.ink, fontsize="medium", fontweight="bold", pad=pad)
    fill(shown, title, width)
    ax.yaxis.label.set_text(plain(y or ax.get_ylabel()))
    for text in (ax.xaxis.label, ax.yaxis.label):
        text.set(color=look.ink, fontsize="small")
    fill(ax.xaxis.label, x or ax.get_xlabel(), width - _points(ax, _width_at_left(ax)))  # names make them narrower
    ax.tick_params(which="both", color=look.muted, labelcolor=look.ink)
    ax.set_axisbelow(True)
    ax.grid(visible=False)
    if grid:
        ax.grid(visible=True, axis=grid, color=look.grid, linewidth=0.7)
    for spine in ax.spines.values():
        spine.set_color(look.muted)
    sns.despine(ax=ax, left=not grid, bottom=not grid)


def fill(line: Any, text: str, points: float) -> None:
    """Set the text of an artist, broken between words where it would be wider than so many points."""
    lines = []
    for part in text.split("\n"):
        lines.append("")
        for word in visible(part).split(" "):
            longer = f"{lines[-1]} {word}".strip()
            line.set_text(plain(longer))
            fits = _points(line, line.get_window_extent().width) <= points
            lines[-1:] = [longer] if fits or not lines[-1] else [lines[-1], word]
    line.set_text(plain("\n".join(lines)))


def narrow(ax: Any) -> bool:
    """Return whether there is little room beside and within the Axes."""
    return bool(_points(ax, ax.get_window_extent().width) < _NARROW)


def _points(artist: Any, dots: float) -> float:
    return float(dots / artist.figure.dpi * 72)


def _width_at_left(ax: Any) -> float:
    """Return how many dots numbers or names take at the left of the Axes."""
    box = ax.yaxis.get_tightbbox()
    return 0.0 if box is None else max(float(ax.get_window_extent().x0 - box.x0), 0.0)


def legend(ax: Any, handles: Sequence[Any] = (), **options: Any) -> None:
    """Add a legend above the Axes and their names, in as many columns as there is room for, unless it is empty."""
    from matplotlib.transforms import offset_copy

    shown = handles or ax.get_legend_handles_labels()[0]
    left = _width_at_left(ax)
    place = offset_copy(ax.transAxes, ax.figure, x=-_points(ax, left), units="points")
    # The layout has kept some room for names already, and takes the rest of it from the Axes.
    room = ax.get_window_extent().width + min(left, 0.15 * ax.figure.dpi)
    for columns in range(options.pop("ncols", 3), 0, -1) if shown else ():
        options |= {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "bbox_transform": place, "ncols": columns}
        if ax.legend(handles=shown, **options).get_window_extent().width <= room:
            break


def on_paper(look: Look) -> dict[str, Any]:
    """Return a ground for text that stands over lines; an outline would turn the text into shapes."""
    return {"facecolor": look.paper, "edgecolor": "none", "alpha": 0.8, "pad": 0.6}


def counting(axis: Any) -> None:
    """Let an axis count: whole numbers, with separators for thousands."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=4 if narrow(axis.axes) else 7, integer=True, min_n_ticks=1))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1e6:g} M" if value >= 1e6 else f"{value:,.0f}"))


def lanes(ax: Any, weights: Mapping[str, float]) -> list[tuple[float, str]]:
    """Name the lanes that fit on the Axes, the heaviest of too many; return each with the height of its bottom."""
    points = _points(ax, ax.get_window_extent().height)
    heaviest = sorted(weights, key=lambda name: -weights[name])[: max(int(points / SMALLEST * 0.78), 1)]
    shown = [name for name in weights if name in heaviest]
    count = len(shown)
    ax.set_ylim(-0.08, count)
    ax.set_yticks([count - 1 - k + 0.4 for k in range(count)], list(map(plain, labels(shown))))
    ax.tick_params(axis="y", length=0, labelsize=min(8.5, max(SMALLEST, 0.78 * points / count)))
    return [(count - 1.0 - k, name) for k, name in enumerate(shown)]


def beside_lane(ax: Any, look: Look, base: float, low: str, high: str, *, both: bool) -> None:
    """Write the numbers at the bottom and the top of a lane at its right end, or where there is no room, the top's."""
    style = {"textcoords": "offset points", "fontsize": SMALLEST, "color": look.muted}
    for y, text, side in ((0.84, high, "top"), (0.0, low, "bottom")) if both else ((0.42, high, "center"),):
        ax.annotate(text, (1.0, base + y), (4, 0), xycoords=ax.get_yaxis_transform(), va=side, **style)


def ring(ax: Any, look: Look, x: float, y: float, text: str) -> None:
    """Put a ring around a point, and its meaning into the legend."""
    style = {"markersize": 11, "markerfacecolor": "none", "markeredgecolor": look.ink, "markeredgewidth": 1.6}
    ax.plot(x, y, "o", label=text, clip_on=False, gid="best", **style)


# Series


def medians_of_ends(values: Doubles, count: int) -> tuple[float, float]:
    """Return the median of the first `count` values and that of the last; zeros where there are none."""
    if not len(values):
        return 0.0, 0.0
    return float(np.median(values[:count])), float(np.median(values[-count:]))


def change(first: float, last: float) -> float:
    """Return the change from one value to another, as a share of their mean."""
    return (last - first) / max((first + last) / 2, 1e-300)


def bands(x: Doubles, values: Doubles, most: int = 160) -> tuple[Any, int]:
    """Pool neighbours into at most `most` bins: no value is skipped, each counts in the quantiles of its bin.

    Return a DataFrame with a row for each bin, its middle `x` and its quantiles 0, 2.5, 25, 50, 75, 97.5 and 100 by per
    cent; and how many values are in a bin: 1 for a short series, which stays as it is.

    >>> table, pooled = bands(np.arange(6.0), np.array([1.0, 3, 5, 7, 9, 11]), most=2)
    >>> table["x"].tolist(), table[50].tolist(), pooled
    ([1.0, 4.0], [3.0, 9.0], 3)
    """
    import pandas as pd

    pooled = max(-(-len(x) // most), 1)
    bins = np.arange(len(x)) // pooled
    table = pd.Series(values).groupby(bins).quantile(np.divide(_PERCENTS, 100)).unstack()  # noqa: PD010 - a Series
    return table.set_axis(_PERCENTS, axis=1).assign(x=pd.Series(x).groupby(bins).mean()), pooled


def styles(look: Look, count: int, *, marked: bool) -> Iterator[dict[str, Any]]:
    """Yield the style of each of so many lines: they differ in colour, dashes and marker, then repeat the colours."""
    n = len(look.palette)
    for i in range(count):
        k = (i + i // n) % n
        dashes = {"dashes": _DASHES[k]} if _DASHES[k] else {}
        marker = {"marker": _MARKERS[k], "markeredgewidth": 0} if marked else {}
        yield {"color": look.palette[i % n], **dashes, **marker}


def end_labels(ax: Any, ends: Sequence[tuple[float, str, Any]]) -> None:
    """Name lines at the right edge, at the height where each ends: (y, name, colour); no label lies on another."""
    if not ends:
        return
    to_axes, middle = ax.transData + ax.transAxes.inverted(), sum(ax.get_xlim()) / 2
    wanted = np.clip([to_axes.transform((middle, y))[1] for y, _, _ in ends], 0.0, 1.0)
    order = np.argsort(wanted, kind="stable")
    steps = min(11.0 / _points(ax, ax.get_window_extent().height), 1.0 / len(ends)) * np.arange(len(ends))
    heights = np.minimum(np.maximum.accumulate(wanted[order] - steps) + steps, 1.0 - steps[::-1])
    names = labels([name for _, name, _ in ends], 18)
    style = {"fontsize": SMALLEST if len(ends) > 8 else "small", "va": "center", "transform": ax.transAxes}
    for height, place in zip(heights, order, strict=True):
        ax.text(1.012, height, plain(names[place]), color=ends[place][2], **style)


# Words


def plain(text: str) -> str:
    """Escape a text for matplotlib: no formula between dollar signs, no control characters."""
    return "\n".join(visible(line) for line in text.split("\n")).replace("$", r"\$")


def label(name: str, most: int = 24) -> str:
    """Return a name out of a file as one short line; the middle of a long name is left out."""
    return shortened(visible(name), most)


def labels(names: Sequence[str], most: int = 24) -> list[str]:
    """Return names out of files as short lines, which are numbered where they would not differ.

    >>> labels(["gru", "lstm"]), labels(["a" * 20 + "1" + "b" * 20, "a" * 20 + "2" + "b" * 20], most=9)
    (['gru', 'lstm'], ['aa…bb (1)', 'aa…bb (2)'])
    """
    short = {name: label(name, most) for name in names}
    if len(set(short.values())) < len(short):
        room = most - len(f" ({len(short)})")
        short = {name: f"{label(name, room)} ({number})" for number, name in enumerate(short, 1)}
    return [short[name] for name in names]
