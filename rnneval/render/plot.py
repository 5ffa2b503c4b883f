"""`rnneval.plot.NAME(source, ax=None)`: every figure as a function that draws on Axes and returns them, as in seaborn.

    import rnneval

    rnneval.plot.loss_over_text("run.json")
    rnneval.plot.flow_matrix(rnneval.check(model), ax=axes[0])
    rnneval.plot.learning_curve("results/", metric="accuracy", title="Accuracy", palette="deep", linewidth=3)

A source is a record, the path of one, a table of `rnneval trace` (Parquet) or its pandas DataFrame; the names are those
of `rnneval plot --figure`. Nothing is shown, saved or set globally. `passage` is text: it is returned as `rich` text,
which notebooks show and `rich.print` prints. The docstring of each function lists its keyword arguments.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rnneval.render import figures
from rnneval.render.figures._base import of_seaborn


def __getattr__(name: str) -> Callable[..., Any]:
    names = figures.names()
    if name not in names:
        raise AttributeError(
            f"there is no figure {name!r}{figures.meant(name, names)}: rnneval.plot has {', '.join(names)}"
        )
    function = getattr(figures.module(name), "SEABORN", None)

    def plot(
        source: Any,
        ax: Any = None,
        *,
        title: str | None = None,
        legend: bool | str = True,
        palette: Any = None,
        metric: str | None = None,
        **keywords: Any,
    ) -> Any:
        changes = figures.Keywords.of(title=title, legend=legend, palette=palette)
        if keywords:
            changes = replace(changes, of_seaborn=of_seaborn(name, function, keywords))
        return figures.figure_of(source, name, metric=metric).draw(ax=ax, keywords=changes)

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
    plot.__name__ = plot.__qualname__ = name
    plot.__doc__ = "\n".join([str(figures.module(name).__doc__), *lines, ""])
    return plot


def __dir__() -> list[str]:
    return list(figures.names())
