"""Sources of a page: records under the names they were given by, the models they are about, and their figures."""

import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import Any, TypeVar

from markupsafe import Markup

from rnneval.gates.comparable import fields_of
from rnneval.records import Gradients, Opened, Run, Wiring
from rnneval.records.run import WiringSummary
from rnneval.records.tables import SWEEP
from rnneval.render.document import Block, Fold, Page, Part, Picture
from rnneval.render.figures import Figure, Table, figures_of, module, svg
from rnneval.render.figures._export import compact, ratio
from rnneval.render.html import Drawn
from rnneval.render.phrasing import short_names

R = TypeVar("R")
WIDTH = 500
"""Width of figures in CSS pixels: not wider than a column, so that they stay legible on a phone, where they shrink."""
_SIDE_BY_SIDE = 12
_NOUNS = {"char": "characters", "byte": "bytes", "word": "words"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Given:
    """One record or table, and its name on the command line."""

    name: str
    record: Any
    """A record, a `rnneval.render.figures.Table`, a `rnneval.gates.ranking.Ranking`, or several runs (`together`)."""

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        """Return the figures that it can give."""
        return tuple(figures_of(self.record))

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of a table, missing values as None."""
        frame = self.record.frame
        return list(frame.astype(object).where(frame.notna(), None).to_dict("records"))

    @property
    def label(self) -> str:
        """Return its name without folder and ending."""
        return PurePath(self.name).name.partition(".")[0] or self.name

    @property
    def checkpoint(self) -> str | None:
        """Return the hash of the model or of the imported losses; a table has it among its metadata."""
        if isinstance(self.record, Run):
            return self.record.source.sha256
        if isinstance(self.record, Gradients | Opened):
            return self.record.checkpoint.sha256
        metadata: Mapping[str, str] = getattr(self.record, "metadata", {})
        return metadata.get("rnneval.checkpoint")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One model, and every record of it."""

    name: str
    given: tuple[Given, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """Return every evaluation of it."""
        return tuple(each.record for each in self.given if isinstance(each.record, Run))

    @property
    def scored(self) -> tuple[Run, ...]:
        """Return one run for each text and signature: a trace repeats the numbers of an evaluation."""

        def fullness(run: Run) -> tuple[int, bool]:
            return len(run.scores), run.wiring is not None

        found: dict[tuple[str, str], Run] = {}
        for run in self.runs:
            key = (run.text.sha256, run.signature)
            if key not in found or fullness(run) > fullness(found[key]):
                found[key] = run
        return tuple(found.values())


def of_kind(given: Iterable[Given], kind: type[R]) -> list[tuple[Given, R]]:
    """Return the records of one kind, each with its source."""
    return [(each, each.record) for each in given if isinstance(each.record, kind)]


def is_told(summary: WiringSummary, given: Iterable[Given]) -> bool:
    """Return whether a wiring record says the same as the summary in a run: the record, which says more, is enough."""
    told = [(wiring.verdict, wiring.reason, wiring.findings) for _, wiring in of_kind(given, Wiring)]
    return (summary.verdict, summary.reason, summary.findings) in told


def sweeps(given: Iterable[Given]) -> list[Given]:
    """Return the tables of sweeps."""
    return [each for each in given if isinstance(each.record, Table) and each.record.schema == SWEEP]


def subjects(given: Sequence[Given]) -> tuple[Subject, ...]:
    """Group records and tables by the hash of their checkpoint, in the order in which they were given."""
    groups: dict[str, list[Given]] = {}
    for each in given:
        if sha := each.checkpoint:
            groups.setdefault(sha, []).append(each)
    names = _names(list(groups.values()))
    return tuple(Subject(name=name, given=tuple(group)) for name, group in zip(names, groups.values(), strict=True))


def _names(groups: Sequence[Sequence[Given]]) -> list[str]:
    """Name each model by its file; if two have the same name, by its path; if that fails, by its record."""
    paths = []
    for group in groups:
        records = (each.record for each in group if isinstance(each.record, Run | Gradients | Opened))
        first = next(records, None)
        paths.append(group[0].label if first is None else first.title)
    names = short_names(paths)
    if len(set(names)) == len(names):
        return names
    return [f"{path} ({group[0].name})" for path, group in zip(paths, groups, strict=True)]


def tokens_of(run: Run) -> str:
    """Return what the model predicts: characters, words or another kind of token."""
    return _NOUNS.get(fields_of(run.signature).get("tok", "").partition("+")[0].partition("-")[0], "tokens")


def together(given: Sequence[Given]) -> tuple[Given, ...]:
    """Return runs of several models that compare, as one source: some figures show them side by side."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for model in subjects(given):
        for run in model.scored:
            groups.setdefault((run.text.sha256, run.signature), []).append(run)
    several = (runs for runs in groups.values() if 1 < len(runs) <= _SIDE_BY_SIDE)
    return tuple(Given(name=f"together/{number}", record=runs) for number, runs in enumerate(several))


# Figures


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
    if figure.html is not None:
        return Drawn(html=Markup(figure.html()))  # noqa: S704 - the figure escapes what comes out of files
    light, dark = (compact(svg(figure, width=WIDTH, dark=dark, titled=False)) for dark in (False, True))
    return Drawn(light=light, dark=dark, width=WIDTH, height=round(WIDTH * ratio(light)))


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
