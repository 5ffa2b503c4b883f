"""How all figures look: colours that colour-blind people tell apart, on light and on dark, and what frames a plot.

A figure draws on Axes that may be a user's own. Nothing global is changed, so every artist is told its colour; which of
the two looks is used is told by the background that is there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.render.words import visible

Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Look:
    """Colours of one background."""

    paper: str
    ink: str
    muted: str
    grid: str
    palette: tuple[str, ...]
    """Told apart under all kinds of colour blindness, and at least 3:1 against the paper: a test computes both."""
    heat: tuple[str, ...]
    """From little to much: monotone in luminance, and ink is legible on all of it."""

    @property
    def good(self) -> str:
        """What is as it should be; never by colour alone."""
        return self.palette[0]

    @property
    def bad(self) -> str:
        """What is not."""
        return self.palette[1]


LIGHT = Look(
    paper="#ffffff",
    ink="#1b1e23",
    muted="#5a6069",
    grid="#dfe2e6",
    palette=("#0072b2", "#d55e00", "#009e73", "#882255", "#999933", "#332288"),
    heat=("#ffffff", "#fdebd3", "#fcc98f", "#f5a05a", "#ea7231"),
)
DARK = Look(
    paper="#16181d",
    ink="#eceff3",
    muted="#a6adb8",
    grid="#343942",
    palette=("#56b4e9", "#e69f00", "#00b58a", "#f0e442", "#cc79a7", "#ffffff"),
    heat=("#16181d", "#33221b", "#5a2f16", "#82400f", "#a8500c"),
)
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))
_SHARES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
MARKERS = ("o", "s", "^", "D", "v", "P")


def begin(ax: Any = None) -> tuple[Any, Look]:
    """Give the Axes to draw on, the current ones where none are given, and the look that suits their background."""
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.gca()
    from matplotlib.colors import to_rgb

    return ax, LIGHT if luminance(to_rgb(ax.get_facecolor())) > 0.2 else DARK


def luminance(rgb: Sequence[float]) -> float:
    """Relative luminance (WCAG 2) of an sRGB colour.

    Example:
        >>> round(luminance((1.0, 1.0, 1.0)), 6), luminance((0.0, 0.0, 0.0))
        (1.0, 0.0)
    """
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def finish(ax: Any, look: Look, *, title: str, x: str = "", y: str = "", grid: str = "y", raised: bool = False) -> Any:
    """Frame what was drawn: title above, units on the axes, a quiet grid, no box; give the Axes back.

    `raised` leaves room below the title, for a legend.
    """
    import seaborn as sns

    head(ax, look, title, raised=raised)
    ax.set_xlabel(plain(x), color=look.ink, fontsize="small")
    ax.set_ylabel(plain(y), color=look.ink, fontsize="small")
    ax.tick_params(which="both", color=look.muted, labelcolor=look.ink, labelsize="small", length=3)
    ax.set_axisbelow(True)
    ax.grid(visible=False)
    if grid:
        ax.grid(visible=True, axis=grid, color=look.grid, linewidth=0.7)
    for spine in ax.spines.values():
        spine.set_color(look.muted)
    sns.despine(ax=ax)
    return ax


def head(ax: Any, look: Look, title: str, *, raised: bool = False) -> None:
    """Put a title above the Axes, in as many lines as it needs."""
    shown = ax.set_title("", loc="left", color=look.ink, fontsize="medium", fontweight="bold", pad=26 if raised else 6)
    fill(shown, title, ax.get_window_extent().width)


def fill(shown: Any, text: str, room: float) -> None:
    """Give an artist its text, broken between words where it would be wider than `room` dots."""
    lines = [""]
    for word in visible(text).split(" "):
        longer = f"{lines[-1]} {word}".strip()
        shown.set_text(plain(longer))
        if lines[-1] and shown.get_window_extent().width > room:
            lines.append(word)
        else:
            lines[-1] = longer
    shown.set_text(plain("\n".join(lines)))


def legend(ax: Any, look: Look, **options: Any) -> Any:
    """Give the Axes a legend without a frame, in the colours of the look."""
    shown = ax.legend(
        **{"frameon": False, "fontsize": "small", "labelcolor": look.ink, "handlelength": 2.6, "loc": "best"} | options
    )
    if shown.get_title() is not None:
        shown.get_title().set_color(look.ink)
        shown.get_title().set_fontsize("small")
    return shown


def halo(look: Look) -> list[Any]:
    """A rim in the colour of the paper, so that a label reads well over lines."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2.5, foreground=look.paper)]


def plain(text: str) -> str:
    r"""Let matplotlib take a text as it is: no formula between dollar signs, no control characters.

    Example:
        >>> plain("$x$")
        '\\$x\\$'
    """
    return "\n".join(visible(line) for line in text.split("\n")).replace("$", r"\$")


def label(name: str, most: int = 24) -> str:
    """Give a name out of a file in one short line; the middle of a long one is left out.

    Example:
        >>> label("gru_1.h"), label("a_very_long_name_of_a_layer.h", most=15)
        ('gru_1.h', 'a_very_…layer.h')
    """
    shown = visible(name)
    if len(shown) > most:
        shown = f"{shown[: most // 2]}…{shown[-(most - most // 2 - 1) :]}"
    return shown


def in_legend(name: str) -> str:
    """Give a name as a legend takes it: matplotlib leaves those that begin with an underscore out."""
    return plain(f" {name}" if name.startswith("_") else name)


