"""A figure, the changes to it that a caller asks for, and the records and tables that figures are made from.

A figure has a title and a text alternative made from a record, and a drawing or a coloured text. The keyword arguments
of `rnneval.plot.NAME` are the same for every figure: title, legend, palette and those of seaborn. A figure says in
`SEABORN` which axes-level function of seaborn draws its main marks. Names are checked before anything is drawn: seaborn
hands what it does not know on to matplotlib, whose errors come late and name another function.
"""

import difflib
import inspect
import math
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from rich.text import Text

from rnneval.errors import RecordError, UsageError
from rnneval.options import UnknownOptionError
from rnneval.records import Record, Run, read, read_table
from rnneval.records._base import Shown
from rnneval.records.tables import GRADIENT_HISTORY, LOSSES, STATE_HISTORY, SWEEP, TRACE
from rnneval.render.figures._style import COLORS, PLACES, Look, frame, look_of
from rnneval.render.phrasing import listed
from rnneval.sweeps import table as sweeps

LOCK = threading.RLock()
"""Held while matplotlib's settings are changed, so that threads do not see each other's."""
_OF_THE_FIGURE = frozenset(
    [
        *("ax", "dashes", "data", "errorbar", "estimator", "hue", "hue_norm", "hue_order", "legend", "markers"),
        *("order", "orient", "palette", "size", "size_norm", "size_order", "sizes", "style", "style_order", "units"),
        *("weights", "x", "y"),
    ]
)
"""Parameters of seaborn's functions that a figure sets itself: it would not be that figure with others."""
GUESSING = math.log(1e6)
"""Loss of guessing among more tokens than any vocabulary has, in nats per token."""
_OWN = ("title", "legend", "palette", "metric")
_COLOR = ("c", "cmap", "color", "colors", "colour", "facecolor", "hue")
_ARTISTS = {
    "barplot": "patches.Rectangle",
    "heatmap": "collections.QuadMesh",
    "lineplot": "lines.Line2D",
    "scatterplot": "collections.PathCollection",
}
# A frame without a file's metadata is recognized by its columns.
_COLUMNS = {
    TRACE: {"position", "layer", "slot", "statistic", "value", "low", "high"},
    LOSSES: {"token", "document", "byte_start", "byte_end", "nats"},
    GRADIENT_HISTORY: {"step", "layer", "variable", "statistic", "value"},
    STATE_HISTORY: {"epoch", "layer", "variable", "statistic", "value"},
    SWEEP: {"path", "run", "epoch", "step", "status"},
}


# Changes


@dataclass(frozen=True, kw_only=True)
class Keywords:
    """Changes to a figure that the caller asks for."""

    title: str | None = None
    """Title in place of the figure's own; "" for none."""
    legend: bool | str = True
    """Whether there is a legend, or its place."""
    palette: Any = None
    """A palette of seaborn: its name, or a sequence of colours; `of` returns as many colours as a look has."""
    of_seaborn: Mapping[str, Any] = field(default_factory=dict)
    """Further keyword arguments, under matplotlib's full names."""

    @classmethod
    def of(cls, *, title: Any = None, legend: Any = True, palette: Any = None) -> "Keywords":
        """Check the keyword arguments that every figure takes."""
        if not isinstance(legend, bool) and legend not in PLACES:
            raise UsageError(f"legend={legend!r} is not known{meant(legend, PLACES)}: give True, False or a place: "
                             f"{', '.join(PLACES)}")  # fmt: skip
        if palette is None:
            return cls(title=title, legend=legend)
        import matplotlib as mpl
        import seaborn as sns

        try:
            colors = tuple(sns.color_palette(palette, COLORS).as_hex())
        except (ValueError, TypeError) as error:
            known = [*sns.palettes.SEABORN_PALETTES, *mpl.colormaps]
            raise UsageError(
                f"palette={repr(palette)[:60]} is not known{meant(palette, known)}: give the name of a palette of "
                "seaborn, such as deep, colorblind or viridis, or a list of colours"
            ) from error
        return cls(title=title, legend=legend, palette=colors)


