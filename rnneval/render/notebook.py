"""What a notebook shows of a value: the very tables that the terminal shows, as HTML.

A table is translated and not written again, so that both say the same. The fragment takes font and colours from the
notebook; its own few colours change with the dark themes of Jupyter, Colab and VS Code, and its style stays within it.
"""

from collections.abc import Callable, Iterator
from html import escape
from importlib.resources import files
from itertools import pairwise
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rnneval.gates.ranking import Ranking
from rnneval.records import Gate, Gradients, Opened, Run, Wiring
from rnneval.render.gate_table import gate_table
from rnneval.render.inside_table import gradients_table, trace_table
from rnneval.render.open_table import opened_table
from rnneval.render.ranking_table import ranking_table
from rnneval.render.run_table import run_table
from rnneval.render.wiring_table import plain, wiring_table

__all__ = ["as_html", "fragment", "plain"]

_CLASSES = frozenset({"bold", "dim", "green", "red", "yellow", "magenta", "cyan"})


def fragment(value: Any) -> str:
    """Give what a notebook shows of a record, a verdict or compared runs.

    Raises:
        TypeError: there is no table of such a value.
    """
    for kind, table in _TABLES.items():
        if isinstance(value, kind):
            return as_html(table(value))
    raise TypeError(f"there is no table of a {type(value).__name__}")


def as_html(shown: RenderableType) -> str:
    """Translate what rich would print into HTML that brings its own style and nothing else."""
    style = files("rnneval.render").joinpath("notebook.css").read_text(encoding="utf-8")
    return f'<div class="rnneval"><style>{style}</style>{"".join(_html(shown))}</div>'


def _run(run: Run) -> RenderableType:
    """Scores; and the inside, where it was looked into."""
    traced = run.gates is not None or run.context is not None or run.lyapunov is not None
    return Group(run_table(run), trace_table(run)) if traced else run_table(run)


_TABLES: dict[type, Callable[[Any], RenderableType]] = {
    Run: _run,
    Wiring: wiring_table,
    Gate: gate_table,
    Gradients: gradients_table,
    Opened: opened_table,
    Ranking: ranking_table,
}


def _html(shown: RenderableType) -> Iterator[str]:
    if isinstance(shown, Group):
        for each in shown.renderables:
            yield from _html(each)
    elif isinstance(shown, Padding):
        yield f'<div class="inner">{"".join(_html(shown.renderable))}</div>'
    elif isinstance(shown, Table):
        yield from _table(shown)
    elif isinstance(shown, Text | str):
        if str(shown):
            yield f"<p>{_text(shown)}</p>"
    else:
        raise TypeError(f"a {type(shown).__name__} has no HTML yet")


def _table(table: Table) -> Iterator[str]:
    yield '<table class="grid">'
    if table.show_header and any(str(column.header) for column in table.columns):
        heads = (_cell("th", column.header, column.justify) for column in table.columns)
        yield f"<thead><tr>{''.join(heads)}</tr></thead>"
    yield "<tbody>"
    for row in zip(*(column.cells for column in table.columns), strict=True):
        pairs = zip(row, table.columns, strict=True)
        yield f"<tr>{''.join(_cell('td', cell, column.justify) for cell, column in pairs)}</tr>"
    yield "</tbody></table>"


def _cell(tag: str, shown: RenderableType, justify: str) -> str:
    side = f' class="{justify}"' if justify in {"right", "center"} else ""
    return f"<{tag}{side}>{_text(shown)}</{tag}>"


def _text(shown: RenderableType) -> str:
    """Escape a text, with its styles as classes."""
    if not isinstance(shown, Text):
        return escape(str(shown))
    edges = sorted({0, len(shown.plain), *(edge for span in shown.spans for edge in (span.start, span.end))})
    pieces = (
        _styled(shown.plain[start:end], [str(s.style) for s in shown.spans if s.start <= start and end <= s.end])
        for start, end in pairwise(edges)
    )
    return _classed("".join(pieces), str(shown.style))


def _styled(text: str, styles: list[str]) -> str:
    return _classed(escape(text), " ".join(styles))


def _classed(content: str, style: str) -> str:
    classes = " ".join(word for word in style.split() if word in _CLASSES)
    return f'<span class="{classes}">{content}</span>' if classes and content else content
