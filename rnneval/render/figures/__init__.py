"""Figures, one file each, found by being here.

The file of a figure holds

- `KINDS`, the schemas of the records or tables that it is made from;
- `ORDER`; the figure with the lowest is the default of a record;
- `figure(source)`, which returns a `Figure`, or `None` if this source cannot give it.

Its page, `rnneval/pages/NAME.md`, says in its first line what the figure shows, and under "How to read the figure" how
to read it.

`figure` is cheap: it takes the numbers, and makes title and text alternative. pandas and matplotlib are imported in
functions, so that listing the figures of a record does not load matplotlib.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import cache
from types import ModuleType
from typing import Any

from rnneval import registry
from rnneval.errors import UsageError
from rnneval.pages import page
from rnneval.records import Run
from rnneval.records.tables import LOSSES, TRACE, WIRING
from rnneval.render.figures._base import ENDINGS, Figure, TidyTable, caution, kind_of, load, save, source_of, svg

__all__ = [
    "ENDINGS", "LOSSES", "Figure", "TidyTable", "caution", "figure_of", "figures_of", "kind_of", "load", "names",
    "save", "source_of", "svg",
]  # fmt: skip
_WRITERS = {LOSSES: "evaluate --losses FILE", TRACE: "trace --out FILE"}


@cache
def _modules() -> dict[str, ModuleType]:
    """Import every figure, and return the modules by name in the order of `ORDER`."""
    found = zip(names(), registry.modules(__name__), strict=True)
    return dict(sorted(found, key=lambda each: (each[1].ORDER, each[0])))


def names() -> tuple[str, ...]:
    """Return the name of every figure, without importing one."""
    return registry.names(__name__)


def figures_of(source: Any) -> list[Figure]:
    """Return every figure that a source can give; the default comes first."""
    return list(_figures_of(source_of(source), names()))


def figure_of(source: Any, name: str | None = None) -> Figure:
    """Return one figure, the named one or else the default."""
    if name is not None and name not in names():
        raise UsageError(f"no figure is named {name!r}: there are {', '.join(names())}")
    given = source_of(source)
    for figure in _figures_of(given, names() if name is None else (name,)):
        return figure
    needed = () if name is None else _modules()[name].KINDS
    if name is not None and kind_of(given) not in needed:
        made_by = [f"the table that {_WRITERS[kind]} writes" if kind in _WRITERS else kind for kind in needed]
        raise UsageError(f"{kind_of(given)}: no figure {name} in it; it is drawn of {' or '.join(made_by)}")
    can = ", ".join(figure.name for figure in figures_of(given))
    raise UsageError(f"{kind_of(given)}: no figure{f' {name}' if name else ''} in it; it gives {can or 'none'}")


def _figures_of(source: Any, wanted: Collection[str]) -> Iterator[Figure]:
    """Yield the wanted figures that can be made of a source, each with its name and with how to read it.

    The title of a figure of a run begins with why its numbers are no scores, if they are none.
    """
    word = caution(source).capitalize() if isinstance(source, Run) else ""
    if isinstance(source, TidyTable) and source.metadata.get(WIRING, "").startswith("fail"):
        word = f"Not valid (wiring check: {source.metadata[WIRING]})"
    for name, module in _modules().items():
        if name not in wanted or kind_of(source) not in module.KINDS:
            continue
        figure = module.figure(source)
        if figure is not None:
            if word:
                title, alt = f"{word}: {figure.title}", f"{word}. {figure.alt}"
                figure = replace(figure, title=title, alt=alt, diverged=True)
            yield replace(figure, name=name, reading=page(name).paragraph("How to read the figure"))