def of_seaborn(figure: str, function: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return keyword arguments for the function of seaborn that draws a figure, under the names that a figure uses."""
    if function is None:
        raise UnknownOptionError(
            f"{', '.join(given)}{meant(', '.join(given), _OWN)}: the figure {figure} is not drawn by seaborn, which "
            "takes further keywords"
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


def meant(word: object, known: Iterable[str]) -> str:
    """Return a question that names the words that are close, to be put into a message; "" if there is none.

    >>> meant("linewdth", ["linewidth", "alpha"]), meant("xyz", ["linewidth"])
    (' (did you mean linewidth?)', '')
    """
    close = difflib.get_close_matches(str(word), list(known))
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def require_metric(metric: str | None, known: Iterable[str], what: str) -> None:
    """Refuse a metric that is none of those which a source has for a figure; the message names them."""
    there = list(known)
    if metric is not None and metric not in there:
        allowed = f"only {listed(there, 9)}" if there else "nor any other"
        raise UsageError(f"metric={metric!r}: {what} has no such score{meant(metric, there)}, {allowed}")


# Figures


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One picture that a record can give; it costs nothing until it is drawn."""

    name: str = ""
    """The file in `rnneval/render/figures`, `--figure NAME`, and `rnneval.plot.NAME`; the package fills it in."""
    title: str
    """The main observation as a sentence; it stands above the picture."""
    alt: str
    """The observation with its numbers, for readers who do not see the picture."""
    height: float = 0.6
    """Height of the whole picture on a page, as a share of its width."""
    x: str = ""
    """Label of the horizontal axis, with its unit; empty: `paint` sets it."""
    y: str = ""
    grid: Literal["", "x", "y", "both"] = "y"
    paint: Callable[[Any, Look], None] | None = None
    """Draws on Axes with the colours of a look; `None` for a figure that is text."""
    text: Callable[[], Text] | None = None
    """Makes the coloured text of a figure that is text, for a terminal or a notebook."""
    html: Callable[[], str] | None = None
    """Makes the same as an HTML element; `passage.CSS` styles it."""
    reading: str = ""
    """How to read it: by default, the second paragraph of the file's docstring, from which the package takes it."""
    marks: Mapping[str, object] = field(default_factory=dict)
    """Words of marks, and whether they are in this picture: `reading` goes without sentences on those that are not."""
    diverged: bool = False
    """Whether the title says that a training run diverged; a report puts it first."""
    chapter: Literal["inside", "numbers", "baselines"] = "inside"
    """Chapter of a report that shows the figure of a model."""

    def draw(self, ax: Any = None, keywords: Keywords | None = None) -> Any:
        """Draw on `ax`, by default the current Axes, and return it; a figure that is text returns its `rich` text."""
        changed = keywords or Keywords()
        if self.text is not None:
            self.require_changes(changed)
            return self.text()
        assert self.paint is not None  # noqa: S101 - a figure has one of the two
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.gca()
        import matplotlib as mpl
        import seaborn as sns

        look = look_of(ax)
        look = replace(look, palette=changed.palette or look.palette, keywords=changed.of_seaborn)
        with LOCK, mpl.rc_context(look.theme()):
            ax.tick_params(which="both", labelsize="small", length=3)
            self.paint(ax, look)
            if ax.get_legend() is not None and changed.legend is False:
                ax.get_legend().remove()
            elif ax.get_legend() is not None and changed.legend is not True:
                settings = {"ncols": 1} if changed.legend == "beside" else {}
                sns.move_legend(ax, **PLACES[str(changed.legend)] | settings)
                ax.get_legend().set_gid(changed.legend)
            title = self.title if changed.title is None else changed.title
            frame(ax, look, title=title, x=self.x, y=self.y, grid=self.grid)
        return ax

    def require_changes(self, keywords: Keywords) -> None:
        """Refuse changes to a figure that is text."""
        if self.text is not None and keywords != Keywords():
            raise UsageError(f"the figure {self.name} is text: it has no title, legend or palette to change")


# Sources


def caution(run: Run) -> str:
    """Return in words why the numbers of a run must not be read as scores; "" for a sound run.

    A run without baselines is compared with guessing among a million tokens, more than any vocabulary has.
    """
    if not run.valid:
        return "not valid"
    loss = run.scores.get("cross_entropy")
    return "worse than guessing" if loss is not None and loss.value > run.baselines.get("uniform", GUESSING) else ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """One tidy table."""

    schema: str
    frame: Any
    """A pandas DataFrame."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None
    """The scored text as it was scored; only for losses."""
    at: int | None = None
    """Byte of the text to show; only for losses."""


Source = Record | Table


def load(path: str | os.PathLike[str]) -> Source:
    """Read a record (JSON), or a table (Parquet: one file, a history's folder, or the folder of a sweep's results).

    Raises:
        RecordError: it is missing, unreadable, or not one of rnneval's.
    """
    place = Path(path)
    if (place / sweeps.FILE).is_file():
        place = place / sweeps.FILE
    if not place.is_dir() and place.suffix != ".parquet":
        return read(place)
    found = read_table(place)
    metadata = {key.decode(): value.decode() for key, value in (found.schema.metadata or {}).items()}
    schema = metadata.get("rnneval.schema", "")
    if schema not in _COLUMNS or not _COLUMNS[schema] <= set(found.column_names):
        raise RecordError(
            f"{place}: a Parquet table of schema {schema or 'unknown'!r}, known are {', '.join(_COLUMNS)}: is it "
            "one of rnneval trace, evaluate --losses, sweep, GradientNorms or StateNorms?"
        )
    frame = found.to_pandas(ignore_metadata=True, split_blocks=True, self_destruct=True)  # no second copy in memory
    return Table(schema=schema, frame=frame, metadata=metadata)


def source_of(given: Any) -> Any:
    """Return the source that an argument of a plotting function stands for; several of them become a list.

    A path is read, a frame is recognized by its columns.
    """
    if isinstance(given, str | os.PathLike):
        return load(given)
    if isinstance(given, Shown | Table):
        return given
    if hasattr(given, "columns") and hasattr(given, "groupby"):
        for schema, needed in _COLUMNS.items():
            if needed <= set(given.columns):
                return Table(schema=schema, frame=given)
        columns = ", ".join(map(str, given.columns))
        raise UsageError(f"a table with the columns {columns} is none that rnneval writes")
    if isinstance(given, Sequence) and given:
        return [source_of(each) for each in given]
    raise UsageError(f"a {type(given).__name__} cannot be plotted: give a record, its path, or a DataFrame of a table")


def kind_of(source: Any) -> str:
    """Return the schema of a source."""
    if isinstance(source, Table):
        return source.schema
    return str(getattr(type(source), "__struct_config__").tag)  # noqa: B009 - msgspec's own name
