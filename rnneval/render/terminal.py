"""Documents in the terminal, or as plain text: here, and not in the document, text from files is made harmless.

All text goes through `inert`, since rich reads `[red]` as markup and lets escape sequences through.
"""

import io
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table as RichTable
from rich.text import Text

from rnneval.render.document import (
    Block,
    Code,
    FactList,
    Found,
    Heading,
    Items,
    Kind,
    Notice,
    Paragraph,
    TableBlock,
    Verdict,
    brief,
)
from rnneval.render.phrasing import not_a_command, shortened, visible

_LONGEST_TEXT = 2000
_PIECE = re.compile(r"\s*[^\s/|]+[/|]*\s*|\s*[/|]+\s*|\s+")
"""A part of a text that is kept on one line."""
_STYLES: dict[Kind | None, str] = {"pass": "green", "fail": "bold red", "unsure": "yellow", "note": "dim", None: ""}


def terminal() -> Console:
    """Return standard output: as wide as `COLUMNS` or the terminal says, else 120 columns; rich respects NO_COLOR."""
    columns = os.environ.get("COLUMNS", "")
    width = None if sys.stdout.isatty() else 120
    if columns.isdigit() and int(columns):
        width = max(int(columns), 20)
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
        for rendered in console.render_lines(self._renderable, options, pad=False):
            line = [*rendered]  # without the spaces at its end; coloured ones stay
            while line and line[-1].text.endswith(" ") and not (line[-1].style and line[-1].style.bgcolor):
                last = line.pop()
                line += [Segment(text, last.style)] if (text := last.text.rstrip(" ")) else []
            whole = "".join(segment.text for segment in line)
            fixed = not_a_command(visible(whole))
            yield from line if fixed == whole else [Segment(fixed)]
            yield Segment.line()


class _Wrapped:
    """Inert text whose lines end between words; a word longer than a line is broken, after `/` or `|` if it has any."""

    def __init__(self, *parts: str | tuple[str, str], style: str = "") -> None:
        self._text = inert(*parts, style=style)

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

    def __init__(self, table: TableBlock) -> None:
        self._table = table
        self._head = [visible(heading) for heading in table.head]
        self._rows = [[(shortened(visible(cell.text)), _STYLES[cell.kind]) for cell in row] for row in table.rows]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns, table = range(len(self._head)), self._table
        whole, broken = [[heading] for heading in self._head], list(map(self._broken, columns))
        for head, gap in ((whole, 2), (broken, 2), (broken, 1)):
            room = options.max_width - 2 * gap * (len(head) - 1)
            texts = [[*head[column], *(row[column][0] for row in self._rows)] for column in columns]
            widths = [max(map(cell_len, column)) for column in texts]
            if sum(widths) <= room:
                break
        kept = {*table.right, *(columns[1:] if table.matrix else ())}  # numbers are not wrapped
        least = [widths[k] if k in kept else max(map(_longest_piece, texts[k])) for k in columns]
        if sum(least) > room:
            yield self._list()
            return
        while sum(widths) > room:  # the widest first
            widths[max((k for k in columns if widths[k] > least[k]), key=widths.__getitem__)] -= 1
        grid = RichTable(box=None, pad_edge=False, header_style="dim", show_header=any(self._head), padding=(0, gap))
        for k in columns:
            side: Literal["left", "center", "right"] = "right" if k in table.right else "left"
            if table.matrix and k:
                side = "center"
            grid.add_column(Text("\n").join(map(inert, head[k])), justify=side, width=widths[k], overflow="fold")
        for row in self._rows:
            grid.add_row(*(_Wrapped(text, style=style) for text, style in row))
        yield grid

    def _list(self) -> Group:
        """Return each row as a list: its name, and below it what each column says of it."""
        parts: list[RenderableType] = []
        for first, *others in self._rows:
            parts.append(_Wrapped((f"{self._head[0]} " if self._head[0] else "", "dim"), first))
            named = zip(self._head[1:], others, strict=True)
            told = _pairs(1, ((_Wrapped(name), _Wrapped(text, style=style)) for name, (text, style) in named if text))
            parts.append(Padding(told, (0, 0, 0, 2)))
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


def _pairs(gap: int, rows: Iterable[tuple[RenderableType, RenderableType]]) -> RichTable:
    """Return names and what is said of them in two columns, without lines."""
    table = RichTable(box=None, pad_edge=False, show_header=False, padding=(0, gap))
    table.add_column("", style="dim")
    table.add_column("")
    for each in rows:
        table.add_row(*each)
    return table


def _renderable(blocks: Iterable[Block]) -> Group:
    """Return blocks as rich prints them, with an empty line between tables and other blocks."""
    parts: list[RenderableType] = []
    before: Block | None = None
    tables = (TableBlock, FactList, Found)
    for block in brief(blocks):
        attached = before is None or isinstance(before, Heading) or (isinstance(block, Paragraph) and block.muted)
        if not attached and (isinstance(before, tables) or isinstance(block, (*tables, Heading))):
            parts.append("")
        parts += _shown(block)
        before = block
    return Group(*parts)


def _shown(block: Block) -> Iterator[RenderableType]:
    match block:
        case TableBlock():
            yield _FittedTable(block)
        case FactList():
            yield _pairs(2, ((inert(fact.name), _Wrapped(fact.text)) for fact in block.rows))
        case Heading():
            yield _Wrapped(block.text, style="bold")
        case Paragraph():
            yield _Wrapped(block.text, style="dim" if block.muted else "")
        case Items():
            for item in block.rows:
                details = f" ({item.details})" if item.details else ""
                yield _Wrapped((f"{item.title}: ", "bold"), item.text, (details, "dim"))
        case Verdict():
            about, reason = f"{block.about}: " if block.about else "", f"  {block.reason}" if block.reason else ""
            yield _Wrapped(about, (block.word, f"bold {_STYLES[block.kind]}"), reason)
        case Notice():
            yield _Wrapped((f"{block.title}: ", f"bold {_STYLES[block.kind]}"), block.text)
        case Code():
            yield _Wrapped(block.text)
        case Found():
            place = (block.place or "").removeprefix(f"{Path.cwd()}{os.sep}")
            severity = (block.severity, f"bold {_STYLES[block.kind]}")
            yield _Wrapped(severity, " ", (block.rule, "bold"), (f"  {place}" if place else "", "dim"))
            explained = [_Wrapped(block.message)]
            explained += [_Wrapped(("help: ", "dim"), block.help)] if block.help else []
            yield Padding(Group(*explained), (0, 0, 0, 2))
        case _:
            raise TypeError(f"a {type(block).__name__} cannot be shown on a terminal")
