"""Baseline and candidate: which runs stand on which side, and what to call them."""

from collections.abc import Sequence
from dataclasses import dataclass

from rnneval.errors import UsageError
from rnneval.records import Gate, Run, Wiring


@dataclass(frozen=True, kw_only=True)
class Named:
    """A record and what to call it: its path on the command line."""

    name: str
    record: Run | Wiring | Gate


@dataclass(frozen=True, kw_only=True)
class Side:
    """The runs of one side: one, or several trainings of one recipe."""

    name: str
    names: tuple[str, ...]
    runs: tuple[Run, ...]


@dataclass(frozen=True, kw_only=True)
class Sides:
    """What is compared."""

    baseline: Side
    candidate: Side

    @property
    def several(self) -> bool:
        """Whether any side has several runs, so that the spread between trainings is seen."""
        return len(self.baseline.runs) + len(self.candidate.runs) > 2

    @property
    def about(self) -> str:
        """What a verdict is about."""
        return "this recipe" if self.several else "these checkpoints"


def named(runs: Run | Sequence[Run] | None, role: str) -> tuple[Named, ...]:
    """Name runs that were handed over in Python by their checkpoints, numbered where that does not tell them apart."""
    if runs is None:
        return ()
    several = (runs,) if isinstance(runs, Run) else tuple(runs)
    numbered = len({run.checkpoint.path for run in several}) < len(several)
    return tuple(
        Named(name=f"{run.checkpoint.path or role}{f' ({i})' if numbered else ''}", record=run)
        for i, run in enumerate(several, 1)
    )


def side(records: Sequence[Named], role: str) -> Side:
    """Gather the runs of one side.

    Raises:
        UsageError: there is none, one checkpoint stands there twice, or the baseline holds another kind of record.
    """
    if role == "baseline" and (odd := next((each for each in records if not isinstance(each.record, Run)), None)):
        raise UsageError(f"{odd.name}: is no run record, so it cannot be a baseline: see rnneval evaluate --out")
    pairs = [(each.name, each.record) for each in records if isinstance(each.record, Run)]
    if not pairs:
        raise UsageError(f"no run record as {role}: a record of rnneval evaluate --out is needed")
    names, runs = tuple(name for name, _ in pairs), tuple(run for _, run in pairs)
    if len({run.checkpoint.sha256 for run in runs}) < len(runs):
        raise UsageError(f"the {role} has one checkpoint twice: several records are several trainings of one recipe")
    name = names[0] if len(names) == 1 else f"{len(names)} runs: {', '.join(names)}"
    return Side(name=name, names=names, runs=runs)
