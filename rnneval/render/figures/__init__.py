"""Figures, one file each, found by being here.

The file of a figure holds

- `KINDS`, the schemas of the records or tables that it is made from;
- `ORDER`; the figure with the lowest is the default of a record;
- `figure(source)`, which returns a `Figure`, or `None` if this source cannot give it;
- `TOGETHER = True` if `figure(*sources)` makes one picture of several records.

Its page, `rnneval/pages/NAME.md`, says in its first line what the figure shows, and under "How to read the figure" how
to read it. `figure` may take the keyword `metric`, the score to draw in place of the default.

`figure` is cheap: it takes the numbers, and makes title and text alternative. pandas and matplotlib are imported in
functions, so that listing the figures of a record does not load matplotlib.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import cache
from importlib import import_module
from inspect import signature
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
    "ENDINGS", "LOSSES", "SIZES", "Figure", "Source", "TidyTable", "caution", "ending_of",
    "figure_of", "figures_of", "kind_of", "load", "meant", "names", "save", "sources_of", "svg",
    "together", "with_metric",
]  # fmt: skip


_WRITERS = {LOSSES: "evaluate --losses FILE", TRACE: "trace --out FILE"}


@cache
def _modules() -> dict[str, ModuleType]:
    """Import every figure, and return the modules by name in the order of `ORDER`."""
    found = ((name, import_module(f"{__name__}.{name}")) for name in names())
    return dict(sorted(found, key=lambda each: (each[1].ORDER, each[0])))


def names() -> tuple[str, ...]:
    """Return the name of every figure, without importing one."""
    return registry.names(__name__)


def together() -> tuple[str, ...]:
    """Return the names of the figures that make one picture of several runs."""
    return tuple(name for name in names() if hasattr(_modules()[name], "TOGETHER"))


def with_metric() -> tuple[str, ...]:
    """Return the names of the figures whose metric can be chosen."""
    return tuple(name for name in names() if "metric" in signature(_modules()[name].figure).parameters)


def figures_of(source: Any) -> list[Figure]:
    """Return every figure that a record, a table, or several of them together can give; the default comes first.

    A source is a record, a `TidyTable`, a path of either, a DataFrame of a table, or a sequence of them.
    """
    return list(_made(sources_of(source), names()))


def figure_of(source: Any, name: str | None = None, *, metric: str | None = None) -> Figure:
    """Return one figure, the named one or else the default; of the score `metric`, if it has a choice of them.

    Raises:
        UsageError: no such figure or metric, or this record cannot give it; the message names those that it can.
    """
    if name is not None and name not in names():
        raise UsageError(f"no figure is named {name!r}{meant(name, names())}: there are {', '.join(names())}")
    if metric is not None and name is not None and name not in with_metric():
        raise UsageError(f"metric={metric!r}: {name} has no choice of metrics; {', '.join(with_metric())} have one")
    given = sources_of(source)
    wanted = (name,) if name is not None else names() if metric is None else with_metric()
    for figure in _made(given, wanted, **{} if metric is None else {"metric": metric}):
        return figure
    kinds = ", ".join(sorted(set(map(kind_of, given))))
    if name is not None and not set(map(kind_of, given)) <= (drawn := set(_modules()[name].KINDS)):
        tables = [f"the table that {_WRITERS[kind]} writes" for kind in drawn if kind in _WRITERS]
        raise UsageError(f"{kinds}: no figure {name} in it; it is drawn of {' or '.join(tables or sorted(drawn))}")
    missing = f"no figure{f' {name}' if name else ''} in it{f' of the metric {metric}' if metric else ''}"
    can = ", ".join(figure.name for figure in _made(given, names()))
    raise UsageError(f"{kinds}: {missing}; it gives {can or 'none'}")


def _made(sources: Sequence[Source], wanted: Collection[str], **options: Any) -> Iterator[Figure]:
    """Yield the wanted figures that can be made of what was given, each with its name and with how to read it.

    The title of the figure of one run begins with why its numbers are no scores, if they are none.
    """
    kinds = set(map(kind_of, sources))
    word = caution(sources[0]).capitalize() if len(sources) == 1 and isinstance(sources[0], Run) else ""
    for name, module in _modules().items():
        if name not in wanted or not kinds <= set(module.KINDS) or (len(sources) > 1 and name not in together()):
            continue
        figure = module.figure(*sources, **options)
        if figure is not None:
            if word:
                title, alt = f"{word}: {figure.title}", f"{word}. {figure.alt}"
                figure = replace(figure, title=title, alt=alt, diverged=True)
            reading = figure.reading or page(name).paragraph("How to read the figure")
            yield replace(figure, name=name, reading=reading)
