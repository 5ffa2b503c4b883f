"""Where tables are printed, and what they are made of: here text out of files is made harmless, and nowhere else.

A table is a `Grid`, words are `inert`: rich's own classes read `[red]` as markup and let an escape sequence through.
"""

import io
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from rnneval.render.words import not_a_command, shortened, visible

_PIPED = 120
_LONGEST_TEXT = 2000


def terminal() -> Console:
    """Give standard output: as wide as the terminal is, 120 columns into a pipe; NO_COLOR is respected by rich."""
    width = None if sys.stdout.isatty() else _PIPED
    return Console(file=sys.stdout, highlight=False, width=width)


def show(renderable: RenderableType) -> None:
    """Print on standard output; no line of it is a command to a continuous integration that reads along."""
    terminal().print(_Lines(renderable))


def as_text(renderable: RenderableType, width: int) -> str:
    """Give what would be printed as text without colour, for a log or the message of an assertion."""
    file = io.StringIO()
    console = Console(file=file, width=width, color_system=None, force_terminal=False, highlight=False)
    console.print(_Lines(renderable))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def inert(*parts: str | tuple[str, str] | Text, style: str = "") -> Text:
    r"""Give text that is shown as it is: no markup, no control characters, no second line.

    Args:
        parts: Strings, each alone or with its style.
        style: Of all of it.

    Example:
        >>> inert("[red]", ("gru\x1b[2J", "bold")).plain
        '[red]gru\\x1b[2J'
    """
    return Text.assemble(*map(_inert, parts), style=style)


class Grid(Table):
    """A table without lines, whose headings and cells are inert."""

    def __init__(self, *headings: str, **options: Any) -> None:
        """Take rich's options; headings come as columns of their own."""
        super().__init__(**{"box": None, "pad_edge": False, "header_style": "dim", "padding": (0, 2), **options})
        for heading in headings:
            self.add_column(heading)

    def add_column(self, header: RenderableType = "", *arguments: Any, **options: Any) -> None:
        """Add a column."""
        super().add_column(_cell(header) or "", *arguments, **options)

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        """Add a row."""
        super().add_row(*map(_cell, cells), **options)


class _Lines:
    """Renders what it is given, then looks at every line: where one was folded, its second half begins a line."""

    def __init__(self, renderable: RenderableType) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in console.render_lines(self._renderable, options, pad=False):
            yield from _harmless(line)
            yield Segment.line()


def _harmless(line: Sequence[Segment]) -> Iterator[Segment]:
    text = "".join(segment.text for segment in line)
    fixed = not_a_command(visible(text))
    yield from line if fixed == text else [Segment(fixed)]


def _inert(part: str | tuple[str, str] | Text) -> tuple[str, str] | str | Text:
    if isinstance(part, Text):
        return part
    if isinstance(part, tuple):
        return shortened(visible(part[0]), _LONGEST_TEXT), part[1]
    return shortened(visible(part), _LONGEST_TEXT)


def _cell(cell: RenderableType | None) -> RenderableType | None:
    return Text(shortened(visible(cell))) if isinstance(cell, str) else cell
