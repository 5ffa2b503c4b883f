"""`rnneval.plot.NAME(source, ax=None)`: every figure as a function that draws on Axes and returns them, as in seaborn.

    import rnneval

    rnneval.plot.loss_over_text("run.json")
    rnneval.plot.flow_matrix(rnneval.check(model), ax=axes[0])
    rnneval.plot.learning_curve("results/").set_title("Training")

A source is a record, the path of one, a table of `rnneval trace` (Parquet) or its pandas DataFrame; the names are those
of `rnneval plot --figure`. Nothing is shown, saved or set globally. `passage` is text: it is returned as `rich` text,
which notebooks show and `rich.print` prints. It needs the text that was scored:

    rnneval.plot.passage("losses.parquet", text="held_out.txt", part="90%:")
"""

from collections.abc import Callable
from typing import Any

from rnneval.errors import UsageError
from rnneval.pages import page
from rnneval.render import figures
from rnneval.text import Paths, text_given

_ARGUMENTS = """Args:
    source: A record, its path, the path of a table, or its DataFrame.
    ax: Axes to draw on; by default the current ones, or new ones where these hold a figure.
    text: For `passage`: the files that were scored, of `part`.
    string: For `passage`: the text that was scored, in place of files.
"""


def __getattr__(name: str) -> Callable[..., Any]:
    names = figures.names()
    if name not in names:
        raise AttributeError(f"there is no figure {name!r}: rnneval.plot has {', '.join(names)}")

    def plot(
        source: Any, ax: Any = None, *, text: Paths | None = None, string: str | None = None, part: str | None = None
    ) -> Any:
        found = figures.source_of(source)
        if name == "passage":
            if not isinstance(found, figures.TidyTable) or found.schema != figures.LOSSES:
                raise UsageError("passage shows one table of losses: give the file that evaluate(losses=FILE) wrote")
            found = found.with_text(text_given(text, string), part)
        elif (text, string, part) != (None,) * 3:
            raise UsageError(f"{name} takes no text, string or part: passage does")
        return figures.figure_of(found, name).draw(ax)

    plot.__name__ = plot.__qualname__ = name
    plot.__doc__ = f"{page(name).text}\n\n{_ARGUMENTS}"
    return plot


def __dir__() -> list[str]:
    return list(figures.names())
