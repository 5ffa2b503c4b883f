"""The ranking of runs: the best by a metric, the distance of the others, and the blocks that make the difference."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rnneval.errors import UsageError
from rnneval.gates.clusters import TooLittleTextError, clusters_of, columns_of, statistic_of
from rnneval.gates.comparable import ACROSS_TOKENS, Difference, fields_of, not_comparable, not_valid, pair_sides
from rnneval.gates.counting import beside_counting
from rnneval.gates.explanation import warnings_of_runs
from rnneval.gates.limits import Allowance, allowances
from rnneval.gates.noninferiority import LEVEL, assess, assess_same, loss_differences, same_model, values_of
from rnneval.gates.sides import Named, Paired, Side, Sides, is_lossy, named
from rnneval.gates.slim import on_common_blocks
from rnneval.metrics import Metric, UnavailableError
from rnneval.records import Run
from rnneval.records._base import Shown, Value
from rnneval.records.consistency import require_consistent
from rnneval.records.gate import Counting
from rnneval.records.summary import quoted, usual_metric

if TYPE_CHECKING:
    import pandas as pd


class BlockChange(Value, frozen=True, kw_only=True):
    """One block whose loss changed."""

    start: int
    """Beginning of the block, in bytes of the final text."""
    end: int
    document: int
    nats: float
    """Candidate − baseline, summed over the block: below 0 where the candidate gains."""
    units: float
    """Tokens in the block; scored bytes where the tokens differ."""
    text: str | None = None
    """The text of the block, if the text was given."""


class Row(Value, frozen=True, kw_only=True):
    """One run."""

    name: str
    value: float | None = None
    """The metric, as recorded."""
    difference: float | None = None
    """Difference to the best run, paired over the text that both scored: nats per token, or in the metric's unit."""
    low: float | None = None
    """Two-sided interval of the difference.

    All intervals of a ranking hold together with 95 %: the best run is chosen by the same text, so each pair of runs
    is tested at 5 % divided by the number of pairs (Bonferroni).
    """
    high: float | None = None
    method: str | None = None
    claim: str | None = None
    parameters: int | None = None
    """Absent for imported losses."""
    tokens_per_second: float | None = None
    """Absent for imported losses."""
    usual: float | None = None
    """The score that is usual for the runs' kind of token; absent if there is none."""
    marks: tuple[str, ...]
    """Problems of the run: not valid, wiring, not comparable, too little text."""


class Ranking(Shown, frozen=True, kw_only=True, tag_field="schema", tag="rnneval.compare/1"):
    """Runs sorted by a metric, best first; those that do not compare with the best come last."""

    metric: str
    unit: str
    """Unit of the differences."""
    rows: tuple[Row, ...]
    about: str
    baseline: str
    """The first valid run given."""
    candidate: str
    """The last valid run given."""
    usual: str = ""
    """The metric that papers report for the runs' kind of token; "" if there is no custom, or the kinds differ."""
    blocks: tuple[BlockChange, ...]
    """Blocks in which the candidate's loss differs most from the baseline's, largest change first."""
    counting: tuple[Counting, ...] | None = None
    """The runs beside their n-grams, in the order given."""
    warnings: tuple[str, ...]

    def to_frame(self) -> "pd.DataFrame":
        """Return the runs as a pandas DataFrame, best first.

        Columns: `run`, `metric` (its name), `value`, `difference` (to the best, in `unit`), `low`, `high`, `unit`,
        `method`, `claim`, `parameters`, `tokens_per_second` and `marks` (problems, with semicolons between them).
        """
        import pandas as pd

        rows = [
            {
                "run": row.name, "metric": self.metric, "value": row.value, "difference": row.difference,
                "low": row.low, "high": row.high, "unit": self.unit, "method": row.method, "claim": row.claim,
                "parameters": row.parameters, "tokens_per_second": row.tokens_per_second,
                "marks": "; ".join(row.marks),
            }
            for row in self.rows
        ]  # fmt: skip
        return pd.DataFrame(rows)

    def _in_one_line(self) -> str:
        """Return the number of runs and the best one with its value."""
        best = self.rows[0]
        value = "no value" if best.value is None else f"{best.value:.5g}"
        return f"of {len(self.rows)} runs by {self.metric}: best is {quoted([best.name])} with {value}"


@dataclass(frozen=True, kw_only=True)
class _Entrant:
    """A run of the ranking."""

    side: Side
    """The side of this run alone."""
    scaled: float = math.nan
    """The metric on its scale of comparison, on which the runs are sorted; NaN for a run with a problem."""
    problem: str | None = None
    """Reason why the run does not compare with the rest."""