def counting(axis: Any) -> None:
    """Let an axis count: whole numbers, with their thousands marked."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=1))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1e6:g} M" if value >= 1e6 else f"{value:,.0f}"))


def points_high(ax: Any) -> float:
    """How high the Axes are, in points."""
    return float(ax.get_window_extent().height / ax.figure.dpi * 72)


def most_rows(ax: Any, least: float = 7.5) -> int:
    """How many rows fit below one another and can still be read."""
    return max(int(points_high(ax) / least), 1)


def row_size(ax: Any, count: int) -> float:
    """A size of letters, in points, at which the names of so many rows do not touch."""
    return min(8.5, max(4.5, 0.78 * points_high(ax) / count))


def number(value: float) -> str:
    """Give a number with three significant digits, without an exponent where it can be read without one.

    Example:
        >>> number(1.8034), number(12345.6), number(0.00123), number(2.4e-13), number(-0.5), number(192.0)
        ('1.80', '12,346', '0.00123', '2.4e-13', '−0.50', '192')
    """
    size = abs(value)
    if value == 0 or 1000 <= size < 1e7:
        text = f"{value:,.0f}"
    elif 0.1 <= size < 1000:
        text = f"{value:.{2 if size < 10 else 1 if size < 100 else 0}f}"
    else:
        text = f"{value:.3g}" if size >= 1e-4 else f"{value:.2g}"
    return text.replace("-", "−") if text.startswith("-") else text


def whole(value: float) -> str:
    """Give a count, such as of tokens.

    Example:
        >>> whole(1024.0)
        '1,024'
    """
    return f"{value:,.0f}"


def percent(share: float) -> str:
    """Give a share in per cent.

    Example:
        >>> percent(0.366), percent(0.0041), percent(0.0), percent(0.00001)
        ('37 %', '0.4 %', '0 %', '< 0.1 %')
    """
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{share:.0%}".replace("%", " %") if share >= 0.1 or share == 0 else f"{share:.1%}".replace("%", " %")


@dataclass(frozen=True, kw_only=True)
class Style:
    """How one of several series is drawn: never told apart by colour alone."""

    color: Any
    dashes: Any
    marker: str


def styles(count: int, look: Look) -> list[Style]:
    """Give a style a series; of more than there are colours, the same colours come with other dashes and markers."""
    n = len(look.palette)
    return [
        Style(color=look.palette[i % n], dashes=DASHES[(i + i // n) % n], marker=MARKERS[(i + i // n) % n])
        for i in range(count)
    ]


@dataclass(frozen=True, kw_only=True)
class Bands:
    """A long series in bins of neighbours: nothing is skipped, every value counts in its bin's quantiles."""

    x: Doubles
    """Middle of each bin."""
    quantiles: dict[int, Doubles]
    """By per cent."""
    pooled: int
    """Values in a bin; 1 where each stands for itself."""


def bands(x: Doubles, values: Doubles, most: int = 160) -> Bands:
    """Pool neighbours into at most `most` bins, with quantiles of each; a short series stays as it is.

    Example:
        >>> pooled = bands(np.arange(6.0), np.array([1.0, 3, 5, 7, 9, 11]), most=2)
        >>> pooled.x.tolist(), pooled.quantiles[50].tolist(), pooled.pooled
        ([1.0, 4.0], [3.0, 9.0], 3)
    """
    pooled = -(-len(x) // most) if len(x) > most else 1
    starts = range(0, len(x), pooled)
    parts = [slice(start, start + pooled) for start in starts]
    table = np.array([np.quantile(values[part], _SHARES) for part in parts]).reshape(-1, len(_SHARES))
    middles = np.array([float(np.mean(x[part])) for part in parts])
    return Bands(x=middles, quantiles=dict(zip((0, 5, 25, 50, 75, 95, 100), table.T, strict=True)), pooled=pooled)


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Push places apart until neighbours are `gap` away from one another, each as near to its own as can be.

    Example:
        >>> spread([0.0, 0.1, 5.0], 1.0)
        [-0.45, 0.55, 5.0]
    """
    order = sorted(range(len(places)), key=lambda k: places[k])
    groups: list[list[float]] = []  # sum of (place − offset), count
    for rank in order:
        groups.append([places[rank], 1.0])
        while len(groups) > 1 and _center(groups[-1], gap, -1) - _center(groups[-2], gap, 1) < gap - 1e-12:
            last, before = groups.pop(), groups.pop()
            groups.append([before[0] + last[0], before[1] + last[1]])
    found = [0.0] * len(places)
    for rank, place in zip(order, _places(groups, gap), strict=True):
        found[rank] = place
    return found


def _center(group: list[float], gap: float, side: int) -> float:
    return group[0] / group[1] + side * (group[1] - 1) / 2 * gap


def _places(groups: Sequence[list[float]], gap: float) -> Iterator[float]:
    for total, count in groups:
        for k in range(int(count)):
            yield round(total / count + (k - (count - 1) / 2) * gap, 12)


def end_labels(ax: Any, ends: Sequence[tuple[float, str, Any]], size: str = "small") -> None:
    """Name lines at the right edge, at their height where there is room: (y, name, colour) each.

    Heights are taken in shares of the Axes, so that any scale will do; labels are pushed apart, never over one another.
    """
    from matplotlib.transforms import blended_transform_factory

    to_axes = ax.transData + ax.transAxes.inverted()
    middle = sum(ax.get_xlim()) / 2
    heights = [min(max(float(to_axes.transform((middle, y))[1]), 0.0), 1.0) for y, _, _ in ends]
    high = ax.get_window_extent().height / ax.figure.dpi * 72  # points
    gap = min(11.0 / high, 1.0 / max(len(ends), 1))
    for (_, name, color), height in zip(ends, spread(heights, gap), strict=True):
        ax.text(
            1.012, height, plain(name), color=color, fontsize=size, va="center", ha="left",
            transform=blended_transform_factory(ax.transAxes, ax.transAxes),
        )  # fmt: skip
