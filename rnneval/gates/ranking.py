"""The ranking of runs: the best by a metric, the distance of the others, and the blocks that make the difference."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from rnneval.errors import UsageError
from rnneval.gates.clusters import TooLittleTextError, columns_of, statistic_of
from rnneval.gates.explanation import beside_counting, warnings_of_cut, warnings_of_runs
from rnneval.gates.limits import Allowance, allowances, require_metric
from rnneval.gates.noninferiority import LEVEL, assess, loss_differences, values_of
from rnneval.gates.sides import (
    ACROSS_TOKENS,
    RecordOrPath,
    Side,
    Sides,
    fields_of,
    is_lossy,
    named,
    not_comparable,
    pair,
    side,
    unfit,
)
from rnneval.metrics import Metric, UnavailableError
from rnneval.records.encoding import require_consistent
from rnneval.records.gate import BlockChange, RankedRun, Ranking
from rnneval.text import Paths, scored_text, text_given


class _Standing(NamedTuple):
    """A run before it is ranked."""

    side: Side
    problem: str  # why it has no place in the ranking; "" in the largest group of runs that compare with each other
    value: float  # by which it is sorted: less is better


def compare(
    runs: Sequence[RecordOrPath],
    *,
    metric: str | None = None,
    blocks: int = 20,
    text: Paths | None = None,
    string: str | None = None,
) -> Ranking:
    """Rank runs by a metric, with paired differences to the best.

    Args:
        runs: Two or more run records, or their paths.
        metric: Its name; by default perplexity, or bits_per_char where the tokens differ.
        blocks: How many of the blocks with the largest change to name, between the first valid run and the last.
        text: The files that were scored, to show those blocks in.
        string: Their text, in place of files.

    Returns:
        The ranking: `rows`, best first, `best`, the `blocks`, and `to_frame()`.

    Raises:
        UsageError: fewer than two runs, an unknown metric, or another text.
        RecordError: a record that does not add up.
    """
    records = named(runs, "run")
    sides = [side([each], "run") for each in records]
    if len(sides) < 2:
        raise UsageError(f"{'one' if sides else 'no'} run record was given: compare takes two or more of them")
    for each in sides:
        require_consistent(each.name, each.runs[0])
    if not metric:
        tokens = {fields_of(each.runs[0].signature).get("tok") for each in sides}
        metric = "perplexity" if len(tokens) == 1 else "bits_per_char"
    require_metric(metric, "--metric")
    (allowance,) = allowances({metric: "0%"})
    standings = sorted(_standings(sides, allowance.measured), key=lambda each: (bool(each.problem), each.value))
    rows = [_row(each, metric) for each in standings]
    if sound := [each.side for each in standings if not each.problem]:
        rows[0] = replace(rows[0], difference=0.0)
    warnings = [*warnings_of_runs(records)]
    for row, other in enumerate(sound[1:], 1):
        pairs = len(sound) * (len(sound) - 1) // 2
        both = Sides(baseline=sound[0], candidate=other)
        rows[row] = _against(rows[row], both, allowance, pairs)
        warnings += warnings_of_cut(both)
    fit = [each for each in sides if not unfit(each.runs[0])] or sides
    *_, last = [each for each in (fit if len(fit) > 1 else sides) if each is not fit[0]]
    ends, shown = Sides(baseline=fit[0], candidate=last), None
    if text is not None or string is not None:
        scored = last.runs[0].text
        shown = scored_text(text_given(text, string), scored.sha256, scored.part).encode()
    return Ranking(
        metric=metric,
        unit=allowance.measured.difference_unit,
        rows=tuple(rows),
        about=ends.about,
        baseline=ends.baseline.name,
        candidate=ends.candidate.name,
        blocks=_changes(ends, metric, blocks, shown),
        counting=tuple(beside_counting(records)) or None,
        warnings=tuple(warnings),
    )


def _standings(sides: Sequence[Side], metric: Metric) -> list[_Standing]:
    """Return the value of each run, or why it has no place in the ranking."""
    standings = []
    for each in sides:
        run, value = each.runs[0], 0.0
        problem = unfit(run).removeprefix("is ")
        try:
            names = tuple(sorted(run.blocks.sums))
            total = columns_of(run.blocks, names).sum(axis=1, keepdims=True)
            value = 0.0 if problem else float(statistic_of(metric, names, lossless=not is_lossy(run))(total)[0])
        except UnavailableError as reason:
            problem = f"no {metric.name}: {reason}"
        standings.append(_Standing(each, problem, metric.worse * value))
    fit = [each.side for each in standings if not each.problem]
    group = max(fit, key=lambda one: sum(not _unlike(metric, one, other) for other in fit), default=None)
    for i, (each, problem, _) in enumerate(standings):
        if group is not None and not problem and each is not group and (why := _unlike(metric, group, each)):
            standings[i] = _Standing(each, f"not comparable: {why}", 0.0)
    return standings


def _unlike(metric: Metric, one: Side, other: Side) -> str:
    return not_comparable(metric.name, Sides(baseline=one, candidate=other))


def _row(standing: _Standing, metric: str) -> RankedRun:
    run = standing.side.runs[0]
    score = None if unfit(run) else run.scores.get(metric)  # a leak has no score
    return RankedRun(
        name=standing.side.name,
        value=None if score is None else score.value,
        parameters=(run.checkpoint.parameters or None) if run.checkpoint else None,
        tokens_per_second=run.timing.tokens_per_second if run.timing else None,
        marks=(standing.problem,) if standing.problem else (),
    )


def _against(row: RankedRun, sides: Sides, allowance: Allowance, pairs: int) -> RankedRun:
    """Return the row of the candidate with its difference to the best, or with why there is no interval of it."""
    paired = pair(sides)
    if paired is None:
        return replace(row, marks=("no text was scored by both",))
    try:
        tested = assess(allowance, paired)
    except UnavailableError as reason:
        return replace(row, marks=(f"not comparable: {reason}",))
    except TooLittleTextError as reason:
        ours, theirs = values_of(allowance.measured, paired)
        return replace(row, difference=float(theirs[0] - ours[0]), marks=(str(reason),))
    if not tested.se and not tested.value:
        return replace(row, difference=0.0, low=0.0, high=0.0, method="equal in every block")
    assert tested.clusters is not None  # noqa: S101 - the error comes from them
    together = "" if pairs == 1 else f", 95 % for all {pairs} pairs together (Bonferroni)"
    return replace(
        row,
        difference=tested.value,
        low=tested.bound(LEVEL / 2 / pairs),
        high=tested.bound(1 - LEVEL / 2 / pairs),
        method=f"{tested.clusters.method}{together}",
        claim=tested.clusters.claim,
    )


def _changes(ends: Sides, metric: str, count: int, text: bytes | None) -> tuple[BlockChange, ...]:
    """Return the blocks whose loss changed most, largest change first; none of runs that decide nothing."""
    across = metric if metric in ACROSS_TOKENS else "bits_per_char"
    compares = not all(not_comparable(by, ends) for by in ("perplexity", across))
    if any(map(unfit, ends.runs)) or not compares or not (paired := pair(ends)):
        return ()
    differences, units = loss_differences(paired)
    largest = np.argsort(-np.abs(differences), kind="stable")[:count]
    return tuple(
        BlockChange(
            start=int(paired.start[i]),
            end=int(paired.end[i]),
            document=int(paired.document[i]),
            nats=float(differences[i]),
            units=float(units[i]),
            text=None if text is None else text[paired.start[i] : paired.end[i]].decode(errors="replace"),
        )
        for i in largest
        if differences[i] != 0
    )
