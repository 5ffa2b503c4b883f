"""A figure, and the records and tables that figures are made from."""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from rich.text import Text

from rnneval.errors import RecordError, UsageError
from rnneval.evaluate.sweep_table import FILE, Sweep
from rnneval.gates.sides import unfit
from rnneval.records import Record, Run, read, read_table
from rnneval.records._base import Stored
from rnneval.records.tables import GRADIENT_HISTORY, LOSSES, STATE_HISTORY, SWEEP, TRACE
from rnneval.render.figures._style import Look, frame, look_of
from rnneval.text import InMemory, Paths, scored_text

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
    """Makes the same as an HTML element of a report."""
    reading: str = ""
    """How to read it, from the figure's page; the package fills it in."""
    diverged: bool = False
    """Whether the title says that a training run diverged; a report puts it first."""
    chapter: Literal["wiring", "inside", "numbers"] = "inside"
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
    if reason := unfit(run):
        return "diverged" if reason.startswith("diverged") else "not valid"
    loss = run.scores.get("cross_entropy")
    return "worse than guessing" if loss is not None and loss.value > run.baselines.get("uniform", math.inf) else ""


# Sources


@dataclass(frozen=True, kw_only=True)
class TidyTable:
    """One tidy table."""

    schema: str
    frame: Any
    """A pandas DataFrame."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None
    """The scored text as it was scored; only for losses."""
    at: int | None = None
    """Byte of the text to show; only for losses."""

    def with_text(self, text: Paths | InMemory, part: str | None = None, at: int | None = None) -> "TidyTable":
        """Return a table of losses with the text, or its part, that they are of; another text is an error."""
        return replace(self, text=scored_text(text, self.metadata.get("rnneval.text"), part), at=at)


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


def source_of(given: Any) -> Source:
    """Return the source that an argument of a plotting function stands for; a frame is recognized by its columns."""
    if isinstance(given, str | os.PathLike | Sweep):
        return load(given.out if isinstance(given, Sweep) else given)
    if isinstance(given, TidyTable | Stored):
        return cast("Source", given)
    if hasattr(given, "columns"):
        for schema, needed in _COLUMNS.items():
            if needed <= set(given.columns):
                return TidyTable(schema=schema, frame=given)
        columns = ", ".join(map(str, given.columns))
        raise UsageError(f"a table with the columns {columns} is none that rnneval writes")
    raise UsageError(f"a {type(given).__name__} cannot be plotted: give a record, its path, or a DataFrame of a table")


def kind_of(source: Any) -> str:
    """Return the schema of a source."""
    return source.schema if isinstance(source, TidyTable) else str(source.__struct_config__.tag)
