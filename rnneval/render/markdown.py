"""Documents as Markdown, for a comment on a merge request, the summary of a job, or notes beside a model."""

import re
from collections.abc import Iterable, Iterator

from rnneval.render import document as doc
from rnneval.render.phrasing import framed, shortened, visible

_SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|#~&$!"})
_LIST = re.compile(r"(\d+(?=[.)](\s|$))|(?=[-+](\s|$)|--+\s*$|=))")
"""The beginning of a line that would be a list, or underline a heading."""
_LONGEST = 2000


def markdown(blocks: Iterable[doc.Block]) -> str:
    """Return a document as Markdown with what the terminal shows of it."""
    return "\n\n".join(filter(None, ("\n".join(_lines(block)) for block in doc.brief(blocks)))) + "\n"


def _lines(block: doc.Block) -> Iterator[str]:
    match block:
        case doc.Heading():
            yield f"## {escaped(block.text)}"
        case doc.Notice():
            title = "" if block.title == "warning" else f"**{escaped(block.title)}**: "
            yield f"- ⚠️ {title}{escaped(block.text)}"
        case doc.VerdictBlock():
            about, reason = framed("", block.about, ": "), framed(" ", block.reason)
            yield f"{escaped(about)}**{escaped(block.word)}**{escaped(reason)}"
        case doc.FindingBlock():
            place = escaped(framed(" ", block.place))
            yield f"- **{escaped(block.severity)} {escaped(block.rule)}**{place}: {escaped(block.message)}"
            yield from [f"  help: {escaped(block.help)}"] if block.help else []
        case doc.FactList():
            yield from (f"- **{escaped(fact.name)}**: {escaped(fact.text)}" for fact in block.rows)
        case doc.TableBlock():
            sides = ["---:" if column in block.right else "---" for column in range(len(block.head))]
            rows = [[escaped(cell.text) for cell in row] for row in block.rows]
            yield from (f"| {' | '.join(cells)} |" for cells in ([*map(escaped, block.head)], sides, *rows))
        case doc.Paragraph():
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
    begun = _LIST.match(bare)
    if begun:
        bare = f"{begun[1]}\\{bare[begun.end(1) :]}"
    return "&#32;" * (len(harmless) - len(harmless.lstrip())) + bare
