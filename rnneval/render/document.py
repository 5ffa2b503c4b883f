"""The document model: what a record says, as plain values that every output format renders.

`run_document`, `wiring_document`, `gate_document` and the chapters of the report make blocks of records; `terminal`,
`html` and `markdown` render them, and make their text safe to show. `brief` shortens blocks for terminal and notebook.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeGuard

from msgspec.structs import replace

from rnneval.records._base import Value

Kind = Literal["pass", "fail", "unsure", "note"]
"""Right, wrong, not known, or neither: always shown with a word or a symbol, never as a colour alone."""

KINDS: dict[str, Kind] = {
    "pass": "pass", "fail": "fail", "inconclusive": "unsure", "not comparable": "unsure", "not tested": "unsure",
    "error": "fail", "warning": "unsure", "info": "note",
}  # fmt: skip
"""Kind of each verdict and of each severity."""


class TableCell(Value, frozen=True, kw_only=True):
    """One cell of a table: its text, its colour, and whether it is code."""

    text: str
    kind: Kind | None = None
    code: bool = False


class TableBlock(Value, frozen=True, kw_only=True, tag="table"):
    """A table; its first column names the rows, columns of numbers are aligned to the right.

    Only a report shows `extra` columns, where there is room, and the note on how to read it.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    right: tuple[int, ...]
    extra: tuple[int, ...] = ()
    note: str | None = None
    matrix: bool = False
    """Whether rows and columns are of one kind, so that it must stay a grid on a narrow screen, too."""


class Fact(Value, frozen=True, kw_only=True):
    """A name and its value."""

    name: str
    text: str
    code: bool = False


class FactList(Value, frozen=True, kw_only=True, tag="facts"):
    """A list of facts."""

    rows: tuple[Fact, ...]


class KeyNumber(Value, frozen=True, kw_only=True):
    """One number, shown large in a report, with its confidence interval."""

    name: str
    value: str
    unit: str
    interval: str | None = None


class KeyNumbers(Value, frozen=True, kw_only=True, tag="figures"):
    """The few numbers that matter most. The tag is part of the report's JSON; a `Picture` is no such figure."""

    items: tuple[KeyNumber, ...]


class Heading(Value, frozen=True, kw_only=True, tag="heading"):
    """A title within a document; a `Subsection` has its own."""

    text: str


class Paragraph(Value, frozen=True, kw_only=True, tag="paragraph"):
    """A paragraph; text between backticks is code, and an explanation is muted: in a quieter colour."""

    text: str
    muted: bool = False


class VerdictBlock(Value, frozen=True, kw_only=True, tag="verdict"):
    """A verdict in one word, what it is about, and its reason."""

    kind: Kind
    word: str
    about: str | None = None
    reason: str | None = None


class Notice(Value, frozen=True, kw_only=True, tag="notice"):
    """A sentence that must not be overlooked."""

    kind: Kind
    title: str
    text: str


class Code(Value, frozen=True, kw_only=True, tag="code"):
    """Text to copy: a click in a report selects all of it."""

    label: str
    text: str


class FindingBlock(Value, frozen=True, kw_only=True, tag="found"):
    """A violation of a rule: the message, its file and line, what to write instead, and the text of the rule."""

    kind: Kind
    rule: str
    severity: str
    place: str | None = None
    layer: str | None = None
    message: str
    help: str | None = None
    about: str | None = None  # text of the rule in Markdown, which comes with rnneval; only a report shows it, folded


class Picture(Value, frozen=True, kw_only=True, tag="picture"):
    """A picture that is drawn from data; renderers are given the drawings by key.

    `alt` is for those who cannot see it, `reading` a sentence on how to read it; `more` of that is folded.
    """

    key: str
    title: str
    alt: str
    reading: str
    more: str


class Subsection(Value, frozen=True, kw_only=True, tag="part"):
    """Blocks under a heading of their own."""

    anchor: str
    title: str
    blocks: tuple["Block", ...]


class Fold(Value, frozen=True, kw_only=True, tag="fold"):
    """Blocks that a reader of the report unfolds."""

    title: str
    blocks: tuple["Block", ...]


Block = (
    TableBlock | FactList | KeyNumbers | Heading | Paragraph | VerdictBlock | Notice | Code | FindingBlock | Picture
    | Subsection | Fold
)  # fmt: skip


class Claim(Value, frozen=True, kw_only=True):
    """One observation, in a sentence that can be read alone, and the anchor of the part that shows it."""

    kind: Kind
    sentence: str
    anchor: str


class Section(Value, frozen=True, kw_only=True):
    """A chapter of a page; its lead is a sentence on what it shows."""

    anchor: str
    title: str
    lead: str
    blocks: tuple[Block, ...]


class Report(Value, frozen=True, kw_only=True, tag_field="schema", tag="rnneval.report/1"):
    """Everything that a report says; the first claim, the worst, is the headline."""

    title: str
    claims: tuple[Claim, ...]
    sections: tuple[Section, ...]
    records: tuple[str, ...]  # names of the records that it was made from
    rnneval: str  # version that made the page


def table(
    caption: str, head: Iterable[str], rows: Iterable[Iterable[str | TableCell]], right: Iterable[int] = (), **more: Any
) -> TableBlock:
    """Return a table; in its rows, a string is a cell without a mark."""
    marked = tuple(tuple(TableCell(text=cell) if isinstance(cell, str) else cell for cell in cells) for cells in rows)
    return TableBlock(caption=caption, head=tuple(head), rows=marked, right=tuple(right), **more)


def code(text: str) -> TableCell:
    """Return a cell shown in code type."""
    return TableCell(text=text, code=True)


def facts(rows: Iterable[tuple[str, str]]) -> FactList:
    """Return a list of facts, each a name and its value."""
    return FactList(rows=tuple(Fact(name=name, text=text) for name, text in rows))


def is_warning(block: Block) -> TypeGuard[Notice]:
    """Return whether a block is a warning of a record: a command prints these on standard error."""
    return isinstance(block, Notice) and block.title.startswith("warning ")


def brief(blocks: Iterable[Block]) -> Iterator[Block]:
    """Return a document as a terminal and a notebook show it: without captions, notes, `extra` columns and rules."""
    for block in blocks:
        if isinstance(block, TableBlock):
            kept = [column for column in range(len(block.head)) if column not in block.extra]
            rows = ([row[column] for column in kept] for row in block.rows)
            right = (place for place, column in enumerate(kept) if column in block.right)
            yield table("", [block.head[column] for column in kept], rows, right, matrix=block.matrix)
        else:
            yield replace(block, about=None) if isinstance(block, FindingBlock) else block
