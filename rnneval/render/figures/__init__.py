"""Figures, one file each, found by being here.

A figure's file has a docstring that says what is seen and how to read it, `KINDS` (the schemas that it is made from),
`ORDER` (the first that a record can give is its default), `data_of(source)`, which gives the values to draw or `None`
where this record has none, `title_of(data)`, `alt_of(data)`, `HEIGHT` or `height_of(data)` (on a page,
as a share of the width), and `draw(data, *, ax=None)`. seaborn
and matplotlib are imported when something is drawn, and not before: to list figures, and to say what they show, costs
nothing.
"""

import pkgutil
from functools import cache, partial
from importlib import import_module
from types import ModuleType
from typing import Any

from rnneval.errors import UsageError
from rnneval.render.figures._base import Figure
from rnneval.render.figures._export import ENDINGS, SIZES, ending_of, save, svg
from rnneval.render.figures._sources import LOSSES, Source, Table, kind_of, load, source_of

__all__ = [
    "ENDINGS", "LOSSES", "SIZES", "Figure", "Source", "Table", "all_figures", "ending_of", "figure_of", "figures_of",
    "load", "module", "names", "plot", "save", "source_of", "svg", "together",
]  # fmt: skip


@cache
def all_figures() -> tuple[ModuleType, ...]:
    """Every figure's module, in the order of `ORDER`."""
    found = [import_module(f"{__name__}.{name}") for name in names()]
    return tuple(sorted(found, key=lambda module: (module.ORDER, module.__name__)))


def names() -> tuple[str, ...]:
    """Name every figure, without importing one."""
    return tuple(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def figures_of(source: Any) -> list[Figure]:
    """Give every figure that a record, a table, or several of them together can give; the default comes first.

    Args:
        source: A record, a `Table`, a path of either, a DataFrame of a table, or a sequence of them.

    Raises:
        RecordError: the file cannot be read.
        UsageError: nothing that rnneval writes.
    """
    given = source_of(source)
    kinds = {kind_of(each) for each in (given if isinstance(given, list) else [given])}
    taken = [(module, module.data_of(given)) for module in all_figures() if kinds <= set(module.KINDS)]
    return [_figure(module, data) for module, data in taken if data is not None]


def figure_of(source: Any, name: str | None = None) -> Figure:
    """Give one figure: the named one, else the default.

    Raises:
        UsageError: no such figure, or this record cannot give it; the message names those that it can.
    """
    if name is not None and name not in names():
        raise UsageError(f"no figure is named {name!r}: there are {', '.join(names())}")
    given = source_of(source)
    found = figures_of(given)
    chosen = [figure for figure in found if name is None or figure.name == name]
    if chosen:
        return chosen[0]
    what = ", ".join(sorted({kind_of(each) for each in (given if isinstance(given, list) else [given])}))
    can = f"it gives {', '.join(figure.name for figure in found)}" if found else "it gives none"
    raise UsageError(f"{what}: no figure {name or ''} in it; {can}".replace("figure  in", "figure in"))


def plot(name: str, source: Any, ax: Any = None) -> Any:
    """Draw one figure on `ax` (by default the current Axes), and return the Axes.

    Raises:
        RecordError, UsageError: as `figure_of`.
    """
    return figure_of(source, name).draw(ax=ax)


def together() -> tuple[str, ...]:
    """Name the figures that several runs make one picture of."""
    return tuple(name for name in names() if getattr(module(name), "TOGETHER", False))


def module(name: str) -> ModuleType:
    """Give the file of a figure."""
    return import_module(f"{__name__}.{name}")


def _figure(module: ModuleType, data: Any) -> Figure:
    return Figure(
        name=module.__name__.rpartition(".")[2],
        title=module.title_of(data),
        alt=module.alt_of(data),
        height=module.height_of(data) if hasattr(module, "height_of") else module.HEIGHT,
        draw=partial(module.draw, data),
    )
