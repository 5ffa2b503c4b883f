"""Documents as Markdown, for a comment on a merge request, the summary of a job, or notes beside a model."""

import re
from collections.abc import Iterable

from rnneval.render.document import Block, FactList, Heading, Items, Notice, Paragraph, TableBlock, brief
from rnneval.render.phrasing import shortened, visible

_SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|#~&$!"})
_BULLET = re.compile(r"[-+](\s|$)|--+\s*$|=")
_NUMBER = re.compile(r"(\d+)[.)](\s|$)")
_LONGEST = 2000


def markdown(blocks: Iterable[Block]) -> str:
    """Return a document as Markdown with what the terminal shows of it."""
    return "\n\n".join(filter(None, map(block_markdown, brief(blocks)))) + "\n"


def block_markdown(block: Block) -> str:
    """Return one block as Markdown; blocks of reports alone have none."""
    match block:
        case Heading():
            lines = [f"## {escaped(block.text)}"]
        case Paragraph():
            lines = [escaped(block.text)]
        case Notice():
            title = "" if block.title == "warning" else f"**{escaped(block.title)}**: "
            lines = [f"- ⚠️ {title}{escaped(block.text)}"]
        case Items():
            details = (f" ({escaped(item.details)})" if item.details else "" for item in block.rows)
            named = (f"- **{escaped(item.title)}**: {escaped(item.text)}" for item in block.rows)
            lines = ["".join(parts) for parts in zip(named, details, strict=True)]
        case FactList():
            lines = [f"- **{escaped(fact.name)}**: {escaped(fact.text)}" for fact in block.rows]
        case TableBlock():
            cells = [block.head, *([cell.text for cell in row] for row in block.rows)]
            lines = [f"| {' | '.join(map(escaped, row))} |" for row in cells]
            sides = ("---:" if column in block.right else "---" for column in range(len(block.head)))
            lines.insert(1, f"| {' | '.join(sides)} |")
        case _:
            raise TypeError(f"a {type(block).__name__} has no Markdown")
    return "\n".join(lines)


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
