"""Sources of a page: records under the names they were given by, the models they are about, and their figures."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePath
from typing import Any, TypeVar

from markupsafe import Markup
from msgspec.structs import replace as changed

from rnneval.gates.ranking import Ranking, rank
from rnneval.gates.sides import Named, fields_of
from rnneval.records import Gate, Gradients, Opened, Run, Wiring
from rnneval.records.run import WiringSummary
from rnneval.records.tables import SWEEP
from rnneval.records.wiring import Finding
from rnneval.render.document import Block, Fold, Page, Part, Picture
from rnneval.render.figures import Figure, Table, figures_of, svg
from rnneval.render.figures._export import compact, dark_of, ratio
from rnneval.render.html import Drawn
from rnneval.render.phrasing import file_name, model_names

R = TypeVar("R")
WIDTH, NARROW = 460, 320
"""Widths of figures in CSS pixels: of a column, and of a phone."""
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

    def has_label(self, label: str) -> bool:
        """Return whether the model or one of its records is called so."""
        return label == self.name or any(each.label == label for each in self.given)

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


def sweeps(given: Iterable[Given]) -> list[Given]:
    """Return the tables of sweeps."""
    return [each for each in given if isinstance(each.record, Table) and each.record.schema == SWEEP]


def subjects(given: Sequence[Given]) -> tuple[Subject, ...]:
    """Group records and tables by the hash of their checkpoint, in the order in which they were given.

    A table without a hash, such as the history of a training, belongs to the model whose record has the same name.
    """
    groups: dict[str, list[Given]] = {}
    for each in given:
        if sha := each.checkpoint:
            groups.setdefault(sha, []).append(each)
    names = _names(list(groups.values()))
    models = [Subject(name=name, given=tuple(group)) for name, group in zip(names, groups.values(), strict=True)]
    for each in given:
        if isinstance(each.record, Table) and not each.checkpoint and each.record.schema != SWEEP:
            owners = [place for place, model in enumerate(models) if model.has_label(each.label)]
            for place in owners if len(owners) == 1 else ():
                models[place] = replace(models[place], given=(*models[place].given, each))
    return tuple(models)


def _names(groups: Sequence[Sequence[Given]]) -> list[str]:
    """Name each model by its file; of equal names, with the folder of its records, or else with its first record."""
    paths = []
    for group in groups:
        records = (each.record for each in group if isinstance(each.record, Run | Gradients | Opened))
        first = next(records, None)
        paths.append(group[0].label if first is None else first.title)
    names = model_names(paths)
    if len(set(names)) == len(names):
        return names
    folders = [PurePath(group[0].name).parent.name for group in groups]
    different = all(folders) and len(set(zip(names, folders, strict=True))) == len(names)
    places = folders if different else [group[0].name for group in groups]
    return [f"{name} ({place})" for name, place in zip(names, places, strict=True)]


def with_model_names(given: Sequence[Given]) -> list[Given]:
    """Call models by one name everywhere: gates and comparisons call them by the files of their records."""
    known: dict[str, set[str]] = {}
    for model in subjects(given):
        paths = [path for each in model.given for path in (each.name, each.label)]
        for alias in (*paths, *(run.title for run in model.runs)):
            known.setdefault(alias, set()).add(model.name)
            known.setdefault(file_name(alias), set()).add(model.name)
    names = {alias: found.pop() for alias, found in known.items() if len(found) == 1}
    sides = dict.fromkeys(side for each in given for side in _sides(each.record) if side not in names)
    files = [side for side in sides if side not in ("", "limit") and ", " not in side]
    names |= dict(zip(files, model_names(files), strict=True))
    return [replace(each, record=_renamed(each.record, names)) for each in given]


def _sides(record: Any) -> Iterator[str]:
    if isinstance(record, Gate):
        yield from (side for each in record.comparisons for side in (each.baseline, each.candidate))
    if isinstance(record, Ranking):
        yield from (row.name for row in record.rows)


def _renamed(record: Any, names: Mapping[str, str]) -> Any:
    """Return a gate or a ranking with other names of models, and any other record as it is."""

    def name(text: str) -> str:
        return names.get(text, text)

    files = sorted((alias for alias in names if "." in alias), key=len, reverse=True)
    pattern = re.compile("|".join(rf"(?<![\w./-]){re.escape(alias)}(?!\w)" for alias in files) or "(?!)")

    def said(texts: Iterable[str]) -> tuple[str, ...]:
        return tuple(pattern.sub(lambda found: name(found[0]), text) for text in texts)

    if isinstance(record, Gate):
        compared = [
            changed(each, baseline=name(each.baseline), candidate=name(each.candidate)) for each in record.comparisons
        ]
        return changed(record, comparisons=tuple(compared), warnings=said(record.warnings))
    if isinstance(record, Ranking):
        rows = tuple(changed(row, name=name(row.name)) for row in record.rows)
        ends = {"baseline": name(record.baseline), "candidate": name(record.candidate)}
        return changed(record, rows=rows, warnings=said(record.warnings), **ends)
    return record


def tokens_of(run: Run) -> str:
    """Return what the model predicts: characters, words or another kind of token."""
    return _NOUNS.get(fields_of(run.signature).get("tok", "").partition("+")[0].partition("-")[0], "tokens")


def together(given: Sequence[Given]) -> tuple[Given, ...]:
    """Return runs of several models that compare, as one source: some figures show them side by side."""
    several = _comparable(given)
    return tuple(
        Given(name=f"together/{n}", record=[_called(model.name, run) for model, run in runs])
        for n, runs in enumerate(several)
    )


def _called(name: str, run: Run) -> Run:
    """Return a run whose checkpoint has the name of its model, by which figures call it."""
    return run if run.checkpoint is None else changed(run, checkpoint=changed(run.checkpoint, path=name))


def rankings(given: Sequence[Given]) -> tuple[Given, ...]:
    """Return every comparison of runs, those that were given or else one of all runs that compare.

    A pair that a gate has judged is told there, with the gate's own interval: its difference is left out here, and a
    comparison of nothing else is left out.
    """
    found = [each for each in given if isinstance(each.record, Ranking)]
    for number, runs in enumerate([] if found else _comparable(given)):
        named = [Named(name=model.name, record=run) for model, run in runs]
        found.append(Given(name=f"compared/{number}", record=rank(named, blocks=0)))
    judged = {
        (each.metric, frozenset((each.candidate, each.baseline)))
        for _, gate in of_kind(given, Gate)
        for each in gate.comparisons
        if each.difference is not None
    }
    kept = []
    for each in found:
        ranking = each.record
        best, *others = ranking.rows
        told = [row for row in others if (ranking.metric, frozenset((row.name, best.name))) in judged]
        if told and not ranking.blocks and all(row in told or row.difference is None for row in others):
            continue
        nothing = {"difference": None, "low": None, "high": None, "method": None}
        rows = (best, *(changed(row, **nothing) if row in told else row for row in others))
        kept.append(replace(each, record=changed(ranking, rows=rows)))
    return tuple(kept)


def _comparable(given: Sequence[Given]) -> list[list[tuple[Subject, Run]]]:
    """Return the runs of several models on the same text and with the same signature, a list for each."""
    groups: dict[tuple[str, str], list[tuple[Subject, Run]]] = {}
    for model in subjects(given):
        for run in model.scored:
            groups.setdefault((run.text.sha256, run.signature), []).append((model, run))
    return [runs for runs in groups.values() if 1 < len(runs) <= _SIDE_BY_SIDE]


# Wiring


@dataclass(frozen=True, kw_only=True)
class Checked:
    """All that is known of the wiring of one model: records of `rnneval check`, and the checks before evaluations."""

    name: str
    records: tuple[Given, ...]
    runs: tuple[Run, ...]

    @property
    def every(self) -> list[Wiring | WiringSummary]:
        """Return every record and summary; records come first, since they say more."""
        return [*(each.record for each in self.records), *(run.wiring for run in self.runs if run.wiring is not None)]

    @property
    def verdicts(self) -> tuple[Wiring | WiringSummary, ...]:
        """Return one record or summary for each verdict."""
        found: dict[str, Wiring | WiringSummary] = {}
        for wiring in self.every:
            found.setdefault(wiring.verdict, wiring)
        return tuple(found.values())

    @property
    def passes(self) -> bool:
        """Return whether every check of the model passed."""
        return all(wiring.verdict == "pass" for wiring in self.every)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Return every fault once, however often it was found."""
        found: dict[tuple[Any, ...], Finding] = {}
        for wiring in self.every:
            for each in wiring.findings:
                found.setdefault(_fault(each), each)
        return tuple(found.values())