def compare(runs: Sequence[Run], *, metric: str | None = None, blocks: int = 20, text: str | None = None) -> Ranking:
    """Rank runs by a metric, with paired differences to the best.

    Args:
        runs: Two or more.
        metric: Its name; by default perplexity, or bits_per_char where the tokens differ.
        blocks: How many of the blocks with the largest change to name, between the first valid run and the last.
        text: The final text that was scored, to show those blocks in.

    Raises:
        UsageError: fewer than two runs, an unknown metric, or another text.
        RecordError: a record that does not add up.
    """
    return rank(named(runs, "run"), metric=metric, blocks=blocks, text=text)


def rank(records: Sequence[Named], *, metric: str | None = None, blocks: int = 20, text: str | None = None) -> Ranking:
    """Rank named runs; see `compare`."""
    runs = [(each.name, each.record) for each in records if isinstance(each.record, Run)]
    sides = [Side(name=name, names=(name,), runs=(run,)) for name, run in runs]
    if len(sides) < 2 or len(sides) < len(records):
        raise UsageError(
            f"{len(sides)} run records of {len(records)} given: compare takes two or more of them, and no others"
        )
    for side in sides:
        require_consistent(side.name, side.runs[0])
    sides = list(on_common_blocks(sides))
    allowance = allowances({metric or default_metric([side.runs[0] for side in sides]): "0%"})[0]
    entrants = _entrants(sides, allowance)
    best = entrants[0] if entrants[0].problem is None else None
    sound = sum(entrant.problem is None for entrant in entrants)
    pairs = sound * (sound - 1) // 2
    valid = [side for side in sides if side.runs[0].valid]
    shown = valid if len(valid) > 1 else sides
    ends = Sides(baseline=shown[0], candidate=shown[-1])
    customs = {usual_metric(run.signature) for _, run in runs}
    usual = customs.pop() if len(customs) == 1 else ""
    return Ranking(
        metric=allowance.measured.name,
        unit=allowance.measured.difference_unit,
        rows=tuple(_row(entrant, best, allowance, pairs, usual) for entrant in entrants),
        about=ends.about,
        baseline=ends.baseline.name,
        candidate=ends.candidate.name,
        usual=usual,
        blocks=_changes(ends, allowance, blocks, text),
        counting=tuple(beside_counting(records)) or None,
        warnings=tuple(warnings_of_runs(records)),
    )


def default_metric(runs: Sequence[Run]) -> str:
    """Return perplexity, or bits per character if the runs have not all the same tokens."""
    tokens = {fields_of(run.signature).get("tok") for run in runs}
    return "perplexity" if len(tokens) == 1 else "bits_per_char"


def _entrants(sides: Sequence[Side], allowance: Allowance) -> list[_Entrant]:
    """Sort by the metric, best first; runs that do not compare with the largest group that does come last."""
    metric, worse = allowance.measured.name, allowance.measured.worse

    def difference(side: Side, other: Side) -> Difference | None:
        return not_comparable(metric, Sides(baseline=side, candidate=other))

    entrants = [_entrant(side, allowance.measured) for side in sides]
    fit = [each.side for each in entrants if each.problem is None]
    group = max(fit, key=lambda side: sum(difference(side, other) is None for other in fit), default=None)
    for i, each in enumerate(entrants):
        if (
            each.problem is None
            and group is not None
            and each.side is not group
            and (found := difference(group, each.side))
        ):
            entrants[i] = _Entrant(side=each.side, problem=f"not comparable: {found.field}: {found.reason}")
    return sorted(entrants, key=lambda each: (each.problem is not None, 0.0 if each.problem else worse * each.scaled))


def _entrant(side: Side, metric: Metric) -> _Entrant:
    """Return a run with its metric on the scale of comparison, or why it has no place in any ranking by it."""
    run = side.runs[0]
    if run.total_nats is None:
        return _Entrant(side=side, problem="not finite: a loss is not a number")
    if invalid := not_valid(Sides(baseline=side, candidate=side)):
        return _Entrant(side=side, problem=f"not valid: {invalid.reason}")
    names = tuple(sorted(run.blocks.sums))
    columns = columns_of(run.blocks, names).sum(axis=1, keepdims=True)
    try:
        return _Entrant(side=side, scaled=float(statistic_of(metric, names, lossless=not is_lossy(run))(columns)[0]))
    except UnavailableError as reason:
        return _Entrant(side=side, problem=f"no {metric.name}: {reason}")


