"""`rnneval.plot.NAME(source, ax=None)`: every figure as a function that draws on Axes and returns them, as in seaborn.

    import rnneval

    rnneval.plot.loss_over_text("run.json")
    rnneval.plot.flow_matrix(rnneval.check(model), ax=axes[0])

A source is a record, the path of one, a table of `rnneval trace` (Parquet) or its pandas DataFrame; the names are those
of `rnneval plot --figure`. Nothing is shown, saved or set globally. `passage` is text: it is returned as `rich` text,
which notebooks show and `rich.print` prints.
"""

from typing import Any, Protocol

from rnneval.render import figures


class Plot(Protocol):
    """Type of each function."""

    def __call__(self, source: Any, ax: Any = None) -> Any:
        """Draw on `ax`, by default the current Axes, and return it."""


def __getattr__(name: str) -> Plot:
    if name not in figures.names():
        raise AttributeError(f"there is no figure {name!r}: rnneval.plot has {', '.join(figures.names())}")

    def plot(source: Any, ax: Any = None) -> Any:
        return figures.plot(name, source, ax=ax)

    plot.__name__ = plot.__qualname__ = name
    plot.__doc__ = figures.module(name).__doc__
    return plot


def __dir__() -> list[str]:
    return list(figures.names())
