"""Sources of a page: records under the names they were given by, the models they are about, and their figures."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
_NAMING = ("baseline", "candidate", "run", "name")  # fields of gates and rankings that hold names of records
_NOUNS = {"char": "characters", "byte": "bytes", "word": "words"}


@dataclass(frozen=True, kw_only=True, eq=False)
class PageRecord:
    """One record or table, and its name on the command line."""

    name: str
    record: Any  # A record, or a `TidyTable`

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
        """Its name without folder and endings: `model-1.5` of `runs/model-1.5.run.json`."""
        return re.sub(r"(?<=.)(\.[a-z]+)+$", "", PurePath(self.name).name) or self.name

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


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportedModel:
    """One model, and every record of it; a wiring record that no other record knows the model of is one, too."""

    name: str
    records: list[PageRecord]

    def has_label(self, label: str) -> bool:
        """Return whether the model or one of its records is called so; a wiring record may be of another one."""
        return label in (self.name, *(each.label for each in self.records if not isinstance(each.record, Wiring)))

    @property
    def layers(self) -> set[tuple[str, str]]:
        """Names and kinds of its layers, where a record knows them."""
        checkpoints = (getattr(each.record, "checkpoint", None) for each in self.records)
        return {(layer.name, layer.kind) for found in checkpoints if found is not None for layer in found.layers}

    @property
    def runs(self) -> list[Run]:
        """Every evaluation of it."""
        return [each.record for each in self.records if isinstance(each.record, Run)]

    @property
    def scored(self) -> list[Run]:
        """One run for each text and signature, the fullest: a trace repeats the numbers of an evaluation."""
        groups = alike((self, run) for run in self.runs)
        return [max((run for _, run in runs), key=lambda r: (len(r.scores), r.wiring is not None)) for runs in groups]

    @property
    def worst(self) -> Wiring | WiringSummary | None:
        """The check with the worst verdict, a record before a summary, which holds less; None without a check."""
        records: list[Wiring | WiringSummary] = [e.record for e in self.records if isinstance(e.record, Wiring)]
        known = [*records, *(run.wiring for run in self.runs if run.wiring)]
        verdicts = ("pass", "inconclusive", "fail")
        return max(known, key=lambda wiring: verdicts.index(wiring.verdict), default=None)


Scored = tuple[ReportedModel, Run]  # one evaluation, and the model that it is of


class Gathered:
    """The records of a page in their order, and what they are about; models are called by one name everywhere."""

    def __init__(self, records: Sequence[PageRecord]) -> None:
        """Take records by the names they were given by."""
        self.models = _models(records)
        self.records = _with_model_names(records, self.models)
        self.scored = [(model, run) for model in self.models for run in model.scored]
        """Every evaluation, with its model."""
        known = {model.name: model for model in self.models}
        for each, wiring in self.of_kind(Wiring):
            name = "the checked model" if each.label == "wiring" else each.label
            owner = _owner(each, wiring, self.models) or known.setdefault(name, ReportedModel(name=name, records=[]))
            owner.records.append(each)
        self.names = [*known]
        """Names of all models, also of those of which there is a check alone."""
        checked = ((model, worst) for model in known.values() if (worst := model.worst))
        self.wirings = sorted(checked, key=lambda pair: pair[1].verdict == "pass")
        """Every model whose wiring was checked, with its worst check; those that did not pass first."""
        unchecked = (model.name for model, run in self.scored if run.valid and run.unchecked and not model.worst)
        self.unchecked = tuple(dict.fromkeys(unchecked))
        """Names of the models that have a valid evaluation, and whose wiring no record knows."""

    def of_kind(self, kind: type[R]) -> list[tuple[PageRecord, R]]:
        """Return the records of one kind, each with its source."""
        return [(each, each.record) for each in self.records if isinstance(each.record, kind)]

    @cached_property
    def sweeps(self) -> list[PageRecord]:
        """Tables of sweeps."""
        return [each for each, table in self.of_kind(TidyTable) if table.schema == SWEEP]

    @cached_property
    def rankings(self) -> list[Ranking]:
        """Every comparison of runs that was given; without one and without a gate, one of all runs that compare."""
        found = [ranking for _, ranking in self.of_kind(Ranking)]
        if found or self.of_kind(Gate):
            return found
        named = ([NamedRecord(name=model.name, record=run) for model, run in runs] for runs in alike(self.scored))
        return [compare(runs, blocks=0) for runs in named if 1 < len(runs) <= _SIDE_BY_SIDE]


def alike(evaluations: Iterable[Scored]) -> list[list[Scored]]:
    """Group evaluations that compare: those of the same text and with the same signature."""
    groups: dict[tuple[str, str], list[Scored]] = {}
    for model, run in evaluations:
        groups.setdefault((run.text.sha256, run.signature), []).append((model, run))
    return list(groups.values())


def tokens_of(run: Run) -> str:
    """Return what the model predicts: characters, words or another kind of token."""
    return _NOUNS.get(fields_of(run.signature).get("tok", "").partition("+")[0].partition("-")[0], "tokens")


def pictures(records: Iterable[PageRecord], chapter: str | None = None) -> list[Picture]:
    """Return a block for each figure of records, of one chapter or of all; of equal figures of a model, the first."""
    pictures_by_name: dict[str, Picture] = {}
    for each in records:
        for figure in each.figures:
            if chapter in (None, figure.chapter):
                first, dot, more = figure.reading.partition(". ")
                words = {"title": figure.title, "alt": figure.alt, "reading": first + dot.strip(), "more": more}
                pictures_by_name.setdefault(figure.name, Picture(key=each.key(figure), **words))
    return list(pictures_by_name.values())


def mapped(value: Any, change: Callable[[str], str], *, only: Collection[str] = (), field: str = "") -> Any:
    """Return a record or a document with its texts changed: those of the fields `only`, or of all.

    Keys of pictures and texts of rules stay as they are.
    """
    if isinstance(value, str):
        return change(value) if not only or field in only else value
    if isinstance(value, tuple):
        return tuple(mapped(each, change, only=only, field=field) for each in value)
    if isinstance(value, msgspec.Struct):
        names = [name for name in value.__struct_fields__ if name not in ("key", "about")]
        return changed(value, **{name: mapped(getattr(value, name), change, only=only, field=name) for name in names})
    return value


# Models


def _models(records: Sequence[PageRecord]) -> list[ReportedModel]:
    """Group records and tables by the identity of their checkpoint, in the order in which they were given.

    A table without a hash, such as the history of a training, belongs to the model whose record has the same name.
    """
    groups: dict[str, list[PageRecord]] = {}
    for each in records:
        if sha := each.checkpoint:
            groups.setdefault(sha, []).append(each)
    titles = [
        next((e.record.title for e in group if isinstance(e.record, Run | Gradients | Opened)), group[0].label)
        for group in groups.values()
    ]
    places = model_names([group[0].name for group in groups.values()])
    names = told_apart(model_names(titles), places)
    models = [ReportedModel(name=name, records=group) for name, group in zip(names, groups.values(), strict=True)]
    for each in records:
        if isinstance(each.record, TidyTable) and not each.checkpoint and each.record.schema != SWEEP:
            owners = [model for model in models if model.has_label(each.label)]
            if len(owners) == 1:
                owners[0].records.append(each)
    return models


def _owner(each: PageRecord, wiring: Wiring, models: Sequence[ReportedModel]) -> ReportedModel | None:
    """Return the model that a wiring record is about, which has no hash: the one of its name, or else of its layers.

    A model whose own check had another verdict is another one.
    """
    layers = {(layer.name, layer.kind) for layer in wiring.layers}
    agree = [model for model in models if all(run.wiring.verdict == wiring.verdict for run in model.runs if run.wiring)]
    by_name = [model for model in agree if model.layers in (set(), layers) and model.has_label(each.label)]
    by_layers = [model for model in agree if model.layers == layers]
    return next((found[0] for found in (by_name, by_layers) if len(found) == 1), None)


def _with_model_names(records: Sequence[PageRecord], models: Sequence[ReportedModel]) -> list[PageRecord]:
    """Rename the models in gates and comparisons, which call them by the files of their records."""
    owners: dict[str, set[str]] = {}
    for model in models:
        for each in model.records:
            aliases = [each.name, each.label, *([each.record.title] if isinstance(each.record, Run) else [])]
            for alias in (*aliases, *map(file_name, aliases)):
                owners.setdefault(alias, set()).add(model.name)
    names = {alias: owner for alias, (owner, *others) in owners.items() if not others}
    judged = [each for gate in records if isinstance(gate.record, Gate) for each in gate.record.comparisons]
    sides = dict.fromkeys(side for each in judged for side in (each.baseline, each.candidate))
    files = [side for side in sides if side not in ("limit", *owners) and ", " not in side]
    names |= dict(zip(files, model_names(files), strict=True))
    return [
        replace(each, record=mapped(each.record, lambda text: names.get(text, text), only=_NAMING))
        if isinstance(each.record, Gate | Ranking)
        else each
        for each in records
    ]
