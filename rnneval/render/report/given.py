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
from rnneval.gates.sides import NamedRecord, fields_of
from rnneval.records import Gate, Gradients, Opened, Run, Wiring
from rnneval.records.run import WiringSummary
from rnneval.records.tables import SWEEP
from rnneval.records.wiring import Finding
from rnneval.render.document import Block, Fold, Picture, Report, Subsection
from rnneval.render.figures import Figure, Table, figures_of, svg
from rnneval.render.figures._export import LOWEST, dark_of
from rnneval.render.html import Drawn
from rnneval.render.phrasing import file_name, model_names

R = TypeVar("R")
WIDTH = 460
"""Width of a figure in CSS pixels: that of a column. It shrinks with its place."""
COLUMN = (WIDTH / 96, None, 96)
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
        """Figures that it can give."""
        return tuple(figures_of(self.record))

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Rows of a table, missing values as None."""
        frame = self.record.frame
        return list(frame.astype(object).where(frame.notna(), None).to_dict("records"))

    @property
    def label(self) -> str:
        """Its name without folder and ending."""
        return PurePath(self.name).name.partition(".")[0] or self.name

    @property
    def checkpoint(self) -> str | None:
        """Hash of the model or of the imported losses; a table has it among its metadata."""
        if isinstance(self.record, Run):
            return self.record.source.sha256
        if isinstance(self.record, Gradients | Opened):
            return self.record.checkpoint.sha256
        metadata: Mapping[str, str] = getattr(self.record, "metadata", {})
        return metadata.get("rnneval.checkpoint")


@dataclass(frozen=True, kw_only=True)
class ReportedModel:
    """One model, and every record of it."""

    name: str
    given: tuple[Given, ...]

    def has_label(self, label: str) -> bool:
        """Return whether the model or one of its records is called so."""
        return label == self.name or any(each.label == label for each in self.given)

    @property
    def runs(self) -> tuple[Run, ...]:
        """Every evaluation of it."""
        return tuple(each.record for each in self.given if isinstance(each.record, Run))

    @property
    def scored(self) -> tuple[Run, ...]:
        """One run for each text and signature, the fullest: a trace repeats the numbers of an evaluation."""
        found: dict[tuple[str, str], tuple[tuple[int, bool], Run]] = {}
        for run in self.runs:
            key, fullness = (run.text.sha256, run.signature), (len(run.scores), run.wiring is not None)
            if key not in found or fullness > found[key][0]:
                found[key] = (fullness, run)
        return tuple(run for _, run in found.values())


Scored = tuple[ReportedModel, Run]
"""One evaluation, and the model that it is of."""


def of_kind(given: Iterable[Given], kind: type[R]) -> list[tuple[Given, R]]:
    """Return the records of one kind, each with its source."""
    return [(each, each.record) for each in given if isinstance(each.record, kind)]


def sweeps(given: Iterable[Given]) -> list[Given]:
    """Return the tables of sweeps."""
    return [each for each, table in of_kind(given, Table) if table.schema == SWEEP]


def subjects(given: Sequence[Given]) -> tuple[ReportedModel, ...]:
    """Group records and tables by the hash of their checkpoint, in the order in which they were given.

    A table without a hash, such as the history of a training, belongs to the model whose record has the same name.
    """
    groups: dict[str, list[Given]] = {}
    for each in given:
        if sha := each.checkpoint:
            groups.setdefault(sha, []).append(each)
    names = _names(list(groups.values()))
    models = [ReportedModel(name=name, given=tuple(group)) for name, group in zip(names, groups.values(), strict=True)]
    for each, table in of_kind(given, Table):
        if not each.checkpoint and table.schema != SWEEP:
            owners = [place for place, model in enumerate(models) if model.has_label(each.label)]
            for place in owners if len(owners) == 1 else ():
                models[place] = replace(models[place], given=(*models[place].given, each))
    return tuple(models)


def _names(groups: Sequence[Sequence[Given]]) -> list[str]:
    """Name each model by its file; of equal names, with the folder of its records, or else with its first record."""
    paths = []
    for group in groups:
        records = (each.record for each in group if isinstance(each.record, Run | Gradients | Opened))
        paths.append(next((record.title for record in records), group[0].label))
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
    judged = [each for _, gate in of_kind(given, Gate) for each in gate.comparisons]
    sides = [side for each in judged for side in (each.baseline, each.candidate)]
    sides += [row.name for _, ranking in of_kind(given, Ranking) for row in ranking.rows]
    unknown = [side for side in dict.fromkeys(sides) if side not in names]
    files = [side for side in unknown if side not in ("", "limit") and ", " not in side]
    names |= dict(zip(files, model_names(files), strict=True))
    return [replace(each, record=_renamed(each.record, names)) for each in given]


def _renamed(record: Any, names: Mapping[str, str]) -> Any:
    """Return a gate or a ranking with other names of models, and any other record as it is."""
    if not isinstance(record, Gate | Ranking):
        return record
    files = sorted((alias for alias in names if "." in alias), key=len, reverse=True)
    pattern = re.compile("|".join(rf"(?<![\w./-]){re.escape(alias)}(?!\w)" for alias in files) or "(?!)")
    warnings = tuple(pattern.sub(lambda found: names[found[0]], text) for text in record.warnings)

    def name(text: str) -> str:
        return names.get(text, text)

    if isinstance(record, Gate):
        compared = (
            changed(each, baseline=name(each.baseline), candidate=name(each.candidate)) for each in record.comparisons
        )
        return changed(record, comparisons=tuple(compared), warnings=warnings)
    rows = tuple(changed(row, name=name(row.name)) for row in record.rows)
    ends = {"baseline": name(record.baseline), "candidate": name(record.candidate)}
    return changed(record, rows=rows, warnings=warnings, **ends)


def tokens_of(run: Run) -> str:
    """Return what the model predicts: characters, words or another kind of token."""
    return _NOUNS.get(fields_of(run.signature).get("tok", "").partition("+")[0].partition("-")[0], "tokens")


def scored(given: Sequence[Given]) -> list[Scored]:
    """Return every evaluation, with its model."""
    return [(model, run) for model in subjects(given) for run in model.scored]


def alike(evaluations: Iterable[Scored]) -> list[list[Scored]]:
    """Group evaluations that compare: those of the same text and with the same signature."""
    groups: dict[tuple[str, str], list[Scored]] = {}
    for model, run in evaluations:
        groups.setdefault((run.text.sha256, run.signature), []).append((model, run))
    return list(groups.values())


def _side_by_side(given: Sequence[Given]) -> list[list[Scored]]:
    return [runs for runs in alike(scored(given)) if 1 < len(runs) <= _SIDE_BY_SIDE]


def together(given: Sequence[Given]) -> tuple[Given, ...]:
    """Return runs of several models that compare, as one source: some figures show them side by side."""
    found = []
    for number, several in enumerate(_side_by_side(given)):
        # Figures call a run by the path of its checkpoint.
        named = [
            run if run.checkpoint is None else changed(run, checkpoint=changed(run.checkpoint, path=model.name))
            for model, run in several
        ]
        found.append(Given(name=f"together/{number}", record=named))
    return tuple(found)


def rankings(given: Sequence[Given]) -> tuple[Given, ...]:
    """Return every comparison of runs, those that were given or else one of all runs that compare.

    A pair that a gate has judged is told there, with the gate's own interval: its difference is left out here, and a
    comparison of nothing else is left out.
    """
    found = [each for each, _ in of_kind(given, Ranking)]
    for number, runs in enumerate([] if found else _side_by_side(given)):
        named = [NamedRecord(name=model.name, record=run) for model, run in runs]
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


# Wiring


@dataclass(frozen=True, kw_only=True)
class Checked:
    """All that is known of the wiring of one model: records of `rnneval check`, and the checks before evaluations."""

    name: str
    records: tuple[Given, ...]
    runs: tuple[Run, ...]
    verdicts: tuple[Wiring | WiringSummary, ...]
    """One record or summary for each verdict; records come first, since they say more."""
    findings: tuple[Finding, ...]
    """Every fault once, however often it was found."""

    @property
    def passes(self) -> bool:
        """True if every check of the model passed."""
        return all(wiring.verdict == "pass" for wiring in self.verdicts)


def checked(given: Sequence[Given]) -> tuple[Checked, ...]:
    """Return the wiring of every model that was checked, those that did not pass first."""
    models = subjects(given)
    records: dict[str, list[Given]] = {}
    for each, wiring in of_kind(given, Wiring):
        owner = _owner(each, wiring, models)
        nameless = "the checked model" if each.label == "wiring" else each.label
        records.setdefault(owner.name if owner else nameless, []).append(each)
    runs = {model.name: tuple(run for run in model.runs if run.wiring is not None) for model in models}
    found = []
    for name in dict.fromkeys((*records, *(name for name, wired in runs.items() if wired))):
        mine, of_runs = tuple(records.get(name, ())), runs.get(name, ())
        verdicts: dict[str, Wiring | WiringSummary] = {}
        faults: dict[tuple[Any, ...], Finding] = {}
        for wiring in (*(each.record for each in mine), *(run.wiring for run in of_runs)):
            verdicts.setdefault(wiring.verdict, wiring)
            for finding in wiring.findings:
                faults.setdefault(_fault(finding), finding)
        said, wrong = tuple(verdicts.values()), tuple(faults.values())
        found.append(Checked(name=name, records=mine, runs=of_runs, verdicts=said, findings=wrong))
    return tuple(sorted(found, key=lambda each: each.passes))


def _owner(each: Given, wiring: Wiring, models: Sequence[ReportedModel]) -> ReportedModel | None:
    """Return the model that a wiring record is about, which has no hash: by faults, name, folder or layers."""
    layers = {(layer.name, layer.kind) for layer in wiring.layers}
    faults, folder = set(map(_fault, wiring.findings)), PurePath(each.name).parent
    by_faults, by_name, by_folder, by_layers = [], [], [], []
    for model in models:
        if faults and any(run.wiring and set(map(_fault, run.wiring.findings)) == faults for run in model.runs):
            by_faults.append(model)
        checkpoints = (getattr(one.record, "checkpoint", None) for one in model.given)
        known = {(layer.name, layer.kind) for found in checkpoints if found is not None for layer in found.layers}
        if known and known != layers:
            continue
        by_name += [model] if model.has_label(each.label) else []
        by_folder += [model] if any(PurePath(one.name).parent == folder for one in model.given) else []
        by_layers += [model] if known else []
    return next((found[0] for found in (by_faults, by_name, by_folder, by_layers) if len(found) == 1), None)


def _fault(finding: Finding) -> tuple[Any, ...]:
    return finding.rule, finding.layer, finding.source_layer, finding.line


# Figures


def pictures(*given: Given, only: Collection[str] = (), chapter: str | None = None) -> tuple[Picture, ...]:
    """Return a block for each figure of records of one model: of those named in `only`, and of one chapter.

    If two records can give the same figure, the first does.
    """
    found: dict[str, Picture] = {}
    for each in given:
        for figure in each.figures:
            if figure.name not in found and (not only or figure.name in only) and chapter in (None, figure.chapter):
                first, _, rest = figure.reading.partition(". ")
                found[figure.name] = Picture(
                    key=_key(each, figure),
                    title=figure.title,
                    alt=figure.alt,
                    reading=first if first.endswith(".") else f"{first}.",
                    more=rest,
                )
    return tuple(found.values())


def _key(given: Given, figure: Figure) -> str:
    return f"{given.name}/{figure.name}"


def draw(page: Report, given: Sequence[Given]) -> Mapping[str, Drawn]:
    """Draw the figures of a page, by key: the slow part of a report."""
    named = with_model_names(given)
    wanted = {key for section in page.sections for key in _keys(section.blocks)}
    sources = (*named, *together(named), *rankings(named))
    known = {_key(each, figure): figure for each in sources for figure in each.figures}
    return {key: _drawn(figure) for key, figure in known.items() if key in wanted}


def _keys(blocks: Sequence[Block]) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, Picture):
            yield block.key
        elif isinstance(block, Subsection | Fold):
            yield from _keys(block.blocks)


def _drawn(figure: Figure) -> Drawn:
    if figure.html is not None:
        return Drawn(html=Markup(figure.html()))  # noqa: S704 - the figure escapes what comes out of files
    light = svg(figure, COLUMN, clear=True, titled=False)
    light = light[light.index("<svg") :]
    return Drawn(light=light, dark=dark_of(light), width=WIDTH, height=round(max(WIDTH, LOWEST) * figure.height))
