"""Keyword arguments of `rnneval.plot.NAME`: title, legend, palette and those of seaborn, the same for every figure.

A figure says in `SEABORN` which axes-level function of seaborn draws its main marks. Names are checked before anything
is drawn: seaborn hands what it does not know on to matplotlib, whose errors come late and name another function.
"""

import difflib
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from rnneval.errors import UsageError
from rnneval.options import UnknownOptionError
from rnneval.render.figures._style import COLORS, PLACES, Look
from rnneval.render.phrasing import listed

_OF_THE_FIGURE = frozenset(
    [
        *("ax", "dashes", "data", "errorbar", "estimator", "hue", "hue_norm", "hue_order", "legend", "markers"),
        *("order", "orient", "palette", "size", "size_norm", "size_order", "sizes", "style", "style_order", "units"),
        *("weights", "x", "y"),
    ]
)
"""Parameters of seaborn's functions that a figure sets itself: it would not be that figure with others."""
_OWN = ("title", "legend", "palette", "metric")
_COLOR = ("c", "cmap", "color", "colors", "colour", "facecolor", "hue")
_ARTISTS = {
    "barplot": "patches.Rectangle",
    "heatmap": "collections.QuadMesh",
    "lineplot": "lines.Line2D",
    "scatterplot": "collections.PathCollection",
}


@dataclass(frozen=True, kw_only=True)
class Keywords:
    """Changes to a figure that the caller asks for."""

    title: str | None = None
    """Title in place of the figure's own; "" for none."""
    legend: bool | str = True
    """Whether there is a legend, or its place."""
    palette: Any = None
    """A palette of seaborn: its name, or a sequence of colours."""
    of_seaborn: Mapping[str, Any] = field(default_factory=dict)
    """Further keyword arguments, under matplotlib's full names."""

    @classmethod
    def of(
        cls,
        figure: str = "",
        function: str | None = None,
        *,
        title: Any = None,
        legend: Any = True,
        palette: Any = None,
        more: Mapping[str, Any] = MappingProxyType({}),
    ) -> "Keywords":
        """Check the keyword arguments for a figure.

        Args:
            figure: The name of the figure, for messages about `more`.
            function: The function of seaborn that draws it; None if matplotlib alone does.
            title: See the fields.
            legend: See the fields.
            palette: See the fields.
            more: Keyword arguments for the function.

        Raises:
            UsageError: a palette or a place is not known.
            UnknownOptionError: the function has no such keyword argument; the message names close ones.
        """
        if not isinstance(legend, bool) and legend not in PLACES:
            raise UsageError(f"legend={legend!r} is not known{meant(legend, PLACES)}: give True, False or a place: "
                             f"{', '.join(PLACES)}")  # fmt: skip
        return cls(
            title=title,
            legend=legend,
            palette=None if palette is None else _colors(palette),
            of_seaborn=_of_seaborn(figure, function, more) if more else {},
        )

    @property
    def any(self) -> bool:
        """True if anything is to be changed."""
        return self != Keywords()

    def applied_to(self, look: Look) -> Look:
        """Return a look in the colours of the palette, with the keyword arguments for seaborn."""
        return replace(look, palette=self.palette or look.palette, keywords=self.of_seaborn)

    def move_legend(self, ax: Any) -> None:
        """Remove the legend of drawn Axes, or move it to its place."""
        drawn = ax.get_legend()
        if drawn is None or self.legend is True:
            return
        if self.legend is False:
            drawn.remove()
            return
        import seaborn as sns

        settings = {"ncols": 1} if self.legend == "beside" else {}
        sns.move_legend(ax, **PLACES[str(self.legend)] | settings)
        ax.get_legend().set_gid(self.legend)


def meant(word: object, known: Iterable[str]) -> str:
    """Return a question that names the words that are close, to be put into a message; "" if there is none.

    >>> meant("linewdth", ["linewidth", "alpha"]), meant("xyz", ["linewidth"])
    (' (did you mean linewidth?)', '')
    """
    close = difflib.get_close_matches(str(word), list(known))
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def require_metric(metric: str | None, known: Iterable[str], what: str) -> None:
    """Refuse a metric that is none of those which a source has for a figure.

    Raises:
        UsageError: names those that are close, and those that there are.
    """
    there = list(known)
    if metric is not None and metric not in there:
        allowed = f"only {listed(there, 9)}" if there else "nor any other"
        raise UsageError(f"metric={metric!r}: {what} has no such score{meant(metric, there)}, {allowed}")


def _colors(palette: Any) -> tuple[str, ...]:
    """Return as many colours of a palette as a look has."""
    import matplotlib as mpl
    import seaborn as sns

    try:
        return tuple(sns.color_palette(palette, COLORS).as_hex())
    except (ValueError, TypeError) as error:
        known = [*sns.palettes.SEABORN_PALETTES, *mpl.colormaps]
        shown = repr(palette)[:60]
        raise UsageError(
            f"palette={shown} is not known{meant(palette, known)}: give the name of a palette of seaborn, such as "
            "deep, colorblind or viridis, or a list of colours"
        ) from error


def _of_seaborn(figure: str, function: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments for seaborn under the names that a figure uses, too."""
    if function is None:
        words = ", ".join(given)
        raise UnknownOptionError(
            f"{words}{meant(words, _OWN)}: the figure {figure} is not drawn by seaborn, which takes further keywords"
        )
    names = _names_of(function)
    spelled: dict[str, str] = {}
    for word in given:
        if word in _COLOR:
            raise UnknownOptionError(f"{word}: the colours of {figure} are changed by palette=…")
        if word in _OF_THE_FIGURE:
            raise UnknownOptionError(f"{word}: the figure {figure} sets it itself when it calls seaborn.{function}")
        if word not in names:
            raise UnknownOptionError(
                f"{word}{meant(word, {*names, *_OWN})}: neither seaborn.{function} nor what it draws has it: see the "
                f"documentation of seaborn.{function}"
            )
        if other := spelled.get(names[word]):
            raise UsageError(f"{other} and {word} are two names of one property: give one of them")
        spelled[names[word]] = word
    return {name: given[word] for name, word in spelled.items()}


def _names_of(function: str) -> dict[str, str]:
    """Return every keyword that a function of seaborn takes, with the name that it is passed on by.

    These are its parameters and the properties of what it draws, which have several names: `lw` is `linewidth`.
    """
    import matplotlib.artist
    import seaborn as sns

    module, _, name = _ARTISTS[function].partition(".")
    inspector = matplotlib.artist.ArtistInspector(getattr(getattr(matplotlib, module), name))
    every = inspect.signature(getattr(sns, function)).parameters.values()
    parameters = {each.name for each in every if each.kind is not each.VAR_KEYWORD}
    names = {each: each for each in [*inspector.get_setters(), *parameters]}
    names |= {"s": "s", "marker": "marker"} if function == "scatterplot" else {}
    for own, aliases in inspector.aliasd.items():
        used = next((each for each in (own, *sorted(aliases)) if each in parameters), own)
        names |= dict.fromkeys((own, *aliases), used)
    return {word: used for word, used in names.items() if word not in _OF_THE_FIGURE and word not in _COLOR}
