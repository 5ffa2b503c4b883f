"""Sources of a page: records under the names they were given by, the models they are about, and their figures."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePath
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace as changed

from rnneval.gates.ranking import compare
from rnneval.gates.sides import NamedRecord, fields_of
from rnneval.records import Gate, Gradients, Opened, Ranking, Run, Wiring
from rnneval.records.run import WiringSummary
from rnneval.records.tables import SWEEP
from rnneval.render.document import Picture
from rnneval.render.figures import Figure, TidyTable, figures_of
from rnneval.render.phrasing import file_name, model_names, told_apart

R = TypeVar("R")
_SIDE_BY_SIDE = 12
_NOUNS = {"char": "characters", "byte": "bytes", "word": "words"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Given:
    """One record or table, and its name on the command line."""

    name: str
    record: Any
    """A record, a `TidyTable` or a `Ranking`."""

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
        """Identity of the model or of the imported losses; a table has it among its metadata."""
        if isinstance(self.record, Run):
            return self.record.source.identity
        if isinstance(self.record, Gradients | Opened):
            return self.record.checkpoint.identity
        metadata: Mapping[str, str] = getattr(self.record, "metadata", {})
        return metadata.get("rnneval.model", metadata.get("rnneval.checkpoint"))

    def key(self, figure: Figure) -> str:
        """Return the key of one of its figures among the drawings of a page."""
        return f"{self.name}/{figure.name}"


@dataclass(frozen=True, kw_only=True)
class ReportedModel:
    """One model, and every record of it."""

    name: str
    given: tuple[Given, ...]

    def has_label(self, label: str) -> bool:
        """Return whether the model or one of its records is called so."""
        return label in (self.name, *(each.label for each in self.given))

    @property
    def layers(self) -> set[tuple[str, str]]:
        """Names and kinds of its layers, where a record knows them."""
        checkpoints = (getattr(each.record, "checkpoint", None) for each in self.given)
        return {(layer.name, layer.kind) for found in checkpoints if found is not None for layer in found.layers}

    @property
    def runs(self) -> tuple[Run, ...]:
        """Every evaluation of it."""
        return tuple(each.record for each in self.given if isinstance(each.record, Run))

    @property
    def scored(self) -> tuple[Run, ...]:
        """One run for each text and signature, the fullest: a trace repeats the numbers of an evaluation."""
        texts: dict[tuple[str, str], list[Run]] = {}
        for run in self.runs:
            texts.setdefault((run.text.sha256, run.signature), []).append(run)
        return tuple(max(runs, key=lambda run: (len(run.scores), run.wiring is not None)) for runs in texts.values())


Scored = tuple[ReportedModel, Run]
"""One evaluation, and the model that it is of."""


@dataclass(frozen=True)
class CheckedWiring:
    """All that is known of the wiring of one model: records of `rnneval check`, and the checks before evaluations."""

    name: str
    records: Sequence[Given]
    runs: Sequence[Run]

    @property
    def worst(self) -> Wiring | WiringSummary:
        """The check with the worst verdict; a record before a summary, since it holds more."""
        records: list[Wiring | WiringSummary] = [each.record for each in self.records]
        known = [*records, *(run.wiring for run in self.runs if run.wiring)]
        return max(known, key=lambda wiring: ("pass", "inconclusive", "fail").index(wiring.verdict))


class Gathered:
    """The records of a page in their order, and what they are about; models are called by one name everywhere."""

    def __init__(self, given: Sequence[Given]) -> None:
        """Take records by the names they were given by."""
        self.models = _models(given)
        self.given = _with_model_names(given, self.models)

    def of_kind(self, kind: type[R]) -> list[tuple[Given, R]]:
        """Return the records of one kind, each with its source."""
        return [(each, each.record) for each in self.given if isinstance(each.record, kind)]

    @cached_property
    def sweeps(self) -> list[Given]:
        """Tables of sweeps."""
        return [each for each, table in self.of_kind(TidyTable) if table.schema == SWEEP]

    @cached_property
    def scored(self) -> list[Scored]:
        """Every evaluation, with its model."""
        return [(model, run) for model in self.models for run in model.scored]

    @cached_property
    def wirings(self) -> list[CheckedWiring]:
        """The wiring of every model that was checked, those that did not pass first."""
        found = [CheckedWiring(name, records, runs) for name, records, runs in _wirings(self)]
        return sorted(found, key=lambda each: each.worst.verdict == "pass")

    @cached_property
    def unchecked(self) -> tuple[str, ...]:
        """Names of the models that have a valid evaluation, and whose wiring no record knows."""
        checked = {each.name for each in self.wirings}
        runs = ((model.name, run) for model, run in self.scored if run.valid and run.unchecked)
        return tuple(dict.fromkeys(name for name, _ in runs if name not in checked))

    @cached_property
    def side_by_side(self) -> list[list[Scored]]:
        """Groups of a few evaluations that compare, of more than one."""
        return [runs for runs in alike(self.scored) if 1 < len(runs) <= _SIDE_BY_SIDE]

    @cached_property
    def rankings(self) -> tuple[Given, ...]:
        """Every comparison of runs that was given; without one and without a gate, one of all runs that compare."""
        found = [each for each, _ in self.of_kind(Ranking)]
        for number, runs in enumerate([] if found or self.of_kind(Gate) else self.side_by_side):
            named = [NamedRecord(name=model.name, record=run) for model, run in runs]
            found.append(Given(name=f"compared/{number}", record=compare(named, blocks=0)))
        return tuple(found)


def alike(evaluations: Iterable[Scored]) -> list[list[Scored]]:
    """Group evaluations that compare: those of the same text and with the same signature."""
    groups: dict[tuple[str, str], list[Scored]] = {}
    for model, run in evaluations:
        groups.setdefault((run.text.sha256, run.signature), []).append((model, run))
    return list(groups.values())


def tokens_of(run: Run) -> str:
    """Return what the model predicts: characters, words or another kind of token."""
    return _NOUNS.get(fields_of(run.signature).get("tok", "").partition("+")[0].partition("-")[0], "tokens")


def pictures(*given: Given, chapter: str | None = None) -> tuple[Picture, ...]:
    """Return a block for each figure of records of one model, of one chapter or of all.

    If two records can give the same figure, the first does.
    """
    found: dict[str, Picture] = {}
    for each in given:
        for figure in each.figures:
            if chapter in (None, figure.chapter):
                first, dot, more = figure.reading.partition(". ")
                words = {"title": figure.title, "alt": figure.alt, "reading": first + dot.strip(), "more": more}
                found.setdefault(figure.name, Picture(key=each.key(figure), **words))
    return tuple(found.values())


def mapped(value: Any, change: Callable[[str], str]) -> Any:
    """Return a record or a document with every text changed, but for keys of pictures and texts of rules."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, tuple):
        return tuple(mapped(each, change) for each in value)
    if isinstance(value, msgspec.Struct):
        names = [name for name in value.__struct_fields__ if name not in ("key", "about")]
        return changed(value, **{name: mapped(getattr(value, name), change) for name in names})
    return value


