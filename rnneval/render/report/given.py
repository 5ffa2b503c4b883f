"""What a page is made from: records under the names they were given by, and which of them speak of the same model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeVar

from rnneval.gates.ranking import Ranking
from rnneval.records import Gate, Gradients, Opened, Run, Wiring
from rnneval.records.run import WiringSummary
from rnneval.sweeps.table import SCHEMA

if TYPE_CHECKING:
    from rnneval.render.figures import Figure

R = TypeVar("R")
_SIDE_BY_SIDE = 12


@dataclass(frozen=True, kw_only=True, eq=False)
class Given:
    """One record or table, and what it was called on the command line."""

    name: str
    record: Any
    """A record, a `rnneval.render.figures.Table`, a `rnneval.gates.ranking.Ranking`, or several runs (`together`)."""

    @cached_property
    def figures(self) -> "tuple[Figure, ...]":
        """What can be drawn of it."""
        from rnneval.render.figures import figures_of

        return tuple(figures_of(self.record))

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Of a table: its rows, what is missing as None."""
        frame = self.record.frame
        return list(frame.astype(object).where(frame.notna(), None).to_dict("records"))

    @property
    def label(self) -> str:
        """Its name without folder and ending."""
        return PurePath(self.name).name.partition(".")[0] or self.name


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One model, and every record that was made of it."""

    name: str
    given: tuple[Given, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """Every different evaluation of it."""
        return tuple(each.record for each in self.given if isinstance(each.record, Run))

    @property
    def scored(self) -> tuple[Run, ...]:
        """One run a text and signature: a trace repeats the numbers of an evaluation."""
        found: dict[tuple[str, str], Run] = {}
        for run in self.runs:
            key = (run.text.sha256, run.signature)
            if key not in found or _says(run) > _says(found[key]):
                found[key] = run
        return tuple(found.values())


def _says(run: Run) -> tuple[int, bool]:
    return len(run.scores), run.wiring is not None


def of_kind(given: Iterable[Given], kind: type[R]) -> list[tuple[Given, R]]:
    """Give the records of one kind, each with what it was called."""
    return [(each, each.record) for each in given if isinstance(each.record, kind)]


def wirings(given: Iterable[Given]) -> list[tuple[Given, Wiring]]:
    """Give what `rnneval check` wrote."""
    return of_kind(given, Wiring)


def is_told(summary: WiringSummary, given: Iterable[Given]) -> bool:
    """Whether a wiring record says the same as a run does of its model: then it, which says more, is enough."""
    told = [(wiring.verdict, wiring.reason, wiring.findings) for _, wiring in wirings(given)]
    return (summary.verdict, summary.reason, summary.findings) in told


def gates(given: Iterable[Given]) -> list[tuple[Given, Gate]]:
    """Give the verdicts."""
    return of_kind(given, Gate)


def rankings(given: Iterable[Given]) -> list[tuple[Given, Ranking]]:
    """Give what `rnneval compare` wrote."""
    return of_kind(given, Ranking)


def sweeps(given: Iterable[Given]) -> list[Given]:
    """Give the tables of sweeps."""
    return [each for each in given if getattr(each.record, "schema", None) == SCHEMA]


def subjects(given: Sequence[Given]) -> tuple[Subject, ...]:
    """Gather records and tables by the hash of their checkpoint, in the order in which they were given."""
    groups: dict[str, list[Given]] = {}
    for each in given:
        if sha := checkpoint_hash(each):
            groups.setdefault(sha, []).append(each)
    names = _names(list(groups.values()))
    return tuple(Subject(name=name, given=tuple(group)) for name, group in zip(names, groups.values(), strict=True))


def together(given: Sequence[Given]) -> tuple[Given, ...]:
    """Give runs of several models that compare as one: some figures show them side by side."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for model in subjects(given):
        for run in model.scored:
            groups.setdefault((run.text.sha256, run.signature), []).append(run)
    several = (runs for runs in groups.values() if 1 < len(runs) <= _SIDE_BY_SIDE)
    return tuple(Given(name=f"together/{number}", record=runs) for number, runs in enumerate(several))


def checkpoint_hash(given: Given) -> str | None:
    """Give the hash of the model that a record is of; a table has it among its metadata."""
    if isinstance(given.record, Run | Gradients | Opened):
        return given.record.checkpoint.sha256
    metadata: Mapping[str, str] = getattr(given.record, "metadata", {})
    return metadata.get("rnneval.checkpoint")


def _names(groups: Sequence[Sequence[Given]]) -> list[str]:
    """Call each model by its file's name; where two have the same, by its path; where that fails, by its record."""
    paths = [_path(group) for group in groups]
    short = [PurePath(path).name or path for path in paths]
    for names in (short, paths):
        if len(set(names)) == len(names):
            return names
    return [f"{path} ({group[0].name})" for path, group in zip(paths, groups, strict=True)]


def _path(group: Sequence[Given]) -> str:
    for each in group:
        if isinstance(each.record, Run | Gradients | Opened):
            return each.record.checkpoint.path or "model in memory"
    return group[0].label
