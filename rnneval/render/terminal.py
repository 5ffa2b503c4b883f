"""Documents in the terminal, or as plain text: here, and not in the document, text from files is made harmless.

All text goes through `inert`, since rich reads `[red]` as markup and lets escape sequences through.
"""

import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from msgspec.structs import replace
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, JustifyMethod, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from rnneval.render import document as doc
from rnneval.render.phrasing import framed, not_a_command, shortened, visible

_LONGEST_TEXT = 2000
_STYLES: dict[doc.Kind | None, str] = {"pass": "green", "fail": "bold red", "unsure": "yellow", "note": "dim", None: ""}


def terminal() -> Console:
    """Return standard output: as wide as `COLUMNS` or the terminal says, else 120 columns; rich respects NO_COLOR."""
    columns = os.environ.get("COLUMNS", "")
    width = None if sys.stdout.isatty() else 120
    return Console(file=sys.stdout, highlight=False, width=max(int(columns), 20) if columns.isdigit() else width)


def print_document(blocks: Iterable[doc.Block]) -> None:
    """Print a document on standard output; colour only on a terminal, and not with NO_COLOR."""
    show(_document(blocks, terminal().width))


def show(renderable: RenderableType) -> None:
    """Print on standard output; no line of it is a command to a continuous integration that reads along."""
    terminal().print(_Lines(renderable))


def as_text(blocks: Iterable[doc.Block], width: int) -> str:
    """Return a document as text without colour, for a log or the message of an assertion."""
    file = io.StringIO()
    Console(file=file, width=width, color_system=None, highlight=False).print(_Lines(_document(blocks, width)))
    return file.getvalue().removesuffix("\n")


def inert(*parts: str | tuple[str, str], style: str = "") -> Text:
    r"""Return text that is shown as it is: no markup, no control characters, no second line; a part may have a style.

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
        for segments in console.render_lines(self._renderable, options, pad=False):
            line = Text.assemble(*((each.text, each.style or "") for each in segments))
            line.rstrip()
            fixed = not_a_command(visible(line.plain))
            shown = line if fixed == line.plain else Text(fixed)
            shown.no_wrap, shown.overflow = True, "ignore"
            yield shown


def _document(blocks: Iterable[doc.Block], width: int) -> Group:
    """Return blocks as rich prints them, with an empty line between tables and other blocks."""
    parts: list[RenderableType] = []
    before: doc.Block | None = None
    tables = (doc.TableBlock, doc.FactList, doc.FindingBlock)
    for block in doc.brief(blocks):
        is_note = isinstance(block, doc.Paragraph) and block.muted
        attached = before is None or isinstance(before, doc.Heading) or is_note
        if not attached and (isinstance(before, tables) or isinstance(block, (*tables, doc.Heading))):
            parts.append("")
        parts += _renderables(block, width)
        before = block
    return Group(*parts)


def _renderables(block: doc.Block, width: int) -> Iterator[RenderableType]:
    match block:
        case doc.TableBlock():
            numbered = _grid(_numbered(block), width) if block.matrix else None
            yield _grid(block, width) or numbered or _list(block, width)
        case doc.FactList():
            yield _pairs(width, [(fact.name, inert(fact.text)) for fact in block.rows])
        case doc.Heading():
            yield inert(block.text, style="bold")
        case doc.Paragraph():
            yield inert(block.text, style="dim" if block.muted else "")
        case doc.VerdictBlock():
            word = (block.word, f"bold {_STYLES[block.kind]}")
            yield inert(framed("", block.about, ": "), word, framed("  ", block.reason))
        case doc.Notice():
            yield inert((f"{block.title}: ", f"bold {_STYLES[block.kind]}"), block.text)
        case doc.FindingBlock():
            place = (block.place or "").removeprefix(f"{Path.cwd()}{os.sep}")
            severity = (block.severity, f"bold {_STYLES[block.kind]}")
            yield inert(severity, " ", (block.rule, "bold"), (framed("  ", place), "dim"))
            advice = [inert(("help: ", "dim"), block.help)] if block.help else []
            yield Padding(Group(inert(block.message), *advice), (0, 0, 0, 2))
        case _:
            raise TypeError(f"a {type(block).__name__} cannot be shown on a terminal")


def _pairs(width: int, rows: Sequence[tuple[str, Text]]) -> RichTable:
    """Return names and texts in two columns, without lines."""
    grid = RichTable(box=None, pad_edge=False, show_header=False, padding=(0, 2))
    widest = max((cell_len(visible(name)) for name, _ in rows), default=0)
    grid.add_column("", style="dim", width=min(widest, width // 2), overflow="fold")
    grid.add_column("", overflow="fold")
    for name, text in rows:
        grid.add_row(inert(name), text)
    return grid


def _grid(block: doc.TableBlock, width: int) -> RichTable | None:
    """Return a table that moves closer and wraps words if it is too wide; None where it would break a word."""
    head = [inert(heading) for heading in block.head]
    rows = [[_cell(cell) for cell in row] for row in block.rows]
    whole, snug, least = [], [], []  # widths: of headings in one line, of broken headings, of single words
    for k, heading in enumerate(head):
        cells = [row[k] for row in rows]
        longest = max(map(cell_len, ["", *heading.plain.split()]))
        snug.append(max([longest, *(cell.cell_len for cell in cells)]))
        whole.append(max(heading.cell_len, snug[k]))
        words = [word for cell in cells for word in cell.plain.split()]
        least.append(snug[k] if k in block.right else max([longest, *map(cell_len, words)]))
    for widths, gap in ((whole, 2), (snug, 2), (snug, 1)):
        room = width - 2 * gap * (len(head) - 1)
        if sum(widths) <= room:
            break
    if sum(least) > room:
        return None
    while sum(widths) > room:  # the widest first
        widths[max((k for k in range(len(head)) if widths[k] > least[k]), key=widths.__getitem__)] -= 1
    shown = any(heading.plain for heading in head)
    grid = RichTable(box=None, pad_edge=False, header_style="dim", show_header=shown, padding=(0, gap))
    for k, heading in enumerate(head):
        side: JustifyMethod = "center" if block.matrix and k else "right" if k in block.right else "left"
        grid.add_column(heading, justify=side, width=widths[k], overflow="fold")
    for row in rows:
        grid.add_row(*row)
    return grid


def _cell(cell: doc.TableCell) -> Text:
    return inert(shortened(visible(cell.text)), style=_STYLES[cell.kind])


def _numbered(block: doc.TableBlock) -> doc.TableBlock:
    """Return a matrix whose rows are numbered, with these numbers in place of the names of its columns."""
    number = {row[0].text: str(at) for at, row in enumerate(block.rows, 1)}
    rows = tuple((replace(row[0], text=f"{number[row[0].text]} {row[0].text}"), *row[1:]) for row in block.rows)
    return replace(block, head=tuple(number.get(name, name) for name in block.head), rows=rows)


def _list(block: doc.TableBlock, width: int) -> Group:
    """Return each row of a table that is too wide as a list: its name, and below it what each column says of it."""
    parts: list[RenderableType] = []
    for first, *others in block.rows:
        parts.append(inert((framed("", block.head[0], " "), "dim"), _cell(first).plain))
        named = [(name, _cell(cell)) for name, cell in zip(block.head[1:], others, strict=True) if cell.text]
        parts.append(Padding(_pairs(width - 2, named), (0, 0, 0, 2)))
    return Group(*parts)
