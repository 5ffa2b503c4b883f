"""Colours, theme, numbers and names of all figures, and the parts that several figures draw.

A figure draws on Axes that may belong to a user. Nothing global is changed: text and legends take their colours from a
theme that is set while a figure draws (`Figure.draw`), and the axes are framed afterwards. The background of the Axes
decides between the light and the dark look.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rnneval.render.phrasing import shortened, visible

T = TypeVar("T")
Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Look:
    """Colours for one background."""

    paper: str
    ink: str
    muted: str
    grid: str
    palette: tuple[str, ...]
    """Distinct under all kinds of colour blindness, and at least 3:1 against the paper: a test computes both."""
    hot: str
    """Ground of the most surprising text: ink is legible on every mixture of it with the paper."""

    @property
    def good(self) -> str:
        """Colour of what is right; never the only sign of it."""
        return self.palette[0]

    @property
    def bad(self) -> str:
        """Colour of what is wrong; never the only sign of it."""
        return self.palette[1]

    def heated(self, share: float) -> str:
        """Mix the paper with `hot`: 0 is the paper, 1 is `hot`.

        >>> LIGHT.heated(0.0), LIGHT.heated(0.5), LIGHT.heated(1.0)
        ('#ffffff', '#f4b898', '#ea7231')
        """
        cold, hot = (bytes.fromhex(color[1:]) for color in (self.paper, self.hot))
        return f"#{bytes(round(a + (b - a) * share) for a, b in zip(cold, hot, strict=True)).hex()}"

    def theme(self) -> dict[str, Any]:
        """Return seaborn's style in these colours, as matplotlib settings for the artists that a figure adds."""
        import seaborn as sns

        colors = {**dict.fromkeys(("axes.labelcolor", "text.color"), self.ink), "grid.color": self.grid}
        colors |= dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), self.muted)
        legend = {
            "legend.fontsize": "small",
            "legend.frameon": False,
            "legend.handlelength": 2.6,
            "legend.labelcolor": self.ink,
            "legend.title_fontsize": "small",
        }
        style = sns.axes_style("ticks", rc=colors)
        return {key: value for key, value in style.items() if not key.startswith(("font.", "figure."))} | legend


LIGHT = Look(
    paper="#ffffff",
    ink="#1b1e23",
    muted="#5a6069",
    grid="#dfe2e6",
    palette=("#0072b2", "#d55e00", "#009e73", "#882255", "#999933", "#332288"),
    hot="#ea7231",
)
DARK = Look(
    paper="#16181d",
    ink="#eceff3",
    muted="#a6adb8",
    grid="#343942",
    palette=("#56b4e9", "#e69f00", "#00b58a", "#f0e442", "#cc79a7", "#ffffff"),
    hot="#a8500c",
)
_DASHES = ("", (4, 1.6), (6.4, 1.6, 1, 1.6), (1, 1.6), (5, 1, 1, 1, 1, 1), (8, 2))
_MARKERS = ("o", "s", "^", "D", "v", "P")
_PERCENTS = (0, 2.5, 25, 50, 75, 97.5, 100)
_MOST_BINS = 160
_NARROW = 280.0
"""Points; on narrower Axes, nothing stands beside them or over their data."""
SMALLEST = 6.8
"""Points; 9 pixels on a page."""
_PLACES: dict[str, dict[str, Any]] = {
    "above": {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.2},
    "below": {"loc": "upper center", "bbox_to_anchor": (0.48, -0.2), "columnspacing": 1.4},
    "beside": {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0},
}


# Axes


def look_of(ax: Any) -> Look:
    """Return the look that suits the background of the Axes."""
    from seaborn.utils import relative_luminance

    return LIGHT if relative_luminance(ax.get_facecolor()) > 0.2 else DARK


