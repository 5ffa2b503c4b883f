"""Page → HTML: one file that loads nothing and runs nothing.

All text passes through autoescape, and through `visible` before that, so that what came out of a file can neither
become an element nor turn the line around. The policy in the head forbids scripts, and styles but our own, whose hash
it names; images are data.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import Any
from urllib.parse import quote

from jinja2 import DictLoader, Environment, StrictUndefined, Template
from markdown_it import MarkdownIt
from markupsafe import Markup, escape

from rnneval.render.figures.passage import CSS
from rnneval.render.report.blocks import Block, Kind, Page
from rnneval.render.report.pictures import Drawn
from rnneval.render.words import shortened, visible

_SYMBOLS: dict[Kind, str] = {"pass": "✓", "fail": "✗", "unsure": "?", "note": "•"}
_WORDS: dict[Kind, str] = {"pass": "All is well", "fail": "Wrong", "unsure": "Not settled", "note": "No verdict"}
_LONGEST = 4000
_UNQUOTED = " !$'()*+,-./:;=@[]_{}~"


def html_of(page: Page, drawn: Mapping[str, Drawn]) -> str:
    """Give the whole page; the same page gives the same bytes.

    Args:
        page: What to say.
        drawn: Its figures, by the keys of its `Picture`s; where one is missing, its text stands in its place.
    """
    style = _file("style.css") + CSS
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return _template().render(page=page, drawn=drawn, style=Markup(style), policy=policy)  # noqa: S704 - our own files


@cache
def _template() -> Template:
    names = ("page.html.j2", "blocks.html.j2")
    environment = Environment(
        loader=DictLoader({name: _file(name) for name in names}),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_safe,
        trim_blocks=True,
    )
    environment.filters |= {"neighbours": _neighbours, "ticks": ticks, "markdown": _markdown, "uri": _uri}
    environment.globals |= {"symbols": _SYMBOLS, "words": _WORDS}
    return environment.get_template("page.html.j2")


def _file(name: str) -> str:
    return files("rnneval.render.report").joinpath("template", name).read_text(encoding="utf-8")


def _safe(value: Any) -> Any:
    """Show control and direction characters as escapes; lines stay lines. What is HTML already stays as it is."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return "\n".join(visible(line) for line in shortened(value, _LONGEST).split("\n"))
    return value


def ticks(text: str) -> Markup:
    """Set what stands between backticks as code.

    >>> print(ticks("write `a < b` at the *end*"))
    write <code>a &lt; b</code> at the <em>end</em>
    """
    pieces = re.split(r"`([^`]+)`", _safe(text))
    escaped = (f"<code>{escape(piece)}</code>" if i % 2 else _stressed(piece) for i, piece in enumerate(pieces))
    return Markup("".join(escaped))  # noqa: S704 - every piece is escaped


def _stressed(text: str) -> str:
    """Set a word between asterisks as stressed."""
    return re.sub(r"(?<!\w)\*(\w+)\*(?!\w)", r"<em>\1</em>", str(escape(text)))


@cache
def _markdown(text: str) -> Markup:
    """Render a rule's own text; it comes out of this package, and even so no HTML in it is taken as such."""
    rendered = MarkdownIt("commonmark", {"html": False}).disable("image").render(text)
    # Headings of the text are no headings of the page: the outline stays the page's own.
    outlined = re.sub(r"<(/?)h[1-6]>", lambda tag: f"<{tag[1]}p{'' if tag[1] else ' class=label'}>", rendered)
    # What may be moved sideways must be reached by keyboard.
    reached = outlined.replace("<pre>", '<pre tabindex="0" role="region" aria-label="Example">')
    return Markup(reached)  # noqa: S704 - markdown-it escapes


def _neighbours(blocks: Iterable[Block]) -> Iterator[tuple[str, list[Block]]]:
    """Group blocks of the same kind that follow one another, so that figures can stand side by side."""
    for tag, group in groupby(blocks, key=lambda block: str(block.__struct_config__.tag)):
        yield tag, list(group)


def _uri(svg: str) -> Markup:
    """Give an image as data; as an image it can neither run anything nor reach the page around it."""
    # What means something in an attribute (& " <) is not among the characters that quote leaves as they are.
    return Markup(f"data:image/svg+xml,{quote(svg, safe=_UNQUOTED)}")  # noqa: S704
