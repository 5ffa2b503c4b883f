"""Documents in the terminal: here text out of files is made harmless, and nowhere else.

All words are `inert`: rich's own classes read `[red]` as markup and let an escape sequence through.
"""

import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table as RichTable
from rich.text import Text

from rnneval.render.document import (
    Block,
    Cell,
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

_PIPED, _NARROWEST = 120, 20
_LONGEST_TEXT = 2000
_PIECE = re.compile(r"\s*[^\s/|]+[/|]*\s*|\s*[/|]+\s*|\s+")
"""A part of a text that is kept on one line."""
_STYLES: dict[Kind | None, str] = {"pass": "green", "fail": "bold red", "unsure": "yellow", "note": "dim", None: ""}


def terminal() -> Console:
    """Return standard output: as wide as `COLUMNS` or the terminal says, else 120 columns; rich respects NO_COLOR."""
    columns = os.environ.get("COLUMNS", "")
    width = None if sys.stdout.isatty() else _PIPED
    if columns.isdigit() and int(columns):
        width = max(int(columns), _NARROWEST)
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


def _wrapped(*parts: str | tuple[str, str], style: str = "") -> "_Wrapped":
    return _Wrapped(inert(*parts, style=style))


class _Lines:
    """Renders what it is given, then checks every line: a folded text may go on with a command."""

    def __init__(self, renderable: RenderableType) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for rendered in console.render_lines(self._renderable, options, pad=False):
            line = _without_padding(rendered)
            text = "".join(segment.text for segment in line)
            fixed = not_a_command(visible(text))
            yield from line if fixed == text else [Segment(fixed)]
            yield Segment.line()


def _without_padding(line: Sequence[Segment]) -> list[Segment]:
    """Return a line without the spaces at its end; coloured ones stay."""
    kept = list(line)
    while kept and kept[-1].text.endswith(" ") and not (kept[-1].style and kept[-1].style.bgcolor):
        last = kept.pop()
        kept += [Segment(text, last.style)] if (text := last.text.rstrip(" ")) else []
    return kept


class _Wrapped:
    """Text whose lines end between words; a word longer than a line is broken, after `/` or `|` if it has any."""

    def __init__(self, text: Text) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self._text.divide(_line_ends(self._text.plain, options.max_width)):
            line.rstrip()
            yield line

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(_longest_piece(self._text.plain), cell_len(self._text.plain))


def _line_ends(text: str, width: int) -> list[int]:
    """Return the places at which a text is broken into lines of so many columns; a number keeps its per cent sign."""
    ends: list[int] = []
    at = used = 0
    for word in re.findall(r"\s*\S+(?: %\S*)?\s*|\s+", text):
        pieces = [word]
        if cell_len(word.strip()) > width:
            pieces = [part for piece in _PIECE.findall(word) for part in chop_cells(piece, width)]
        for piece in pieces:
            if used and used + cell_len(piece.rstrip()) > width:
                ends.append(at)
                used = 0
            used += cell_len(piece)
            at += len(piece)
    return ends


def _longest_piece(text: str) -> int:
    return max((cell_len(piece.strip()) for piece in _PIECE.findall(text)), default=0)


class _FittedTable:
    """A table that breaks headings between words, then moves closer, then wraps words, if it is too wide.

    No number or word is ever broken: where nothing else helps, each row becomes a list.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._head = [visible(heading) for heading in table.head]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        whole = [[heading] for heading in self._head]
        broken = [self._broken(column) for column in range(len(whole))]
        for head, gap in ((whole, 2), (broken, 2), (broken, 1)):
            room = options.max_width - 2 * gap * (len(head) - 1)
            widths, least = zip(*(self._widths(column, lines) for column, lines in enumerate(head)), strict=True)
            if sum(widths) <= room:
                break
        if sum(least) > room:
            yield self._list()
        else:
            yield self._grid(head, gap, _narrowed(widths, least, room))

    def _widths(self, column: int, heading: Sequence[str]) -> tuple[int, int]:
        """Return the width that a column wants, and the least that breaks no word; numbers are not wrapped."""
        cells = [_shown(row[column]) for row in self._table.rows]
        wanted = max(map(cell_len, (*heading, *cells)))
        if self._wraps(column):
            return wanted, max(map(_longest_piece, (*heading, *cells)))
        return wanted, wanted

    def _wraps(self, column: int) -> bool:
        return column not in self._table.right and not (self._table.matrix and column)

    def _grid(self, head: Sequence[Sequence[str]], gap: int, widths: Sequence[int]) -> RichTable:
        table = _plain_table(show_header=any(self._head), padding=(0, gap))
        for column, lines in enumerate(head):
            side: Literal["left", "center", "right"] = "right" if column in self._table.right else "left"
            if self._table.matrix and column:
                side = "center"
            heading = Text("\n").join(inert(line) for line in lines)
            table.add_column(heading, justify=side, width=widths[column], overflow="fold")
        for row in self._table.rows:
            table.add_row(*(_wrapped(_shown(cell), style=_STYLES[cell.kind]) for cell in row))
        return table

    def _list(self) -> Group:
        """Return each row as a list: its name, and below it what each column says of it."""
        parts: list[RenderableType] = []
        for first, *others in self._table.rows:
            heading = (f"{self._head[0]} " if self._head[0] else "", "dim")
            parts.append(_wrapped(heading, (_shown(first), _STYLES[first.kind])))
            table = _plain_table(show_header=False, padding=(0, 1))
            table.add_column("", style="dim")
            table.add_column("")
            for name, cell in zip(self._head[1:], others, strict=True):
                if _shown(cell):
                    table.add_row(_wrapped(name), _wrapped(_shown(cell), style=_STYLES[cell.kind]))
            parts.append(Padding(table, (0, 0, 0, 2)))
        return Group(*parts)

    def _broken(self, column: int) -> list[str]:
        """Return the lines of a heading, which is broken where it is wider than its column."""
        words = self._head[column].split(" ")
        room = max([len(row[column].text) for row in self._table.rows] + [len(word) for word in words])
        lines = words[:1]
        for word in words[1:]:
            longer = f"{lines[-1]} {word}"
            lines[-1:] = [longer] if len(longer) <= room else [lines[-1], word]
        return lines


def _shown(cell: Cell) -> str:
    return shortened(visible(cell.text))


def _narrowed(widths: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Narrow columns, the widest first, none below its least, until they fit."""
    found = list(widths)
    while sum(found) > room:
        widest = max((k for k in range(len(found)) if found[k] > least[k]), key=found.__getitem__)
        found[widest] -= 1
    return found


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
    table.add_column("")
    for fact in block.rows:
        table.add_row(inert(fact.name), _wrapped(fact.text))
    return table


def _items(block: Items) -> Group:
    details = (f" ({item.details})" if item.details else "" for item in block.rows)
    lines = zip(block.rows, details, strict=True)
    return Group(*(_wrapped((f"{item.title}: ", "bold"), item.text, (more, "dim")) for item, more in lines))


def _verdict(block: Verdict) -> _Wrapped:
    about, reason = f"{block.about}: " if block.about else "", f"  {block.reason}" if block.reason else ""
    return _wrapped(about, (block.word, f"bold {_STYLES[block.kind]}"), reason)


def _found(block: Found) -> Group:
    place = (block.place or "").removeprefix(f"{Path.cwd()}{os.sep}")
    severity = (block.severity, f"bold {_STYLES[block.kind]}")
    head = _wrapped(severity, " ", (block.rule, "bold"), (f"  {place}" if place else "", "dim"))
    explained = [_wrapped(block.message)]
    explained += [_wrapped(("help: ", "dim"), block.help)] if block.help else []
    return Group(head, Padding(Group(*explained), (0, 0, 0, 2)))


_SHOWN: dict[type, Callable[[Any], RenderableType]] = {
    Table: _FittedTable,
    Facts: _facts,
    Heading: lambda block: _wrapped(block.text, style="bold"),
    Paragraph: lambda block: _wrapped(block.text, style="dim" if block.muted else ""),
    Items: _items,
    Verdict: _verdict,
    Notice: lambda block: _wrapped((f"{block.title}: ", f"bold {_STYLES[block.kind]}"), block.text),
    Found: _found,
    Code: lambda block: _wrapped(block.text),
}
