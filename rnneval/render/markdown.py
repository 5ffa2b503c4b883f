"""Documents as Markdown, for a comment on a merge request, the summary of a job, or notes beside a model."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from rnneval.render.document import Block, Facts, Heading, Items, Notice, Paragraph, Table, brief
from rnneval.render.phrasing import shortened, visible

_SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|#~&$!"})
_BULLET = re.compile(r"[-+](\s|$)|--+\s*$|=")
_NUMBER = re.compile(r"(\d+)[.)](\s|$)")
_LONGEST = 2000


def markdown(blocks: Iterable[Block]) -> str:
    """Return a document as Markdown with what the terminal shows of it."""
    return "\n\n".join(filter(None, map(block_markdown, brief(blocks)))) + "\n"


def block_markdown(block: Block) -> str:
    """Return one block as Markdown.

    Raises:
        TypeError: it is a block of reports alone.
    """
    if type(block) not in _WRITTEN:
        raise TypeError(f"a {type(block).__name__} has no Markdown")
    return _WRITTEN[type(block)](block)


def _notice(notice: Notice) -> str:
    title = "" if notice.title == "warning" else f"**{escaped(notice.title)}**: "
    return f"- ⚠️ {title}{escaped(notice.text)}"


def _items(items: Items) -> str:
    details = (f" ({escaped(item.details)})" if item.details else "" for item in items.rows)
    named = (f"- **{escaped(item.title)}**: {escaped(item.text)}" for item in items.rows)
    return "\n".join(map("".join, zip(named, details, strict=True)))


def _table(table: Table) -> str:
    sides = ["---:" if column in table.right else "---" for column in range(len(table.head))]
    cells = [table.head, *([cell.text for cell in row] for row in table.rows)]
    head, *body = (f"| {' | '.join(map(escaped, row))} |" for row in cells)
    return "\n".join([head, f"| {' | '.join(sides)} |", *body])


def escaped(text: str) -> str:
    r"""Escape a text so that it is not read as Markdown or HTML, wherever in a line or cell it stands.

    >>> escaped("a|b <c> *d*"), escaped("- 1. x"), escaped("1. x")
    ('a\\|b \\<c\\> \\*d\\*', '\\- 1. x', '1\\. x')
    """
    harmless = shortened(visible(text), _LONGEST).translate(_SPECIAL)
    bare = harmless.lstrip()
    number = _NUMBER.match(bare)
    if _BULLET.match(bare):
        bare = f"\\{bare}"
    elif number:
        bare = f"{number[1]}\\{bare[len(number[1]) :]}"
    return "&#32;" * (len(harmless) - len(harmless.lstrip())) + bare


_WRITTEN: dict[type, Callable[[Any], str]] = {
    Heading: lambda block: f"## {escaped(block.text)}",
    Paragraph: lambda block: escaped(block.text),
    Notice: _notice,
    Items: _items,
    Facts: lambda block: "\n".join(f"- **{escaped(fact.name)}**: {escaped(fact.text)}" for fact in block.rows),
    Table: _table,
}
