"""A figure, and the records and tables that figures are made from.

A figure has a title and a text alternative made from a record, and a drawing or a coloured text.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.text import Text

from rnneval.errors import RecordError, UsageError
from rnneval.records import Record, read, read_table
from rnneval.records._base import Shown
from rnneval.records.tables import GRADIENT_HISTORY, LOSSES, STATE_HISTORY, SWEEP, TRACE
from rnneval.render.figures._keywords import Keywords
from rnneval.render.figures._style import Look, frame, look_of
from rnneval.sweeps import table as sweeps

LOCK = threading.RLock()
"""Held while matplotlib's settings are changed, so that threads do not see each other's."""


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
    absent: tuple[str, ...] = ()
    """Words of marks that are not in this picture: `reading` goes without the sentences that hold them."""
    chapter: Literal["inside", "numbers", "baselines"] = "inside"
    """Chapter of a report that shows the figure of a model."""

    def draw(self, ax: Any = None, keywords: Keywords | None = None) -> Any:
        """Draw on `ax`, by default the current Axes, and return it; a figure that is text returns its `rich` text.

        Raises:
            UsageError: a figure that is text, and anything is to be changed.
        """
        changed = keywords or Keywords()
        if self.text is not None:
            self.require_changes(changed)
            return self.text()
        assert self.paint is not None  # noqa: S101 - a figure has one of the two
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.gca()
        import matplotlib as mpl

        look = changed.applied_to(look_of(ax))
        with LOCK, mpl.rc_context(look.theme()):
            ax.tick_params(which="both", labelsize="small", length=3)
            self.paint(ax, look)
            changed.move_legend(ax)
            title = self.title if changed.title is None else changed.title
            frame(ax, look, title=title, x=self.x, y=self.y, grid=self.grid)
        return ax

    def require_changes(self, keywords: Keywords) -> None:
        """Refuse changes to a figure that is text.

        Raises:
            UsageError: it is, and anything is to be changed.
        """
        if self.text is not None and keywords.any:
            raise UsageError(f"the figure {self.name} is text: it has no title, legend or palette to change")


# Sources

# A frame without a file's metadata is recognized by its columns.
_COLUMNS = {
    TRACE: {"position", "layer", "slot", "statistic", "value", "low", "high"},
    LOSSES: {"token", "document", "byte_start", "byte_end", "nats"},
    GRADIENT_HISTORY: {"step", "layer", "variable", "statistic", "value"},
    STATE_HISTORY: {"epoch", "layer", "variable", "statistic", "value"},
    SWEEP: {"path", "run", "epoch", "step", "status"},
}


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
    return _table(place) if place.is_dir() or place.suffix == ".parquet" else read(place)


def source_of(given: Any) -> Any:
    """Return the source that an argument of a plotting function stands for; several of them become a list.

    A path is read, a frame is recognized by its columns.

    Raises:
        RecordError: as `load`.
        UsageError: nothing that rnneval writes.
    """
    if isinstance(given, str | os.PathLike):
        return load(given)
    if isinstance(given, Shown | Table):
        return given
    if hasattr(given, "columns") and hasattr(given, "groupby"):
        return Table(schema=_schema_of(given.columns), frame=given)
    if isinstance(given, Sequence) and given:
        return [source_of(each) for each in given]
    raise UsageError(f"a {type(given).__name__} cannot be plotted: give a record, its path, or a DataFrame of a table")


def kind_of(source: Any) -> str:
    """Return the schema of a source."""
    if isinstance(source, Table):
        return source.schema
    return str(getattr(type(source), "__struct_config__").tag)  # noqa: B009 - msgspec's own name


def _schema_of(columns: Any) -> str:
    there = set(columns)
    for schema, needed in _COLUMNS.items():
        if needed <= there:
            return schema
    raise UsageError(f"a table with the columns {', '.join(map(str, columns))} is none that rnneval writes")


def _table(place: Path) -> Table:
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
