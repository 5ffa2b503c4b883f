"""Documents in the terminal, or as plain text: here, and not in the document, text from files is made harmless.

All text goes through `inert`, since rich reads `[red]` as markup and lets escape sequences through.
"""

import io
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from msgspec.structs import replace
from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table as RichTable
from rich.text import Text

from rnneval.render import document as doc
from rnneval.render.phrasing import not_a_command, shortened, visible

Part = str | tuple[str, str]
"""A text, or a text and its style."""
_LONGEST_TEXT = 2000
_PIECE = re.compile(r"\s*[^\s/|]+[/|]*\s*|\s*[/|]+\s*|\s+")
"""A part of a text that is kept on one line."""
_STYLES: dict[doc.Kind | None, str] = {"pass": "green", "fail": "bold red", "unsure": "yellow", "note": "dim", None: ""}


def terminal() -> Console:
    """Return standard output: as wide as `COLUMNS` or the terminal says, else 120 columns; rich respects NO_COLOR."""
    columns = os.environ.get("COLUMNS", "")
    width = None if sys.stdout.isatty() else 120
    return Console(file=sys.stdout, highlight=False, width=max(int(columns), 20) if columns.isdigit() else width)


def print_document(blocks: Iterable[doc.Block]) -> None:
    """Print a document on standard output; colour only on a terminal, and not with NO_COLOR."""
    console = terminal()
    console.print(_Lines(_document(blocks, console.width)))


def show(renderable: RenderableType) -> None:
    """Print on standard output; no line of it is a command to a continuous integration that reads along."""
    terminal().print(_Lines(renderable))


def as_text(blocks: Iterable[doc.Block], width: int) -> str:
    """Return a document as text without colour, for a log or the message of an assertion."""
    file = io.StringIO()
    Console(file=file, width=width, color_system=None, highlight=False).print(_Lines(_document(blocks, width)))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def inert(*parts: Part, style: str = "") -> Text:
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


# Lines of text


def _wrapped(width: int, *parts: Part, style: str = "") -> Text:
    """Return inert text whose lines end between words; a word that is too long is broken, after `/` or `|` if any."""
    text = inert(*parts, style=style)
    lines = text.divide(_line_ends(text.plain, max(width, 1)))
    for line in lines:
        line.rstrip()
    return Text("\n").join(lines)


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


# Blocks


def _document(blocks: Iterable[doc.Block], width: int) -> Group:
    """Return blocks as rich prints them, with an empty line between tables and other blocks."""
    parts: list[RenderableType] = []
    before: doc.Block | None = None
    tables = (doc.TableBlock, doc.FactList, doc.Found)
    for block in doc.brief(blocks):
        is_note = isinstance(block, doc.Paragraph) and block.muted
        attached = before is None or isinstance(before, doc.Heading) or is_note
        if not attached and (isinstance(before, tables) or isinstance(block, (*tables, doc.Heading))):
            parts.append("")
        parts += _shown(block, width)
        before = block
    return Group(*parts)


def _shown(block: doc.Block, width: int) -> Iterator[RenderableType]:
    match block:
        case doc.TableBlock():
            yield _table(block, width)
        case doc.FactList():
            yield _pairs(width, 2, [(fact.name, fact.text, "") for fact in block.rows])
        case doc.Heading():
            yield _wrapped(width, block.text, style="bold")
        case doc.Paragraph():
            yield _wrapped(width, block.text, style="dim" if block.muted else "")
        case doc.Items():
            for item in block.rows:
                details = f" ({item.details})" if item.details else ""
                yield _wrapped(width, (f"{item.title}: ", "bold"), item.text, (details, "dim"))
        case doc.Verdict():
            about, reason = f"{block.about}: " if block.about else "", f"  {block.reason}" if block.reason else ""
            yield _wrapped(width, about, (block.word, f"bold {_STYLES[block.kind]}"), reason)
        case doc.Notice():
            yield _wrapped(width, (f"{block.title}: ", f"bold {_STYLES[block.kind]}"), block.text)
        case doc.Code():
            yield _wrapped(width, block.text)
        case doc.Found():
            place = (block.place or "").removeprefix(f"{Path.cwd()}{os.sep}")
            severity = (block.severity, f"bold {_STYLES[block.kind]}")
            yield _wrapped(width, severity, " ", (block.rule, "bold"), (f"  {place}" if place else "", "dim"))
            explained = [_wrapped(width - 2, block.message)]
            explained += [_wrapped(width - 2, ("help: ", "dim"), block.help)] if block.help else []
            yield Padding(Group(*explained), (0, 0, 0, 2))
        case _:
            raise TypeError(f"a {type(block).__name__} cannot be shown on a terminal")


