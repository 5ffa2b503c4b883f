"""Documents as HTML: the report, one file that loads nothing and runs nothing, and the fragments of notebooks.

All text passes through autoescape, and through `visible` before that, so that text out of a file can neither become an
element nor change the direction of the line. The policy in the head of a report forbids scripts, and styles except its
own, whose hash it names; images are data. A fragment takes font and colours from the notebook; its own few colours
follow the dark themes of Jupyter, Colab and VS Code.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markdown_it import MarkdownIt
from markupsafe import Markup, escape

from rnneval.render.document import Block, Kind, Report, TableBlock, brief
from rnneval.render.phrasing import shortened, visible

_SYMBOLS: dict[Kind, str] = {"pass": "✓", "fail": "✗", "unsure": "?", "note": "•"}
_HEADLINES: dict[Kind, str] = {"pass": "All is well", "fail": "Wrong", "unsure": "Read with care", "note": "No verdict"}
_SPOKEN: dict[Kind, str] = {"pass": "Right", "fail": "Wrong", "unsure": "Caution", "note": "Note"}
"""The mark of one claim for a screen reader: a claim that is right does not say that the page is."""
_LONGEST = 4000


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A figure as SVG in both looks, or as an element of the page."""

    light: str = ""
    dark: str = ""
    width: int = 0
    height: int = 0
    html: Markup | None = None


def html_of(page: Report, drawn: Mapping[str, Drawn]) -> str:
    """Write a whole report with its figures by key, a text in place of a missing one; the same page, the same bytes."""
    style = _file("report.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    words = {"headlines": _HEADLINES, "spoken": _SPOKEN, "symbols": _SYMBOLS}
    return template("page.html.j2").render(page=page, drawn=drawn, style=style, policy=policy, **words)


def fragment_of(blocks: Iterable[Block]) -> str:
    """Write a document for a notebook: an element that brings its own style and nothing else."""
    style = _file("notebook.css")
    return template("notebook.html.j2").render(blocks=list(brief(blocks)), style=style, symbols=None, drawn={})


@cache
def template(name: str) -> Template:
    """Return one of our templates; all text in it is escaped."""
    jinja: dict[str, Any] = {"loader": PackageLoader("rnneval.render"), "undefined": StrictUndefined, "finalize": _safe}
    environment = Environment(autoescape=True, trim_blocks=True, **jinja)
    filters = {"neighbours": _neighbours, "ticks": ticks, "markdown": _markdown, "uri": _uri, "look": _look}
    environment.filters |= filters
    return environment.get_template(name)


def _file(name: str) -> Markup:
    return Markup(files("rnneval.render").joinpath("templates", name).read_text(encoding="utf-8"))  # noqa: S704 - ours


def _safe(value: Any) -> Any:
    """Show control and direction characters as escapes; lines stay lines, and HTML stays as it is."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return "\n".join(visible(line) for line in shortened(value, _LONGEST).split("\n"))
    return value


def ticks(text: str) -> Markup:
    """Write text between backticks as code, and a word between asterisks as emphasized.

    >>> print(ticks("write `a < b` at the *end*"))
    write <code>a &lt; b</code> at the <em>end</em>
    """
    pieces = [str(escape(piece)) for piece in re.split(r"`([^`]+)`", _safe(text))]
    pieces[1::2] = [f"<code>{piece}</code>" for piece in pieces[1::2]]
    pieces[::2] = [re.sub(r"(?<!\w)\*(\w+)\*(?!\w)", r"<em>\1</em>", piece) for piece in pieces[::2]]
    return Markup("".join(pieces))  # noqa: S704 - every piece is escaped


@cache
def _markdown(text: str) -> Markup:
    """Render the text of a rule; it comes out of this package, and even so HTML in it stays text."""
    rendered = MarkdownIt("commonmark", {"html": False}).disable("image").render(text)
    # Headings of the text are no headings of the page: the outline stays the page's own.
    outlined = re.sub(r"<(/?)h[1-6]>", lambda tag: f"<{tag[1]}p{'' if tag[1] else ' class=label'}>", rendered)
    # A block that scrolls sideways must be reached by keyboard.
    reached = outlined.replace("<pre>", '<pre tabindex="0" role="region" aria-label="Example">')
    return Markup(reached)  # noqa: S704 - markdown-it escapes


def _neighbours(blocks: Iterable[Block]) -> Iterator[tuple[str, list[Block]]]:
    """Group blocks of the same kind that follow one another, so that figures can stand side by side."""
    for tag, group in groupby(blocks, key=lambda block: str(block.__struct_config__.tag)):
        yield tag, list(group)


def _look(block: TableBlock) -> str:
    """Return the classes of a table: on a narrow screen a wide one becomes a list, a matrix stays a grid."""
    if block.matrix:
        return "matrix"
    prose = any(len(cell.text) > 30 for row in block.rows for cell in row)
    return f"{'prose ' * prose}{'listed' * (prose or len(block.head) > 3)}"


def _uri(svg: str) -> Markup:
    """Write an image as data; as an image it can neither run anything nor reach the page around it."""
    # The characters with a meaning in an attribute (& " <) are quoted.
    return Markup("data:image/svg+xml," + quote(svg, safe="!$'()*+,-./:;=@[]_{}~"))  # noqa: S704