def frame(ax: Any, look: Look, *, title: str, x: str, y: str, grid: str) -> None:
    """Add title, axis labels and a quiet grid to drawn Axes; an empty label leaves the present one."""
    import seaborn as sns
    from matplotlib.ticker import LogFormatterSciNotation

    class Plain(LogFormatterSciNotation):
        """Writes whole numbers on a logarithmic axis: exponents would be too small to read."""

        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    pad = 6.0
    if ax.get_legend() is not None and ax.get_legend().get_gid() == "above":
        pad += ax.get_legend().get_window_extent().height / ax.figure.dpi * 72
    shown = ax.set_title("", loc="left", color=look.ink, fontsize="medium", fontweight="bold", pad=pad)
    fill(shown, title, ax.get_window_extent().width)
    text = x or ax.get_xlabel()
    under = ax.set_xlabel(text, color=look.ink, fontsize="small")
    room = 1.1 * ax.get_window_extent().width
    broken = [line for part in text.split("\n") for line in _broken(under, part, room)]
    under.set_text(plain("\n".join(broken)))
    ax.set_ylabel(plain(y or ax.get_ylabel()), color=look.ink, fontsize="small")
    for axis in (ax.xaxis, ax.yaxis):
        if isinstance(axis.get_major_formatter(), LogFormatterSciNotation):
            axis.set_major_formatter(Plain())
        if isinstance(axis.get_minor_formatter(), LogFormatterSciNotation):
            axis.set_minor_formatter(Plain(labelOnlyBase=False))
    ax.tick_params(which="both", color=look.muted, labelcolor=look.ink)
    ax.set_axisbelow(True)
    ax.grid(visible=False)
    if grid:
        ax.grid(visible=True, axis=grid, color=look.grid, linewidth=0.7)
    for spine in ax.spines.values():
        spine.set_color(look.muted)
    sns.despine(ax=ax, left=not grid, bottom=not grid)


def fill(shown: Any, text: str, room: float) -> None:
    """Set the text of an artist, broken between words where it would be wider than `room` dots."""
    shown.set_text(plain("\n".join(_broken(shown, visible(text), room))))


def _broken(shown: Any, text: str, room: float) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        shown.set_text(plain(longer))
        if lines[-1] and shown.get_window_extent().width > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def crowded(ax: Any) -> bool:
    """Return whether the Axes are narrow, or have neighbours at the right for which no layout makes room."""
    # Square Axes are narrower than their place.
    box = ax.get_position(original=True).transformed(ax.figure.transSubfigure)
    beside = (other for other in ax.figure.axes if other is not ax and other.get_window_extent().x0 >= box.x1)
    return bool(box.width / ax.figure.dpi * 72 < _NARROW or (ax.figure.get_layout_engine() is None and any(beside)))


def legend(ax: Any, place: str, **options: Any) -> None:
    """Add a legend `above`, `below` or `beside` the Axes, unless it would be empty.

    Of crowded Axes it stands below instead of beside them. It has as many columns as there is room for.
    """
    from matplotlib.transforms import offset_copy

    if not (options.get("handles") or ax.get_legend_handles_labels()[0]):
        return
    settings = _PLACES[place] | options
    if place == "beside" and crowded(ax):
        place, settings = "below", _PLACES["below"] | {"ncols": 3} | options
    box = ax.get_window_extent()
    if place == "below":
        ticks = ax.xaxis.get_tightbbox()
        points = (3 if ax.get_xlabel() else 18) + (0 if ticks is None else (box.y0 - ticks.y0) / ax.figure.dpi * 72)
        under = offset_copy(ax.transAxes, ax.figure, y=-points, units="points")
        settings |= {"bbox_to_anchor": (0.48, 0.0), "bbox_transform": under}
    for columns in range(settings.get("ncols", 1), 0, -1):
        shown = ax.legend(**settings | {"ncols": columns})
        if place == "beside" or shown.get_window_extent().width <= 1.1 * box.width:
            break
    shown.set_gid(place)


def on_paper(look: Look) -> dict[str, Any]:
    """Return a ground for text that stands over lines; an outline would turn the text into shapes."""
    return {"facecolor": look.paper, "edgecolor": "none", "alpha": 0.8, "pad": 0.6}


