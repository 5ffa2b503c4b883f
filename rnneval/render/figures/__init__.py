"""Figures, one file each, found by being here.

The file of a figure holds

- a docstring: the first paragraph says what the figure shows, the second how to read it;
- `KINDS`, the schemas of the records or tables that it is made from;
- `ORDER`; the figure with the lowest is the default of a record;
- `figure(source)`, which returns a `Figure`, or `None` if this source cannot give it;
- `TOGETHER = True` if `figure(*sources)` makes one picture of several records.

`figure` is cheap: it takes the numbers, and makes title and text alternative. pandas, seaborn and matplotlib are
imported in functions, so that listing the figures of a record does not load matplotlib.
"""

from dataclasses import replace
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from rnneval import registry
from rnneval.errors import UsageError
from rnneval.render.figures._base import LOSSES, Figure, Source, Table, kind_of, load, source_of
from rnneval.render.figures._export import ENDINGS, SIZES, ending_of, save, svg

__all__ = [
    "ENDINGS", "LOSSES", "SIZES", "Figure", "Source", "Table", "all_figures", "ending_of", "figure_of", "figures_of",
    "load", "module", "names", "plot", "save", "source_of", "svg", "together",
]  # fmt: skip


@cache
def all_figures() -> tuple[ModuleType, ...]:
    """Return the module of every figure, in the order of `ORDER`."""
    return tuple(sorted(map(module, names()), key=lambda module: (module.ORDER, module.__name__)))


def names() -> tuple[str, ...]:
    """Return the name of every figure, without importing one."""
    return registry.names(__name__)


def together() -> tuple[str, ...]:
    """Return the names of the figures that make one picture of several runs."""
    return tuple(name for name in names() if getattr(module(name), "TOGETHER", False))


def module(name: str) -> ModuleType:
    """Return the module of a figure."""
    return import_module(f"{__name__}.{name}")


def figures_of(source: Any) -> list[Figure]:
    """Return every figure that a record, a table, or several of them together can give; the default comes first.

    Args:
        source: A record, a `Table`, a path of either, a DataFrame of a table, or a sequence of them.

    Raises:
        RecordError: the file cannot be read.
        UsageError: nothing that rnneval writes.
    """
    given = source_of(source)
    sources = given if isinstance(given, list) else [given]
    kinds = {kind_of(each) for each in sources}
    found = []
    for each in all_figures():
        if kinds <= set(each.KINDS) and (len(sources) == 1 or getattr(each, "TOGETHER", False)):
            figure = each.figure(*sources)
            found += [] if figure is None else [replace(figure, name=each.__name__.rpartition(".")[2])]
    return found


def figure_of(source: Any, name: str | None = None) -> Figure:
    """Return one figure: the named one, else the default.

    Raises:
        UsageError: no such figure, or this record cannot give it; the message names those that it can.
    """
    if name is not None and name not in names():
        raise UsageError(f"no figure is named {name!r}: there are {', '.join(names())}")
    given = source_of(source)
    found = figures_of(given)
    for figure in found:
        if name in (None, figure.name):
            return figure
    kinds = ", ".join(sorted({kind_of(each) for each in (given if isinstance(given, list) else [given])}))
    wanted = f"no figure {name} in it" if name else "no figure in it"
    can = f"it gives {', '.join(figure.name for figure in found)}" if found else "it gives none"
    raise UsageError(f"{kinds}: {wanted}; {can}")


def plot(name: str, source: Any, ax: Any = None) -> Any:
    """Draw one figure on `ax`, by default the current Axes, and return the Axes (of `passage`, its text).

    Raises:
        RecordError, UsageError: as `figure_of`.
    """
    return figure_of(source, name).draw(ax=ax)