def _pairs(width: int, gap: int, rows: Sequence[tuple[str, str, str]]) -> RichTable:
    """Return names and texts with their styles in two columns, without lines."""
    first = min(max((cell_len(visible(name)) for name, _, _ in rows), default=0), width // 2)
    grid = RichTable(box=None, pad_edge=False, show_header=False, padding=(0, gap))
    grid.add_column("", style="dim", width=first)
    grid.add_column("")
    for name, text, style in rows:
        grid.add_row(_wrapped(first, name), _wrapped(width - first - 2 * gap, text, style=style))
    return grid


def _table(block: doc.TableBlock, width: int) -> RenderableType:
    """Return a table; where it is too wide, a matrix whose columns are numbered, or else each row as a list."""
    return _grid(block, width) or (_grid(_numbered(block), width) if block.matrix else None) or _list(block, width)


def _grid(block: doc.TableBlock, width: int) -> RichTable | None:
    """Return a table that breaks headings between words, then moves closer, then wraps words, if it is too wide.

    No number or word is ever broken: where nothing else helps, there is no table.
    """
    columns, head, rows = range(len(block.head)), [visible(heading) for heading in block.head], _styled(block)
    cells = [[row[k][0] for row in rows] for k in columns]
    broken = [_broken(head[k], cells[k]) for k in columns]
    for lines, gap in (([[heading] for heading in head], 2), (broken, 2), (broken, 1)):
        texts = [[*lines[k], *cells[k]] for k in columns]
        widths = [max(map(cell_len, column)) for column in texts]
        room = width - 2 * gap * (len(head) - 1)
        if sum(widths) <= room:
            break
    # Numbers are not wrapped; a mark and its calls may be.
    least = [widths[k] if k in block.right else max(map(_longest_piece, texts[k])) for k in columns]
    if sum(least) > room:
        return None
    while sum(widths) > room:  # the widest first
        widths[max((k for k in columns if widths[k] > least[k]), key=widths.__getitem__)] -= 1
    grid = RichTable(box=None, pad_edge=False, header_style="dim", show_header=any(head), padding=(0, gap))
    for k in columns:
        centred = block.matrix and k
        grid.add_column(
            Text("\n").join(map(inert, lines[k])),
            justify="center" if centred else "right" if k in block.right else "left",
            width=widths[k],
        )
    for row in rows:
        grid.add_row(*(_wrapped(widths[k], text, style=style) for k, (text, style) in enumerate(row)))
    return grid


def _numbered(block: doc.TableBlock) -> doc.TableBlock:
    """Return a matrix whose rows are numbered, with these numbers in place of the names of its columns."""
    number = {row[0].text: str(at) for at, row in enumerate(block.rows, 1)}
    rows = tuple((replace(row[0], text=f"{number[row[0].text]} {row[0].text}"), *row[1:]) for row in block.rows)
    return replace(block, head=tuple(number.get(name, name) for name in block.head), rows=rows)


def _styled(block: doc.TableBlock) -> list[list[tuple[str, str]]]:
    """Return the text of each cell and its style."""
    return [[(shortened(visible(cell.text)), _STYLES[cell.kind]) for cell in row] for row in block.rows]


def _list(block: doc.TableBlock, width: int) -> Group:
    """Return each row as a list: its name, and below it what each column says of it."""
    parts: list[RenderableType] = []
    first_heading, *headings = (visible(heading) for heading in block.head)
    for (first, _), *others in _styled(block):
        parts.append(_wrapped(width, (f"{first_heading} " if first_heading else "", "dim"), first))
        named = [(name, *cell) for name, cell in zip(headings, others, strict=True) if cell[0]]
        parts.append(Padding(_pairs(width - 2, 1, named), (0, 0, 0, 2)))
    return Group(*parts)


def _broken(heading: str, cells: Iterable[str]) -> list[str]:
    """Return the lines of a heading, which is broken between words where it is wider than its column."""
    room = max(map(len, (*cells, *heading.split(" "))))
    return textwrap.wrap(heading, max(room, 1), break_on_hyphens=False) or [""]
