"""Documents as Markdown, for a comment on a merge request, the summary of a job, or notes beside a model."""

import re
from collections.abc import Iterable, Iterator

from rnneval.render.document import (
    Block,
    FactList,
    Found,
    Heading,
    Items,
    Notice,
    Paragraph,
    TableBlock,
    Verdict,
    brief,
)
from rnneval.render.phrasing import shortened, visible

_SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|#~&$!"})
_BULLET = re.compile(r"[-+](\s|$)|--+\s*$|=")
_NUMBER = re.compile(r"(\d+)[.)](\s|$)")
_LONGEST = 2000


def markdown(blocks: Iterable[Block]) -> str:
    """Return a document as Markdown with what the terminal shows of it."""
    return "\n\n".join(filter(None, ("\n".join(_lines(block)) for block in brief(blocks)))) + "\n"


def _lines(block: Block) -> Iterator[str]:
    match block:
        case Heading():
            yield f"## {escaped(block.text)}"
        case Notice():
            title = "" if block.title == "warning" else f"**{escaped(block.title)}**: "
            yield f"- ⚠️ {title}{escaped(block.text)}"
        case Verdict():
            about, reason = f"{block.about}: " if block.about else "", f" {block.reason}" if block.reason else ""
            yield f"{escaped(about)}**{escaped(block.word)}**{escaped(reason)}"
        case Found():
            place = f" {escaped(block.place)}" if block.place else ""
            yield f"- **{escaped(block.severity)} {escaped(block.rule)}**{place}: {escaped(block.message)}"
            if block.help:
                yield f"  help: {escaped(block.help)}"
        case Items():
            for item in block.rows:
                details = f" ({escaped(item.details)})" if item.details else ""
                yield f"- **{escaped(item.title)}**: {escaped(item.text)}{details}"
        case FactList():
            yield from (f"- **{escaped(fact.name)}**: {escaped(fact.text)}" for fact in block.rows)
        case TableBlock():
            sides = ["---:" if column in block.right else "---" for column in range(len(block.head))]
            rows = [[escaped(cell.text) for cell in row] for row in block.rows]
            yield from (f"| {' | '.join(cells)} |" for cells in ([*map(escaped, block.head)], sides, *rows))
        case Paragraph():
            yield escaped(block.text)
        case _:
            raise TypeError(f"a {type(block).__name__} has no Markdown")


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
