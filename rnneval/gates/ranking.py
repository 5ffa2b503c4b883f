"""The ranking of runs: the best by a metric, the distance of the others, and the blocks that make the difference."""

import hashlib
from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from rnneval.errors import UsageError
from rnneval.gates.clusters import TooLittleTextError, columns_of, statistic_of
from rnneval.gates.explanation import beside_counting, warnings_of_runs
from rnneval.gates.limits import Allowance, allowances, require_metric
from rnneval.gates.noninferiority import LEVEL, assess, loss_differences, values_of
from rnneval.gates.sides import (
    ACROSS_TOKENS,
    Difference,
    Given,
    Side,
    Sides,
    fields_of,
    is_lossy,
    named,
    not_comparable,
    pair,
    unfit,
)
from rnneval.metrics import Metric, UnavailableError
from rnneval.records import Run
from rnneval.records.encoding import require_consistent
from rnneval.records.gate import BlockChange, RankedRun, Ranking
from rnneval.text import Paths, scored_text


def compare(
    runs: Sequence[Given],
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
        string: The text that was scored, in place of files.

    Returns:
        The ranking: `rows`, best first, `best`, the `blocks`, and `to_frame()`.

    Raises:
        UsageError: fewer than two runs, an unknown metric, or another text.
        RecordError: a record that does not add up.
    """
    records = named(runs, "run")
    found = [(each.name, each.record) for each in records if isinstance(each.record, Run)]
    if text is not None and string is None and found:
        scored = found[-1][1].text
        string = scored_text(text, scored.sha256, scored.part)
    sides = [Side(name=name, names=(name,), runs=(run,)) for name, run in found]
    if len(sides) < 2 or len(sides) < len(records):
        raise UsageError(
            f"{len(sides)} run records of {len(records)} given: compare takes two or more of them, and no others"
        )
    for side in sides:
        require_consistent(side.name, side.runs[0])
    if not metric:
        tokens = {fields_of(side.runs[0].signature).get("tok") for side in sides}
        metric = "perplexity" if len(tokens) == 1 else "bits_per_char"
    require_metric(metric, "--metric")
    (allowance,) = allowances({metric: "0%"})
    measured = allowance.measured
    standings = _standings(sides, measured)
    order = sorted(range(len(sides)), key=lambda i: (bool(standings[i][0]), standings[i][1]))
    rows = [_row(sides[i], standings[i][0], metric) for i in order]
    if sound := [sides[i] for i in order if not standings[i][0]]:
        rows[0] = replace(rows[0], difference=0.0)
    for row, side in enumerate(sound[1:], 1):
        pairs = len(sound) * (len(sound) - 1) // 2
        rows[row] = _against(rows[row], Sides(baseline=sound[0], candidate=side), allowance, pairs)
    counting = [side for side in sides if not unfit(side.runs[0])] or sides
    first = counting[0]
    others = [side for side in (counting if len(counting) > 1 else sides) if side is not first]
    ends = Sides(baseline=first, candidate=others[-1])
    return Ranking(
        metric=metric,
        unit=measured.difference_unit,
        rows=tuple(rows),
        about=ends.about,
        baseline=ends.baseline.name,
        candidate=ends.candidate.name,
        blocks=_changes(ends, metric, blocks, string),
        counting=tuple(beside_counting(records)) or None,
        warnings=tuple(warnings_of_runs(records)),
    )


def _standings(sides: Sequence[Side], metric: Metric) -> list[tuple[str, float]]:
    """Return of each run why it has no place in the ranking, and its value with the sign by which less is better.

    The reason is "" for the largest group of runs that compare with each other.
    """

    def difference(side: Side, other: Side) -> Difference | None:
        return not_comparable(metric.name, Sides(baseline=side, candidate=other))

    found = []
    for side in sides:
        run, value = side.runs[0], 0.0
        problem = unfit(run).removeprefix("is ")
        try:
            names = tuple(sorted(run.blocks.sums))
            total = columns_of(run.blocks, names).sum(axis=1, keepdims=True)
            value = 0.0 if problem else float(statistic_of(metric, names, lossless=not is_lossy(run))(total)[0])
        except UnavailableError as reason:
            problem = f"no {metric.name}: {reason}"
        found.append((problem, metric.worse * value))
    fit = [side for side, (problem, _) in zip(sides, found, strict=True) if not problem]
    group = max(fit, key=lambda side: sum(difference(side, other) is None for other in fit), default=None)
    for i, side in enumerate(sides):
        if group is not None and not found[i][0] and side is not group and (unlike := difference(group, side)):
            found[i] = f"not comparable: {unlike}", 0.0
    return found


def _row(side: Side, problem: str, metric: str) -> RankedRun:
    run = side.runs[0]
    score = None if unfit(run) else run.scores.get(metric)  # a leak has no score
    return RankedRun(
        name=side.name,
        value=None if score is None else score.value,
        parameters=(run.checkpoint.parameters or None) if run.checkpoint else None,
        tokens_per_second=run.timing.tokens_per_second if run.timing else None,
        marks=(problem,) if problem else (),
    )


def _against(row: RankedRun, sides: Sides, allowance: Allowance, pairs: int) -> RankedRun:
    """Return the row of the candidate with its difference to the best, or with why there is no interval of it."""
    paired = pair(sides)
    if paired is None:
        return replace(row, marks=(*row.marks, "no text was scored by both"))
    try:
        found = assess(allowance, paired)
    except UnavailableError as reason:
        return replace(row, marks=(*row.marks, f"not comparable: {reason}"))
    except TooLittleTextError as reason:
        ours, theirs = values_of(allowance.measured, paired)
        return replace(row, difference=float(theirs[0] - ours[0]), marks=(*row.marks, str(reason)))
    if not found.se and not found.value:
        return replace(row, difference=0.0, low=0.0, high=0.0, method="equal in every block")
    assert found.clusters is not None  # noqa: S101 - the error comes from them
    together = "" if pairs == 1 else f", 95 % for all {pairs} pairs together (Bonferroni)"
    return replace(
        row,
        difference=found.value,
        low=found.bound(LEVEL / 2 / pairs),
        high=found.bound(1 - LEVEL / 2 / pairs),
        method=f"{found.clusters.method}{together}",
        claim=found.clusters.claim,
    )


def _changes(ends: Sides, metric: str, count: int, text: str | None) -> tuple[BlockChange, ...]:
    """Return the blocks whose loss changed most, largest change first; none of runs that decide nothing."""
    run, scored = ends.candidate.runs[0], None if text is None else text.encode()
    if scored is not None and hashlib.sha256(scored).hexdigest() != run.text.sha256:
        raise UsageError(
            f"the text given has {len(scored)} bytes and another hash than the one that was scored "
            f"({run.text.bytes} bytes, {run.text.sha256[:8]}…): give the same files, in the same order"
        )
    across = metric if metric in ACROSS_TOKENS else "bits_per_char"
    compares = not all(not_comparable(by, ends) for by in ("perplexity", across))
    if any(map(unfit, ends.runs)) or not compares or not (paired := pair(ends)):
        return ()
    differences, units = loss_differences(paired)
    return tuple(
        BlockChange(
            start=int(paired.start[i]),
            end=int(paired.end[i]),
            document=int(paired.document[i]),
            nats=float(differences[i]),
            units=float(units[i]),
            text=None if scored is None else scored[paired.start[i] : paired.end[i]].decode(errors="replace"),
        )
        for i in np.argsort(-np.abs(differences), kind="stable")[:count]
        if differences[i] != 0
    )