def checked(given: Sequence[Given]) -> tuple[Checked, ...]:
    """Return the wiring of every model that was checked, those that did not pass first."""
    models = subjects(given)
    records: dict[str, list[Given]] = {}
    runs = {model.name: tuple(run for run in model.runs if run.wiring is not None) for model in models}
    for each, wiring in of_kind(given, Wiring):
        owner = _owner(each, wiring, models)
        nameless = "the checked model" if each.label == "wiring" else each.label
        records.setdefault(owner.name if owner else nameless, []).append(each)
    names = dict.fromkeys((*records, *(name for name, found in runs.items() if found)))
    found = [Checked(name=name, records=tuple(records.get(name, ())), runs=runs.get(name, ())) for name in names]
    return tuple(sorted(found, key=lambda each: each.passes))


def _owner(each: Given, wiring: Wiring, models: Sequence[Subject]) -> Subject | None:
    """Return the model that a wiring record is about, which has no hash: by name, faults, folder or layers."""
    layers = {(layer.name, layer.kind) for layer in wiring.layers}
    faults = set(map(_fault, wiring.findings))

    def known(model: Subject) -> set[tuple[str, str]]:
        checkpoints = (getattr(one.record, "checkpoint", None) for one in model.given)
        return {(layer.name, layer.kind) for found in checkpoints if found is not None for layer in found.layers}

    def same_faults(model: Subject) -> bool:
        return any(run.wiring and faults and set(map(_fault, run.wiring.findings)) == faults for run in model.runs)

    def same_folder(model: Subject) -> bool:
        return any(PurePath(one.name).parent == PurePath(each.name).parent for one in model.given)

    alike = [model for model in models if not known(model) or known(model) == layers]
    if len(found := [model for model in models if same_faults(model)]) == 1:
        return found[0]
    for same in (lambda model: model.has_label(each.label), same_folder, lambda model: bool(known(model))):
        if len(found := [model for model in alike if same(model)]) == 1:
            return found[0]
    return None


def _fault(finding: Finding) -> tuple[Any, ...]:
    return finding.rule, finding.layer, finding.source_layer, finding.line


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
    named = with_model_names(given)
    wanted = {picture.key for section in page.sections for picture in _pictures_in(section.blocks)}
    sources = (*named, *together(named), *rankings(named))
    known = {_key(each, figure): figure for each in sources for figure in each.figures}
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
    return replace(_looks(figure, WIDTH), narrow=_looks(figure, NARROW))


def _looks(figure: Figure, width: int) -> Drawn:
    drawn = svg(figure, width=width, titled=False)
    light, dark = compact(drawn), compact(dark_of(drawn))
    return Drawn(light=light, dark=dark, width=width, height=round(width * ratio(light)))


def _picture(given: Given, figure: Figure) -> Picture:
    first, _, rest = figure.reading.partition(". ")
    return Picture(
        key=_key(given, figure),
        title=figure.title,
        alt=figure.alt,
        reading=first if first.endswith(".") else f"{first}.",
        more=rest,
    )


def _key(given: Given, figure: Figure) -> str:
    return f"{given.name}/{figure.name}"
