"""Figures of records as blocks of the page, and as images in both looks."""

import inspect
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from rnneval.render.figures import Figure, Table, module
from rnneval.render.report.blocks import Block, Fact, Fold, Page, Part, Picture
from rnneval.render.report.compact import compact
from rnneval.render.report.given import Given, together

WIDTH = 500
"""Width of figures in CSS pixels: not wider than a column, so that they stay legible on a phone, where they shrink."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A figure as SVG in both looks, or as an element of the page."""

    light: str = ""
    dark: str = ""
    width: int = 0
    height: int = 0
    html: Markup | None = None


def is_table(given: Given) -> bool:
    """Return true for a tidy table: a trace, losses, a history."""
    return isinstance(given.record, Table)


def facts_of_table(given: Given) -> list[Fact]:
    """Return the metadata of a table, and its number of rows."""
    said = {key.removeprefix("rnneval."): value for key, value in given.record.metadata.items() if "rnneval." in key}
    rows = [Fact(name=key.replace("_", " "), text=value, code=True) for key, value in said.items()]
    return [*rows, Fact(name="rows", text=f"{len(given.record.frame):,}")]


def pictures(*given: Given, only: Collection[str] = (), chapter: str | None = None) -> tuple[Picture, ...]:
    """Return a block for each figure; if two records can give the same figure, the first does.

    Args:
        given: Records of one model.
        only: Names of the wanted figures; by default all.
        chapter: Chapter of the wanted figures (`Figure.chapter`); by default all.
    """
    found: dict[str, Picture] = {}
    for each in given:
        for figure in each.figures:
            if (not only or figure.name in only) and chapter in (None, figure.chapter):
                found.setdefault(figure.name, _picture(each, figure))
    return tuple(found.values())


def draw(page: Page, given: Sequence[Given]) -> Mapping[str, Drawn]:
    """Draw the figures of a page, by key: the slow part of a report."""
    wanted = {picture.key for section in page.sections for picture in _pictures_in(section.blocks)}
    known = {_key(each, figure): figure for each in (*given, *together(given)) for figure in each.figures}
    return {key: _drawn(figure) for key, figure in known.items() if key in wanted}


def _pictures_in(blocks: Sequence[Block]) -> Iterator[Picture]:
    for block in blocks:
        if isinstance(block, Picture):
            yield block
        elif isinstance(block, Part | Fold):
            yield from _pictures_in(block.blocks)


def _drawn(figure: Figure) -> Drawn:
    from rnneval.render.figures import svg

    if figure.html is not None:
        return Drawn(html=Markup(figure.html()))  # noqa: S704 - the figure escapes what comes out of files
    light, dark = (compact(svg(figure, width=WIDTH, dark=dark, titled=False)) for dark in (False, True))
    return Drawn(light=light, dark=dark, width=WIDTH, height=round(WIDTH * _ratio(light)))


def _ratio(svg: str) -> float:
    box = re.search(r'viewBox="[\d.]+ [\d.]+ ([\d.]+) ([\d.]+)"', svg)
    return float(box.group(2)) / float(box.group(1)) if box else 0.6


def _picture(given: Given, figure: Figure) -> Picture:
    first, _, rest = _reading(figure.name).partition(". ")
    return Picture(
        key=_key(given, figure),
        title=figure.title,
        alt=figure.alt,
        reading=first if first.endswith(".") else f"{first}.",
        more=rest,
    )


def _key(given: Given, figure: Figure) -> str:
    return f"{given.name}/{figure.name}"


def _reading(name: str) -> str:
    """Return how to read a figure: the second paragraph of its docstring."""
    text = inspect.cleandoc(module(name).__doc__ or "")
    paragraphs: Sequence[str] = [" ".join(part.split()) for part in text.split("\n\n")]
    return paragraphs[1] if len(paragraphs) > 1 else paragraphs[0]
