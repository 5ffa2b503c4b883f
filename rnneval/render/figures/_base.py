"""What a figure is: a sentence that says what is seen, the same with all numbers, and a drawing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One picture that a record can give; making it costs nothing until it is drawn."""

    name: str
    """The file in `rnneval/render/figures`, `--figure NAME`, and `rnneval.plot.NAME`."""
    title: str
    """What is seen, as a sentence; it stands above the picture."""
    alt: str
    """What is seen, with its numbers, for people who do not see the picture."""
    draw: Callable[..., Any]
    """`draw(ax=None)`: draws on a matplotlib Axes (by default the current one) and returns it."""
    height: float
    """Of the whole picture on a page, as a share of its width."""