def counting(axis: Any) -> None:
    """Let an axis count: whole numbers, with separators for thousands."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=4 if crowded(axis.axes) else 7, integer=True, min_n_ticks=1))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1e6:g} M" if value >= 1e6 else f"{value:,.0f}"))


def rows(ax: Any, names: Sequence[str]) -> None:
    """Name rows at y = 0, 1, …; the first is on top."""
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_yticks(range(len(names)), list(map(plain, labels(names, 16 if crowded(ax) else 24))))
    ax.tick_params(axis="y", length=0)


def lanes(ax: Any, every: Sequence[T], key: Callable[[T], float], name: Callable[[T], str]) -> tuple[list[T], float]:
    """Choose the lanes that fit on the Axes, name them, and return them from the top down, with their font size.

    The lanes with the largest `key` are chosen and stay in their order. The lane at place k of n is drawn upwards from
    y = n − 1 − k.
    """
    points = float(ax.get_window_extent().height / ax.figure.dpi * 72)
    order = sorted(range(len(every)), key=lambda k: -key(every[k]))
    chosen = [every[k] for k in sorted(order[: max(int(points / SMALLEST * 0.78), 1)])]
    count = len(chosen)
    size = min(8.5, max(SMALLEST, 0.78 * points / count))
    ax.set_ylim(-0.08, count)
    ax.set_yticks([count - 1 - k + 0.4 for k in range(count)], list(map(plain, labels(list(map(name, chosen))))))
    ax.tick_params(axis="y", length=0, labelsize=size)
    return chosen, size


def beside_lane(ax: Any, look: Look, text: str, y: float, size: float) -> None:
    """Write a number of a lane at its right end."""
    ax.annotate(
        text, (1.0, y), (4, 0), xycoords=ax.get_yaxis_transform(), textcoords="offset points", va="center",
        fontsize=min(size, 7.0), color=look.muted,
    )  # fmt: skip


# Series


def bands(x: Doubles, values: Doubles, most: int = _MOST_BINS) -> tuple[Any, int]:
    """Pool neighbours into at most `most` bins: no value is skipped, each counts in the quantiles of its bin.

    Return a DataFrame with a row for each bin, its middle `x` and its quantiles 0, 2.5, 25, 50, 75, 97.5 and 100 by per
    cent; and how many values are in a bin: 1 for a short series, which stays as it is.

    >>> table, pooled = bands(np.arange(6.0), np.array([1.0, 3, 5, 7, 9, 11]), most=2)
    >>> table["x"].tolist(), table[50].tolist(), pooled
    ([1.0, 4.0], [3.0, 9.0], 3)
    """
    import pandas as pd

    pooled = pooled_by(len(x), most)
    bins = np.arange(len(x)) // pooled
    table = pd.Series(values).groupby(bins).quantile(np.divide(_PERCENTS, 100)).unstack()  # noqa: PD010 - a Series
    return table.set_axis(_PERCENTS, axis=1).assign(x=pd.Series(x).groupby(bins).mean()), pooled


def pooled_by(count: int, most: int = _MOST_BINS) -> int:
    """Return how many neighbours of so many values `bands` pools."""
    return max(-(-count // most), 1)


def lines(ax: Any, look: Look, frame: Any, *, x: str, y: str, by: str, marked: bool, **options: Any) -> list[Any]:
    """Draw a line for each value of the column `by`, in order of appearance, and return the lines of matplotlib.

    They differ in colour, dashes and marker; more lines than colours repeat the colours with other dashes and markers.
    """
    import seaborn as sns

    names, n = list(dict.fromkeys(frame[by])), len(look.palette)
    chosen = {name: (i % n, (i + i // n) % n) for i, name in enumerate(names)}
    before = len(ax.lines)
    sns.lineplot(
        ax=ax, data=frame, x=x, y=y, hue=by, hue_order=names,
        palette={name: look.palette[k] for name, (k, _) in chosen.items()},
        style=by, style_order=names, dashes={name: _DASHES[k] for name, (_, k) in chosen.items()},
        markers={name: _MARKERS[k] for name, (_, k) in chosen.items()} if marked else False, markeredgewidth=0,
        estimator=None, errorbar=None, legend=False, **options,
    )  # fmt: skip
    for line, name in zip(ax.lines[before:], names, strict=True):
        line.set_gid(name)
    return list(ax.lines[before:])


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Move places apart until neighbours are at least `gap` away from one another, with the least squared movement.

    >>> spread([0.0, 0.1, 5.0], 1.0)
    [-0.45, 0.55, 5.0]
    """
    from scipy.optimize import isotonic_regression

    wanted = np.asarray(places, np.float64)
    order, offsets = np.argsort(wanted, kind="stable"), gap * np.arange(len(wanted))
    found = np.empty(len(wanted))
    if len(wanted):
        found[order] = isotonic_regression(wanted[order] - offsets).x + offsets
    return [round(float(place), 12) for place in found]


