"""Figures, one file each, found by being here.

The file of a figure holds

- `KINDS`, the schemas of the records or tables that it is made from;
- `ORDER`; the figure with the lowest is the default of a record;
- `figure(source)`, which returns a `Figure`, or `None` if this source cannot give it; that of `TOGETHER` takes several.

Its page, `rnneval/pages/NAME.md`, says in its first line what the figure shows, and under "How to read the figure" how
to read it.

`figure` is cheap: it takes the numbers, and makes title and text alternative. pandas and matplotlib are imported in
functions, so that listing the figures of a record does not load matplotlib.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from rnneval import registry
from rnneval.errors import UsageError
from rnneval.pages import page
from rnneval.records import Run
from rnneval.records.tables import LOSSES, TRACE
from rnneval.render.figures._base import Figure, Source, TidyTable, caution, kind_of, load, meant, sources_of
from rnneval.render.figures._export import ENDINGS, SIZES, ending_of, save, svg

__all__ = [
    "ENDINGS", "LOSSES", "SIZES", "TOGETHER", "Figure", "Source", "TidyTable", "caution", "ending_of",
    "figure_of", "figures_of", "kind_of", "load", "meant", "names", "save", "sources_of", "svg",
]  # fmt: skip
TOGETHER = "comparison"
"""The figure that makes one picture of several runs."""


_WRITERS = {LOSSES: "evaluate --losses FILE", TRACE: "trace --out FILE"}


@cache
def _modules() -> dict[str, ModuleType]:
    """Import every figure, and return the modules by name in the order of `ORDER`."""
    found = ((name, import_module(f"{__name__}.{name}")) for name in names())
    return dict(sorted(found, key=lambda each: (each[1].ORDER, each[0])))


def names() -> tuple[str, ...]:
    """Return the name of every figure, without importing one."""
    return registry.names(__name__)


def figures_of(source: Any) -> list[Figure]:
    """Return every figure that a source, or several of them together, can give; the default comes first."""
    return list(_made(sources_of(source), names()))


def figure_of(source: Any, name: str | None = None) -> Figure:
    """Return one figure, the named one or else the default."""
    if name is not None and name not in names():
        raise UsageError(f"no figure is named {name!r}{meant(name, names())}: there are {', '.join(names())}")
    given = sources_of(source)
    for figure in _made(given, names() if name is None else (name,)):
        return figure
    kinds = ", ".join(sorted(set(map(kind_of, given))))
    if name is not None and not set(map(kind_of, given)) <= (drawn := set(_modules()[name].KINDS)):
        tables = [f"the table that {_WRITERS[kind]} writes" for kind in drawn if kind in _WRITERS]
        raise UsageError(f"{kinds}: no figure {name} in it; it is drawn of {' or '.join(tables or sorted(drawn))}")
    can = ", ".join(figure.name for figure in _made(given, names()))
    raise UsageError(f"{kinds}: no figure{f' {name}' if name else ''} in it; it gives {can or 'none'}")


def _made(sources: Sequence[Source], wanted: Collection[str]) -> Iterator[Figure]:
    """Yield the wanted figures that can be made of what was given, each with its name and with how to read it.

    The title of the figure of one run begins with why its numbers are no scores, if they are none.
    """
    kinds = set(map(kind_of, sources))
    word = caution(sources[0]).capitalize() if len(sources) == 1 and isinstance(sources[0], Run) else ""
    for name, module in _modules().items():
        if name not in wanted or not kinds <= set(module.KINDS) or (len(sources) > 1 and name != TOGETHER):
            continue
        figure = module.figure(*sources)
        if figure is not None:
            if word:
                title, alt = f"{word}: {figure.title}", f"{word}. {figure.alt}"
                figure = replace(figure, title=title, alt=alt, diverged=True)
            reading = figure.reading or page(name).paragraph("How to read the figure")
            yield replace(figure, name=name, reading=reading)
