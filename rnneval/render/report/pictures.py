"""The figures of a record as blocks of the page, and as images in both looks."""

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

from rnneval.render.figures import Figure, Table
from rnneval.render.report.blocks import Fact, Picture
from rnneval.render.report.given import Given

WIDTH = 460
"""CSS pixels a figure is drawn at: a column of the page; on a phone it shrinks by a quarter and can still be read."""


_OF_NUMBERS = frozenset({"calibration", "loss_over_text", "surprise"})


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A figure in both looks, as SVG."""

    light: str
    dark: str
    width: int
    height: int


def is_table(given: Given) -> bool:
    """Whether it is a tidy table: a trace, losses, a history."""
    return isinstance(given.record, Table)


def facts_of_table(given: Given) -> list[Fact]:
    """Say what a table's own metadata say of it."""
    said = {key.removeprefix("rnneval."): value for key, value in given.record.metadata.items() if "rnneval." in key}
    rows = [Fact(name=key.replace("_", " "), text=value, code=True) for key, value in said.items()]
    return [*rows, Fact(name="rows", text=f"{len(given.record.frame):,}")]


def pictures(*given: Given, of_numbers: bool | None = None) -> tuple[Picture, ...]:
    """Give a block a figure; where two records can give the same figure, the first does.

    Args:
        given: Records of one model.
        of_numbers: Only figures that belong to the numbers, or only all others; by default every one.
    """
    found: dict[str, Picture] = {}
    for each in given:
        for figure in each.figures:
            if of_numbers is None or (figure.name in _OF_NUMBERS) == of_numbers:
                found.setdefault(figure.name, _picture(each, figure))
    return tuple(found.values())


def draw(given: Iterable[Given]) -> Mapping[str, Drawn]:
    """Draw everything that can be drawn, by key: the slow part of a report."""
    return {_key(each, figure): _drawn(figure) for each in given for figure in each.figures}


def _drawn(figure: Figure) -> Drawn:
    from rnneval.render.figures import svg

    light, dark = (svg(figure, width=WIDTH, dark=dark, titled=False) for dark in (False, True))
    return Drawn(light=light, dark=dark, width=WIDTH, height=round(WIDTH * _ratio(light)))


def _ratio(svg: str) -> float:
    box = re.search(r'viewBox="[\d.]+ [\d.]+ ([\d.]+) ([\d.]+)"', svg)
    return float(box.group(2)) / float(box.group(1)) if box else 0.6


def _picture(given: Given, figure: Figure) -> Picture:
    return Picture(key=_key(given, figure), title=figure.title, alt=figure.alt, reading=_reading(figure.name))


def _key(given: Given, figure: Figure) -> str:
    return f"{given.name}/{figure.name}"


def _reading(name: str) -> str:
    """Give how to read it: the second paragraph of the figure's own text."""
    text = inspect.cleandoc(import_module(f"rnneval.render.figures.{name}").__doc__ or "")
    paragraphs: Sequence[str] = [" ".join(part.split()) for part in text.split("\n\n")]
    return paragraphs[1] if len(paragraphs) > 1 else paragraphs[0]
