"""A figure, the records and tables that figures are made from, and figures as files and as SVG text.

They are written off screen, without pyplot's global state, the same bytes every time. A user's own style has no effect:
matplotlib reads some of its settings (fonts in SVG, the salt of its ids) when a picture is written, and has its own
defaults and ours meanwhile.
"""

import html
import io
import math
import os
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from rich.text import Text

from rnneval.errors import RecordError, UsageError
from rnneval.evaluate.sweep_table import FILE, Sweep
from rnneval.gates.sides import unfit
from rnneval.records import Record, Run, read, read_table, whole_file, write_text
from rnneval.records._base import Stored
from rnneval.records.tables import GRADIENT_HISTORY, LOSSES, STATE_HISTORY, SWEEP, TRACE
from rnneval.render.figures._style import DARK, LIGHT, Look, fill, frame, look_of
from rnneval.render.phrasing import visible
from rnneval.text import InMemory, Paths, scored_text

ENDINGS = ("png", "svg", "pdf")
Size = tuple[float, float | None, int]
"""Width and height in inches, and dots an inch; without a height it is the figure's own."""
SIZES: dict[str, Size] = {"page": (6.5, None, 300), "slide": (6.4, 3.6, 300)}
"""A slide has 1920 × 1080 dots, and larger text than a page."""
LOWEST = 440 / 96  # inches: no picture is lower than one that is as wide
_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
_TAG = re.compile(r"<[^>]*>")  # text is escaped: it holds neither < nor >, and is left as it is
_OURS = {
    "axes.formatter.min_exponent": 7,  # powers of ten would be too small to read
    "axes.linewidth": 0.7,
    "axes.unicode_minus": True,
    "font.family": ["DejaVu Sans"],
    "font.size": 10.0,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
}
_DATED = {"png": ("Software",), "pdf": ("CreationDate", "Creator", "Producer"), "svg": ("Date", "Creator")}
"""Metadata that would make each file differ."""
# A frame without a file's metadata is recognized by its columns.
_COLUMNS = {
    TRACE: {"position", "layer", "slot", "statistic", "value", "low", "high"},
    LOSSES: {"token", "document", "byte_start", "byte_end", "nats"},
    GRADIENT_HISTORY: {"step", "layer", "variable", "statistic", "value"},
    STATE_HISTORY: {"epoch", "layer", "variable", "statistic", "value"},
    SWEEP: {"path", "run", "epoch", "step", "status"},
}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One picture that a record can give; it costs nothing until it is drawn."""

    name: str = ""
    """The file in `rnneval/render/figures`, `--figure NAME`, and `rnneval.plot.NAME`; the package fills it in."""
    title: str  # the main observation as a sentence; it stands above the picture
    alt: str  # the observation with its numbers, for readers who do not see the picture
    height: float = 0.6  # height of the whole picture on a page, as a share of its width
    x: str = ""  # label of the horizontal axis, with its unit; empty: `paint` sets it
    y: str = ""
    grid: Literal["", "x", "y"] = "y"
    paint: Callable[[Any, Look], None] | None = None
    """Draws on Axes with the colours of a look; `None` for a figure that is text."""
    text: Callable[[], Text] | None = None
    """Makes the coloured text of a figure that is text, for a terminal or a notebook."""
    html: Callable[[], str] | None = None  # makes the same as an HTML element of a report
    reading: str = ""  # how to read it, from the figure's page; the package fills it in
    diverged: bool = False  # whether the title says that a training run diverged; a report puts it first
    chapter: Literal["wiring", "inside", "numbers", "baselines"] = "inside"
    """Chapter of a report that shows the figure of a model."""

    def draw(self, ax: Any = None) -> Any:
        """Draw on `ax`, by default the current Axes or new ones where these are used, and return it.

        A figure that is text returns its `rich` text.
        """
        if self.paint is None:
            if ax is not None or self.text is None:
                raise UsageError("this figure is text, and is not drawn on Axes: leave ax out")
            return self.text()
        import matplotlib as mpl

        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.gca()
            if ax.has_data():  # of an earlier figure, as in a notebook's cell that draws two
                ax = plt.figure().add_subplot()
        if not hasattr(ax, "tick_params"):
            raise UsageError(f"ax is a {type(ax).__name__}: give Axes, such as those of plt.subplots()")
        look = look_of(ax)
        with mpl.rc_context(look.theme()):
            ax.tick_params(which="both", labelsize="small", length=3, direction="out")
            self.paint(ax, look)
            frame(ax, look, title=self.title, x=self.x, y=self.y, grid=self.grid)
        return ax


def caution(run: Run) -> str:
    """Return in words why the numbers of a run must not be read as scores; "" for a sound run."""
    if unfit(run):
        return "not valid" if run.total_nats is None or not run.valid else "diverged"
    loss = run.scores.get("cross_entropy")
    return "worse than guessing" if loss is not None and loss.value > run.baselines.get("uniform", math.inf) else ""


# Sources


@dataclass(frozen=True, kw_only=True)
class TidyTable:
    """One tidy table."""

    schema: str
    frame: Any  # A pandas DataFrame
    metadata: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None  # the scored text as it was scored; only for losses

    def with_text(self, text: Paths | InMemory, part: str | None = None) -> "TidyTable":
        """Return a table of losses with the text, or its part, that they are of; another text is an error."""
        return replace(self, text=scored_text(text, self.metadata.get("rnneval.text"), part))


Source = Record | TidyTable


def load(path: str | os.PathLike[str]) -> Source:
    """Read a record (JSON), or a table (Parquet: one file, a history's folder, or the folder of a sweep's results)."""
    place = Path(path)
    if (place / FILE).is_file():
        place = place / FILE
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
    return TidyTable(schema=schema, frame=frame, metadata=metadata)


def source_of(thing: Any) -> Source:
    """Return the source that an argument of a plotting function stands for; a frame is recognized by its columns."""
    if isinstance(thing, str | os.PathLike | Sweep):
        return load(thing.out if isinstance(thing, Sweep) else thing)
    if isinstance(thing, TidyTable | Stored):
        return cast("Source", thing)
    if hasattr(thing, "columns"):
        for schema, needed in _COLUMNS.items():
            if needed <= set(thing.columns):
                return TidyTable(schema=schema, frame=thing)
        columns = ", ".join(map(str, thing.columns))
        raise UsageError(f"a table with the columns {columns} is none that rnneval writes")
    raise UsageError(f"a {type(thing).__name__} cannot be plotted: give a record, its path, or a DataFrame of a table")


def kind_of(source: Any) -> str:
    """Return the schema of a source."""
    return source.schema if isinstance(source, TidyTable) else str(source.__struct_config__.tag)


# Files


def svg(
    figure: Figure, size: Size = SIZES["page"], *, dark: bool = False, clear: bool = False, titled: bool = True
) -> str:
    """Return a figure as an SVG image with its text alternative, on a ground that may be `clear`."""
    # Text stays text, in the reader's own font; it is laid out for DejaVu, which is as wide as any of these.
    image = _written(figure, "svg", size, DARK if dark else LIGHT, clear=clear, titled=titled).decode()
    image = image.replace("'DejaVu Sans'", _FONTS)
    # Ids that nothing refers to are names of matplotlib or of layers.
    needed = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', image))
    image = re.sub(r' id="([^"]*)"', lambda match: match[0] if match[1] in needed else "", image)
    image = image.replace("<metadata>", f"<desc>{html.escape(figure.alt)}</desc>\n <metadata>", 1)
    # Ids and titles are made of the names of layers: characters that XML or UTF-8 cannot hold are shown as escapes.
    return "\n".join(map(visible, image.split("\n")))


def save(figure: Figure, path: str | os.PathLike[str], size: str = "page", *, dark: bool = False) -> None:
    """Write the figure to a file by its ending: PNG, SVG or PDF."""
    place, form = os.fspath(path), Path(path).suffix.lower().removeprefix(".")
    if form not in ENDINGS:
        seen = f"ends in .{form}" if form else "has no ending"
        raise UsageError(f"{place}: {seen}: a figure is written to .png, .svg or .pdf")
    if figure.paint is None:
        raise UsageError(f"{place}: the figure {figure.name} is text: leave --out out, or make a report")
    if form == "svg":
        write_text(svg(figure, SIZES[size], dark=dark), path)
        return
    with whole_file(path) as temporary:
        temporary.write_bytes(_written(figure, form, SIZES[size], DARK if dark else LIGHT))


def _written(figure: Figure, form: str, size: Size, look: Look, *, clear: bool = False, titled: bool = True) -> bytes:
    """Draw the figure by itself, and return the file."""
    import matplotlib as mpl

    theirs = {key: value for key, value in mpl.rcParamsDefault.items() if not key.startswith("backend")}
    written = io.BytesIO()
    metadata = {"Title": visible(figure.title), **dict.fromkeys(_DATED[form])}
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message=".*deprecat", category=mpl.MatplotlibDeprecationWarning)
        mpl.rcParams.update(theirs | _OURS | {"svg.hashsalt": figure.name})
        canvas = _drawn(figure, size, look, clear=clear, titled=titled)
        canvas.savefig(written, format=form, dpi=size[2], metadata=metadata)
    return written.getvalue()


def _drawn(figure: Figure, size: Size, look: Look, *, clear: bool, titled: bool) -> Any:
    """Draw on a matplotlib Figure of its own."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import to_rgb
    from matplotlib.figure import Figure as Canvas
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    width, height, dpi = size
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
    canvas = Canvas((width, height or max(width, LOWEST) * figure.height), dpi, layout=layout)
    FigureCanvasAgg(canvas)
    canvas.set_facecolor((0, 0, 0, 0) if clear else look.paper)
    ax = canvas.add_subplot()
    ax.set_facecolor((*to_rgb(look.paper), 0.0 if clear else 1.0))
    if titled and figure.title:  # over the whole width, in as many lines as it needs
        shown = canvas.suptitle("", x=0.1 / width, ha="left", fontsize=11, fontweight="bold", color=look.ink)
        fill(shown, figure.title, (width - 0.2) * 72)
    layout.execute(canvas)  # what is drawn next may ask how large the Axes are
    figure.draw(ax)
    ax.set_title("", loc="left")
    layout.execute(canvas)
    canvas.set_layout_engine(None)  # else savefig draws everything once more, for the layout alone
    return canvas


def dark_of(svg: str) -> str:
    """Return a picture in the light look in the colours of the dark one, as it would be drawn.

    Drawing takes a hundred times as long, and figures take every colour from their look.
    """
    colors = {getattr(LIGHT, name): getattr(DARK, name) for name in ("paper", "ink", "muted", "grid", "hot")}
    colors |= dict(zip(LIGHT.palette, DARK.palette, strict=True))
    pattern = re.compile("|".join(colors))
    return _TAG.sub(lambda tag: pattern.sub(lambda match: colors[match[0]], tag[0]), svg)