# Models


def _models(given: Sequence[Given]) -> tuple[ReportedModel, ...]:
    """Group records and tables by the identity of their checkpoint, in the order in which they were given.

    A table without a hash, such as the history of a training, belongs to the model whose record has the same name.
    """
    groups: dict[str, list[Given]] = {}
    for each in given:
        if sha := each.checkpoint:
            groups.setdefault(sha, []).append(each)
    names = _names(list(groups.values()))
    models = [ReportedModel(name=name, given=tuple(group)) for name, group in zip(names, groups.values(), strict=True)]
    for each in given:
        if isinstance(each.record, TidyTable) and not each.checkpoint and each.record.schema != SWEEP:
            owners = [place for place, model in enumerate(models) if model.has_label(each.label)]
            for place in owners if len(owners) == 1 else ():
                models[place] = replace(models[place], given=(*models[place].given, each))
    return tuple(models)


def _names(groups: Sequence[Sequence[Given]]) -> list[str]:
    """Name each model by its file; of equal names, with the place of its first record."""
    paths = []
    for group in groups:
        records = (each.record for each in group if isinstance(each.record, Run | Gradients | Opened))
        paths.append(next((record.title for record in records), group[0].label))
    names = model_names(paths)
    places = model_names([group[0].name for group in groups])
    return told_apart(names, places)


def _with_model_names(given: Sequence[Given], models: Sequence[ReportedModel]) -> list[Given]:
    """Rename the models in gates and comparisons, which call them by the files of their records."""
    owners: dict[str, set[str]] = {}
    for model in models:
        for each in model.given:
            aliases = [each.name, each.label, *([each.record.title] if isinstance(each.record, Run) else [])]
            for alias in (*aliases, *map(file_name, aliases)):
                owners.setdefault(alias, set()).add(model.name)
    names = {alias: owner for alias, (owner, *others) in owners.items() if not others}
    judged = [each for gate in given if isinstance(gate.record, Gate) for each in gate.record.comparisons]
    sides = dict.fromkeys(side for each in judged for side in (each.baseline, each.candidate))
    files = [side for side in sides if side not in ("limit", *owners) and ", " not in side]
    names |= dict(zip(files, model_names(files), strict=True))
    return [
        replace(each, record=mapped(each.record, lambda text: names.get(text, text)))
        if isinstance(each.record, Gate | Ranking)
        else each
        for each in given
    ]


# Wiring


def _wirings(gathered: Gathered) -> Iterator[tuple[str, Sequence[Given], Sequence[Run]]]:
    """Yield the records and the runs of every model whose wiring was checked, by its name."""
    records: dict[str, list[Given]] = {}
    for each, wiring in gathered.of_kind(Wiring):
        owner = _owner(each, wiring, gathered.models)
        nameless = "the checked model" if each.label == "wiring" else each.label
        records.setdefault(owner.name if owner else nameless, []).append(each)
    runs = {model.name: [run for run in model.runs if run.wiring is not None] for model in gathered.models}
    for name in dict.fromkeys((*records, *(name for name, wired in runs.items() if wired))):
        yield name, records.get(name, []), runs.get(name, [])


def _owner(each: Given, wiring: Wiring, models: Sequence[ReportedModel]) -> ReportedModel | None:
    """Return the model that a wiring record is about, which has no hash: the one of its name, or else of its layers.

    A model whose own check had another verdict is another one.
    """
    layers = {(layer.name, layer.kind) for layer in wiring.layers}
    agree = [model for model in models if all(run.wiring.verdict == wiring.verdict for run in model.runs if run.wiring)]
    by_name = [model for model in agree if model.layers in (set(), layers) and model.has_label(each.label)]
    by_layers = [model for model in agree if model.layers == layers]
    return next((found[0] for found in (by_name, by_layers) if len(found) == 1), None)