def _row(entrant: _Entrant, best: _Entrant | None, allowance: Allowance, pairs: int, usual: str) -> Row:
    run = entrant.side.runs[0]
    scores = {name: score.value for name, score in run.scores.items()} if run.valid else {}  # a leak has no score
    against = _against(entrant, best, allowance, pairs) if best and entrant.problem is None else _Against()
    fails = run.valid and run.wiring and run.wiring.verdict == "fail"  # else the problem says it already
    wiring = f"wiring fails: {run.wiring.reason}" if fails and run.wiring else None
    return Row(
        name=entrant.side.name,
        value=scores.get(allowance.measured.name),
        usual=scores.get(usual),
        difference=against.difference,
        low=against.low,
        high=against.high,
        method=against.method,
        claim=against.claim,
        parameters=run.checkpoint.parameters if run.checkpoint else None,
        tokens_per_second=run.timing.tokens_per_second if run.timing else None,
        marks=tuple(mark for mark in (entrant.problem, wiring, against.mark) if mark),
    )


@dataclass(frozen=True, kw_only=True)
class _Against:
    """A run against the best: the difference, or why there is no interval of it."""

    difference: float | None = None
    low: float | None = None
    high: float | None = None
    method: str | None = None
    claim: str | None = None
    mark: str | None = None


def _against(entrant: _Entrant, best: _Entrant, allowance: Allowance, pairs: int) -> _Against:
    if entrant is best:
        return _Against(difference=0.0)
    paired = pair_sides(Sides(baseline=best.side, candidate=entrant.side))
    if paired is None:
        return _Against(mark="no text was scored by both")
    try:
        if same_model(paired):
            same = assess_same(allowance, paired).value
            return _Against(difference=same, low=same, high=same, method="equal in every block")
        difference = values_of(allowance.measured, paired).difference
        clusters = clusters_of(paired.document, paired.units, paired.block_bytes)
    except UnavailableError as reason:
        return _Against(mark=f"not comparable: {reason}")
    except TooLittleTextError as reason:
        return _Against(difference=difference, mark=str(reason))
    tested = assess(allowance, paired, clusters)
    return _Against(
        difference=tested.value,
        low=tested.bound(LEVEL / 2 / pairs),
        high=tested.bound(1 - LEVEL / 2 / pairs),
        method=clusters.method
        if pairs == 1
        else f"{clusters.method}, 95 % for all {pairs} pairs together (Bonferroni)",
        claim=clusters.claim,
    )


def _changes(ends: Sides, allowance: Allowance, count: int, text: str | None) -> tuple[BlockChange, ...]:
    """Return the blocks with the largest change; none if the two do not compare."""
    found = None if text is None else scored_text(text, ends.candidate.runs[0])
    metric = allowance.measured.name if allowance.measured.name in ACROSS_TOKENS else "bits_per_char"
    finite = all(side.runs[0].total_nats is not None for side in (ends.baseline, ends.candidate))
    same_tokens = not_comparable("perplexity", ends) is None
    if not finite or not (same_tokens or not_comparable(metric, ends) is None):
        return ()
    paired = pair_sides(ends)
    return () if paired is None else changes(paired, count, found)


def changes(paired: Paired, count: int, text: bytes | None) -> tuple[BlockChange, ...]:
    """Return the blocks whose loss changed most, largest change first; blocks that did not change are left out."""
    differences, units = loss_differences(paired)
    order = np.argsort(-np.abs(differences), kind="stable")[:count]
    return tuple(
        BlockChange(
            start=int(paired.start[i]),
            end=int(paired.end[i]),
            document=int(paired.document[i]),
            nats=float(differences[i]),
            units=float(units[i]),
            # Blocks end between characters by construction; the handler is for texts whose cuts come from elsewhere.
            text=None if text is None else text[paired.start[i] : paired.end[i]].decode(errors="replace"),
        )
        for i in order
        if differences[i] != 0
    )


def scored_text(text: str, run: Run) -> bytes:
    """Return the text as the bytes that block bounds count in.

    Raises:
        UsageError: it is not the text that the run scored.
    """
    found = text.encode()
    if hashlib.sha256(found).hexdigest() != run.text.sha256:
        raise UsageError(
            f"the text given has {len(found)} bytes and another hash than the one that was scored "
            f"({run.text.bytes} bytes, {run.text.sha256[:8]}…): give the same files, in the same order"
        )
    return found
