"""What a page is made of: plain values, which a template turns into HTML and `--format json` into JSON.

Text in them is as it came, out of files too: the template alone makes it safe to show.
"""

from typing import Literal

from rnneval.records._base import Value

Kind = Literal["pass", "fail", "unsure", "note"]
"""Right, wrong, not known, or neither: always shown as a symbol and a word, never as a colour alone."""


_SENTENCE, _COLUMNS = 30, 4


class Claim(Value, frozen=True, kw_only=True):
    """One thing that the records say, in a sentence that needs no other."""

    kind: Kind
    sentence: str
    anchor: str
    """Of the part of the page that shows it."""


class Cell(Value, frozen=True, kw_only=True):
    """One cell of a table."""

    text: str
    kind: Kind | None = None
    """Shown as a symbol before the text."""
    code: bool = False


class Table(Value, frozen=True, kw_only=True, tag="table"):
    """A table; its first column names the rows, columns of numbers are set to the right."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    right: tuple[int, ...]
    """Which columns hold numbers."""
    note: str | None = None
    """One sentence on how to read it."""

    matrix: bool = False
    """Whether rows and columns are of one kind, so that it must stay a grid on a narrow screen, too."""

    @property
    def prose(self) -> bool:
        """Whether cells hold sentences."""
        return any(len(cell.text) > _SENTENCE for row in self.rows for cell in row)

    @property
    def listed(self) -> bool:
        """Whether it is a list on a narrow screen: what is wide, and no matrix."""
        return not self.matrix and (self.prose or len(self.head) > _COLUMNS)


class Fact(Value, frozen=True, kw_only=True):
    """A name and what it is."""

    name: str
    text: str
    code: bool = False


class Facts(Value, frozen=True, kw_only=True, tag="facts"):
    """A list of facts."""

    rows: tuple[Fact, ...]


class Figure(Value, frozen=True, kw_only=True):
    """One number, large."""

    name: str
    value: str
    unit: str
    interval: str | None = None


class Figures(Value, frozen=True, kw_only=True, tag="figures"):
    """The few numbers that matter most."""

    items: tuple[Figure, ...]


class Paragraph(Value, frozen=True, kw_only=True, tag="paragraph"):
    """A paragraph; what stands between backticks is code."""

    text: str


class Notice(Value, frozen=True, kw_only=True, tag="notice"):
    """A sentence that must not be overlooked."""

    kind: Kind
    title: str
    text: str


class Code(Value, frozen=True, kw_only=True, tag="code"):
    """Something to copy: a click marks all of it."""

    label: str
    text: str


class Found(Value, frozen=True, kw_only=True, tag="found"):
    """A fault: what, where, what to write instead, and the rule's own text."""

    kind: Kind
    rule: str
    severity: str
    place: str | None = None
    layer: str | None = None
    message: str
    help: str | None = None
    about: str | None = None
    """Markdown, out of this package and no file."""


class Picture(Value, frozen=True, kw_only=True, tag="picture"):
    """A figure, by the key under which it is drawn."""

    key: str
    title: str
    alt: str
    reading: str
    """One sentence on how to read it."""
    more: str
    """The rest of it."""


class Part(Value, frozen=True, kw_only=True, tag="part"):
    """Blocks under a heading of their own."""

    anchor: str
    title: str
    blocks: tuple["Block", ...]


class Fold(Value, frozen=True, kw_only=True, tag="fold"):
    """What is there for those who ask for it."""

    title: str
    blocks: tuple["Block", ...]


Block = Table | Facts | Figures | Paragraph | Notice | Code | Found | Picture | Part | Fold


class Section(Value, frozen=True, kw_only=True):
    """One of the page's chapters."""

    anchor: str
    title: str
    lead: str
    """What the reader finds here, in a sentence."""
    blocks: tuple[Block, ...]


class Page(Value, frozen=True, kw_only=True, tag_field="schema", tag="rnneval.report/1"):
    """Everything that a report says."""

    title: str
    claims: tuple[Claim, ...]
    """The worst first: that is the verdict."""
    sections: tuple[Section, ...]
    records: tuple[str, ...]
    """What was read, as it was named."""
    rnneval: str
    """The version that made the page."""
