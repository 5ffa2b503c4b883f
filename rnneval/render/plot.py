"""`rnneval.plot.NAME(source, ax=None)`: every figure as a function that draws on Axes and returns them, as in seaborn.

    import rnneval

    rnneval.plot.loss_over_text("run.json")
    rnneval.plot.flow_matrix(rnneval.check(model), ax=axes[0])
    rnneval.plot.learning_curve("results/", metric="accuracy", title="Accuracy", palette="deep", linewidth=3)

A source is a record, the path of one, a table of `rnneval trace` (Parquet) or its pandas DataFrame; the names are those
of `rnneval plot --figure`. Nothing is shown, saved or set globally. `passage` is text: it is returned as `rich` text,
which notebooks show and `rich.print` prints. The docstring of each function lists its keyword arguments.
"""

import inspect
from functools import partial
from typing import Any, Protocol

from rnneval.render import figures


class Plot(Protocol):
    """Type of each function."""

    def __call__(
        self,
        source: Any,
        ax: Any = None,
        *,
        title: str | None = None,
        legend: bool | str = True,
        palette: Any = None,
        metric: str | None = None,
        **keywords: Any,
    ) -> Any:
        """Draw on `ax`, by default the current Axes, and return it."""


def __getattr__(name: str) -> Plot:
    if name not in figures.names():
        known = ", ".join(figures.names())
        raise AttributeError(
            f"there is no figure {name!r}{figures.meant(name, figures.names())}: rnneval.plot has {known}"
        )

    def plot(source: Any, ax: Any = None, **keywords: Any) -> Any:
        return figures.plot(name, source, ax, **keywords)

    described: Any = plot
    described.__name__ = described.__qualname__ = name
    described.__doc__ = f"{figures.module(name).__doc__}\n{_keywords(name)}"
    described.__signature__ = inspect.signature(partial(figures.plot, name))
    found: Plot = described
    return found


def _keywords(name: str) -> str:
    """Return the part of a docstring that is the same for every figure."""
    function = getattr(figures.module(name), "SEABORN", None)
    lines = [
        "Args:",
        "    source: A record, its path, the path of a table, or its DataFrame.",
        "    ax: Axes to draw on, by default the current ones.",
    ]
    if name != "passage":
        lines += [
            '    title: Title in place of the one that states the main result; "" for none.',
            "    legend: False for none, or its place: above, below, beside or inside the Axes.",
            "    palette: Name of a palette of seaborn, or a list of colours; the first is of what is right.",
        ]
    if name in figures.with_metric():
        lines.append("    metric: Name of the score to draw in place of the usual one.")
    if function is not None:
        lines.append(f"    keywords: All others are passed to `seaborn.{function}`, which draws the main marks.")
    return "\n".join([*lines, ""])


def __dir__() -> list[str]:
    return list(figures.names())