def end_labels(ax: Any, ends: Sequence[tuple[float, str, Any]]) -> None:
    """Name lines at the right edge, at the height where each ends: (y, name, colour).

    Heights are shares of the Axes, so that any scale will do. Labels are moved apart, so that none lies on another.
    """
    size = "x-small" if len(ends) > 8 else "small"
    to_axes = ax.transData + ax.transAxes.inverted()
    middle = sum(ax.get_xlim()) / 2
    heights = [min(max(float(to_axes.transform((middle, y))[1]), 0.0), 1.0) for y, _, _ in ends]
    points = ax.get_window_extent().height / ax.figure.dpi * 72
    gap = min(11.0 / points, 1.0 / max(len(ends), 1))
    names = labels([name for _, name, _ in ends], 18)
    for (_, _, color), name, height in zip(ends, names, spread(heights, gap), strict=True):
        ax.text(1.012, height, plain(name), color=color, fontsize=size, va="center", transform=ax.transAxes)


# Words


def plain(text: str) -> str:
    r"""Escape a text for matplotlib: no formula between dollar signs, no control characters.

    >>> plain("$x$")
    '\\$x\\$'
    """
    return "\n".join(visible(line) for line in text.split("\n")).replace("$", r"\$")


def label(name: str, most: int = 24) -> str:
    """Return a name out of a file as one short line; the middle of a long name is left out.

    >>> label("gru_1.h"), label("a_very_long_name_of_a_layer.h", most=15)
    ('gru_1.h', 'a_very_…layer.h')
    """
    return shortened(visible(name), most)


def labels(names: Sequence[str], most: int = 24) -> list[str]:
    """Return names out of files as short lines, which differ where the names differ.

    Where a name is too long, what all of them begin or end with is left out, up to the end of a word.

    >>> labels(["a_run_with_a_long_name_gru_64.keras", "a_run_with_a_long_name_gru_128.keras"])
    ['…64…', '…128…']
    >>> labels(["gru", "lstm"]), labels(["x" * 30 + "1" + "y" * 30, "x" * 30 + "2" + "y" * 30], most=9)
    (['gru', 'lstm'], ['…1yy…yyyy', '…2yy…yyyy'])
    """
    shown = [visible(name) for name in names]
    different = list(dict.fromkeys(shown))
    if all(len(name) <= most for name in different) or len(different) < 2:
        return [label(name, most) for name in names]
    # Common beginnings, forwards and backwards.
    begin, end = (
        len(re.sub(r"[^\W_]+$", "", _shared(names))) for names in (different, [name[::-1] for name in different])
    )
    short = {}
    for name in different:
        middle = name[begin : max(len(name) - end, begin)]
        short[name] = shortened(f"{'…' if begin else ''}{middle}{'…' if end else ''}", most)
    groups: dict[str, list[str]] = {}
    for name, text in short.items():
        groups.setdefault(text, []).append(name)
    for alike in groups.values():
        if len(alike) > 1:  # they differ where the middle was left out
            shared = len(_shared(alike))
            short |= {name: shortened(f"…{name[shared:]}", most) for name in alike}
    if len(set(short.values())) < len(short):
        short = {name: f"{label(name, most - 4)} ({number})" for number, name in enumerate(different, 1)}
    return [short[name] for name in shown]


def _shared(names: Sequence[str]) -> str:
    """Return what all names begin with."""
    columns = enumerate(zip(*names, strict=False))
    return names[0][: next((place for place, column in columns if len(set(column)) > 1), min(map(len, names)))]


def in_legend(name: str) -> str:
    """Return a name as a legend accepts it: matplotlib leaves out names that begin with an underscore."""
    return plain(f" {name}" if name.startswith("_") else name)


def percent(share: float) -> str:
    """Return a share in per cent, as coarsely as a title needs it.

    >>> percent(0.366), percent(0.0041), percent(0.0), percent(0.00001)
    ('37 %', '0.4 %', '0 %', '< 0.1 %')
    """
    if 0 < share < 0.001:
        return "< 0.1 %"
    places = 0 if share >= 0.1 or share == 0 else 1
    return f"{100 * share:.{places}f} %"
