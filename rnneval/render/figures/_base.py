"""A figure: a title and a text alternative made from a record, and a drawing or a coloured text."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from rich.text import Text

from rnneval.render.figures._style import Look, frame, look_of

LOCK = threading.RLock()
"""Held while matplotlib's settings are changed, so that threads do not see each other's."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One picture that a record can give; it costs nothing until it is drawn."""

    name: str = ""
    """The file in `rnneval/render/figures`, `--figure NAME`, and `rnneval.plot.NAME`; the package fills it in."""
    title: str
    """The main observation as a sentence; it stands above the picture."""
    alt: str
    """The observation with its numbers, for readers who do not see the picture."""
    height: float = 0.6
    """Height of the whole picture on a page, as a share of its width."""
    x: str = ""
    """Label of the horizontal axis, with its unit; empty: `paint` sets it."""
    y: str = ""
    grid: Literal["", "x", "y", "both"] = "y"
    paint: Callable[[Any, Look], None] | None = None
    """Draws on Axes with the colours of a look; `None` for a figure that is text."""
    text: Callable[[], Text] | None = None
    """Makes the coloured text of a figure that is text, for a terminal or a notebook."""
    html: Callable[[], str] | None = None
    """Makes the same as an HTML element; `passage.CSS` styles it."""
    chapter: Literal["inside", "numbers", "baselines"] = "inside"
    """Chapter of a report that shows the figure of a model."""

    def draw(self, ax: Any = None) -> Any:
        """Draw on `ax`, by default the current Axes, and return it; a figure that is text returns its `rich` text."""
        if self.text is not None:
            return self.text()
        assert self.paint is not None  # noqa: S101 - a figure has one of the two
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.gca()
        import matplotlib as mpl

        look = look_of(ax)
        with LOCK, mpl.rc_context(look.theme()):
            ax.tick_params(which="both", labelsize="small", length=3)
            self.paint(ax, look)
            frame(ax, look, title=self.title, x=self.x, y=self.y, grid=self.grid)
        return ax
