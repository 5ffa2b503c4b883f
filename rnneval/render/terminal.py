"""Documents in the terminal: here text out of files is made harmless, and nowhere else.

All words are `inert`: rich's own classes read `[red]` as markup and let an escape sequence through.
"""

import io
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table as RichTable
from rich.text import Text

from rnneval.render.document import (
    Block,
    Code,
    Facts,
    Found,
    Heading,
    Items,
    Kind,
    Notice,
    Paragraph,
    Table,
    Verdict,
    brief,
)
from rnneval.render.phrasing import not_a_command, shortened, visible

_PIPED = 120
_LONGEST_TEXT = 2000
_STYLES: dict[Kind | None, str] = {"pass": "green", "fail": "bold red", "unsure": "yellow", "note": "dim", None: ""}


def terminal() -> Console:
    """Return standard output: as wide as the terminal is, 120 columns into a pipe; rich respects NO_COLOR."""
    width = None if sys.stdout.isatty() else _PIPED
    return Console(file=sys.stdout, highlight=False, width=width)


def print_document(blocks: Iterable[Block]) -> None:
    """Print a document on standard output; colour only on a terminal, and not with NO_COLOR."""
    show(_renderable(blocks))


def show(renderable: RenderableType) -> None:
    """Print on standard output; no line of it is a command to a continuous integration that reads along."""
    terminal().print(_Lines(renderable))


def as_text(blocks: Iterable[Block], width: int) -> str:
    """Return a document as text without colour, for a log or the message of an assertion."""
    file = io.StringIO()
    console = Console(file=file, width=width, color_system=None, force_terminal=False, highlight=False)
    console.print(_Lines(_renderable(blocks)))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def inert(*parts: str | tuple[str, str], style: str = "") -> Text:
    r"""Return text that is shown as it is: no markup, no control characters, no second line.

    Args:
        parts: Strings, each alone or with its style.
        style: Style of all of it.

    Example:
        >>> inert("[red]", ("gru\x1b[2J", "bold")).plain
        '[red]gru\\x1b[2J'
    """
    styled = (part if isinstance(part, tuple) else (part, "") for part in parts)
    return Text.assemble(*((shortened(visible(text), _LONGEST_TEXT), style) for text, style in styled), style=style)


class _Lines:
    """Renders what it is given, then checks every line: a folded text may go on with a command."""

    def __init__(self, renderable: RenderableType) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in console.render_lines(self._renderable, options, pad=False):
            text = "".join(segment.text for segment in line)
            fixed = not_a_command(visible(text))
            yield from line if fixed == text else [Segment(fixed)]
            yield Segment.line()


class _FittedTable:
    """A table that breaks headings between words, then moves closer, if it is too wide; numbers are never broken."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        whole = [[heading] for heading in self._table.head]
        broken = [self._broken(column) for column in range(len(whole))]
        for head, gap in ((whole, 2), (broken, 2), (broken, 1)):
            grid = self._grid(head, gap)
            if console.measure(grid, options=options.update(max_width=10_000)).maximum <= options.max_width:
                break
        yield grid

    def _grid(self, head: Sequence[Sequence[str]], gap: int) -> RichTable:
        table = _plain_table(show_header=any(self._table.head), padding=(0, gap))
        for column, lines in enumerate(head):
            side: Literal["left", "center", "right"] = "right" if column in self._table.right else "left"
            if self._table.matrix and column:
                side = "center"
            heading = Text("\n").join(inert(line) for line in lines)
            table.add_column(heading, justify=side, no_wrap=side != "left", overflow="fold")
        for row in self._table.rows:
            table.add_row(*(inert(shortened(visible(cell.text)), style=_STYLES[cell.kind]) for cell in row))
        return table

    def _broken(self, column: int) -> list[str]:
        """Return the lines of a heading, which is broken where it is wider than its column."""
        words = self._table.head[column].split(" ")
        room = max([len(row[column].text) for row in self._table.rows] + [len(word) for word in words])
        lines = words[:1]
        for word in words[1:]:
            longer = f"{lines[-1]} {word}"
            lines[-1:] = [longer] if len(longer) <= room else [lines[-1], word]
        return lines


def _renderable(blocks: Iterable[Block]) -> Group:
    """Return blocks as rich prints them, with an empty line between tables and other blocks."""
    parts: list[RenderableType] = []
    before: Block | None = None
    for block in brief(blocks):
        if before is not None and _apart(before, block):
            parts.append("")
        parts.append(_SHOWN[type(block)](block))
        before = block
    return Group(*parts)


def _apart(before: Block, after: Block) -> bool:
    if isinstance(before, Heading) or (isinstance(after, Paragraph) and after.muted):
        return False
    return isinstance(before, Table | Facts | Found) or isinstance(after, Table | Facts | Found | Heading)


def _plain_table(**options: Any) -> RichTable:
    """Return an empty table without lines."""
    return RichTable(box=None, pad_edge=False, header_style="dim", **options)


def _facts(block: Facts) -> RichTable:
    table = _plain_table(show_header=False, padding=(0, 2))
    table.add_column("", style="dim")
    table.add_column("", overflow="fold")
    for fact in block.rows:
        table.add_row(inert(fact.name), inert(fact.text))
    return table


def _items(block: Items) -> Group:
    details = (f" ({item.details})" if item.details else "" for item in block.rows)
    lines = zip(block.rows, details, strict=True)
    return Group(*(inert((f"{item.title}: ", "bold"), item.text, (more, "dim")) for item, more in lines))


def _verdict(block: Verdict) -> Text:
    about, reason = f"{block.about}: " if block.about else "", f"  {block.reason}" if block.reason else ""
    return inert(about, (block.word, f"bold {_STYLES[block.kind]}"), reason)


def _found(block: Found) -> Group:
    place = (block.place or "").removeprefix(f"{Path.cwd()}{os.sep}")
    severity = (block.severity, f"bold {_STYLES[block.kind]}")
    head = inert(severity, " ", (block.rule, "bold"), (f"  {place}" if place else "", "dim"))
    explained = [inert(block.message)]
    explained += [inert(("help: ", "dim"), block.help)] if block.help else []
    return Group(head, Padding(Group(*explained), (0, 0, 0, 2)))


_SHOWN: dict[type, Callable[[Any], RenderableType]] = {
    Table: _FittedTable,
    Facts: _facts,
    Heading: lambda block: inert(block.text, style="bold"),
    Paragraph: lambda block: inert(block.text, style="dim" if block.muted else ""),
    Items: _items,
    Verdict: _verdict,
    Notice: lambda block: inert((f"{block.title}: ", f"bold {_STYLES[block.kind]}"), block.text),
    Found: _found,
    Code: lambda block: inert(block.text),
}
