"""The gate: baseline × candidate → pass, fail, inconclusive or not comparable, with the reason."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from msgspec.structs import replace as changed

from rnneval.errors import UsageError
from rnneval.gates.clusters import TooLittleTextError
from rnneval.gates.explanation import (
    beside_counting,
    of_runs,
    reason_of,
    scope,
    warnings_of_cut,
    warnings_of_few_runs,
    warnings_of_losses,
    warnings_of_runs,
)
from rnneval.gates.limits import ABSENT, Allowance, Limit, TrainingHistory, allowances, look_up, parse_limit, rounded
from rnneval.gates.noninferiority import LEVEL, Tested, allowed_by, assess, holm_levels, values_of
from rnneval.gates.sides import (
    NamedRecord,
    Paired,
    RecordOrPath,
    Sides,
    named,
    not_comparable,
    pair,
    problem,
    side,
    unfit,
)
from rnneval.metrics import Metric, UnavailableError
from rnneval.records import Gate, Run
from rnneval.records.encoding import require_consistent
from rnneval.records.gate import GRAVEST, Comparison, Verdict


@dataclass(frozen=True, kw_only=True)
class MetricResult:
    """One comparison and its parts; its verdict waits for the other metrics (Holm) if it was tested."""

    comparison: Comparison
    measured: Metric
    tested: Tested | None = None
    paired: Paired | None = None


def gate(
    run: RecordOrPath | Sequence[RecordOrPath],
    baseline: RecordOrPath | Sequence[RecordOrPath] | None = None,
    *,
    allow: Mapping[str, str | float] | None = None,
    require: str | Sequence[str] = (),
    better_than_counting: bool = False,
) -> Gate:
    """Judge a run (or several runs of one recipe) against a baseline, and against limits.

    Args:
        run: The candidate, a run record or the path of one; several are runs of one recipe.
        baseline: The run or runs that it is compared with, or their paths; may be left out if `require` is given.
        allow: The most that a metric may get worse, by its name: `{"perplexity": "+1%"}` where nothing is given.
        require: Limit, or several, on any figure of the candidate's record, such as `"states.gru.h.saturated<=0.2"`.
        better_than_counting: Whether each run must be better than the best n-gram of its record, beyond doubt.

    Returns:
        The gate record: its `verdict` is `pass`, `fail`, `inconclusive` or `not comparable`, its `reason` says why, and
        its `comparisons` have the numbers.

    Raises:
        UsageError: nothing to judge, or an allowance or limit that cannot be read.
        RecordError: a record that does not add up.
    """
    candidates, baselines = named(run, "candidate"), named(baseline, "baseline")
    limits = [parse_limit(text) for text in ([require] if isinstance(require, str) else require)]
    if not candidates or (not baselines and (allow is not None or not (limits or better_than_counting))):
        raise UsageError(
            "nothing to judge: give a record, and a baseline (--baseline BASE.json), a limit "
            "(--require 'metric<=value') or --better-than-counting"
        )
    for each in (*candidates, *baselines):
        if isinstance(each.record, Run):
            require_consistent(each.name, each.record)
    comparisons: list[Comparison] = []
    warnings = [*warnings_of_runs((*candidates, *baselines))]
    if baselines:
        sides = Sides(baseline=side(baselines, "baseline"), candidate=side(candidates, "candidate"))
        results = [compare_on(allowance, sides) for allowance in allowances(allow)]
        comparisons = [of_runs(comparison, sides) for comparison in _after_holm(results)]
        of_losses = (warnings_of_losses(each.paired, each.tested) for each in results if each.paired is not None)
        warnings += [
            *warnings_of_few_runs(sides),
            *warnings_of_cut(sides),
            *dict.fromkeys(chain.from_iterable(of_losses)),
        ]
    else:  # candidates need not be runs of one recipe
        comparisons = [
            _of_record("valid", one, verdict="fail", reason=f"{one.name} {problem_of_it}")
            for one in candidates
            if isinstance(one.record, Run) and (problem_of_it := unfit(one.record))
        ]
    if better_than_counting:
        comparisons += _against_counting(candidates)
    for limit in limits:
        comparisons += _limited(limit, candidates)
    verdict = next(each for each in GRAVEST if any(comparison.verdict == each for comparison in comparisons))
    decisive = next(comparison for comparison in comparisons if comparison.verdict == verdict)
    about = scope(decisive)
    improved = [comparison.improved for comparison in comparisons if comparison.baseline != "limit"]
    return Gate(
        verdict=verdict,
        improved=(verdict == "pass" and bool(improved) and all(improved)) or None,
        reason=f"{decisive.metric}: {decisive.reason}{about and f' ({about})'}",
        comparisons=tuple(comparisons),
        counting=tuple(beside_counting(candidates)) or None,
        warnings=tuple(warnings),
    )


def without_baseline(candidate: str, baseline: str, why: str) -> Gate:
    """Return the record of a comparison that could not be made, for what reads verdicts from files."""
    missing = Comparison(
        metric="perplexity",
        baseline=baseline,
        candidate=candidate,
        unit="nats a token",
        verdict="not comparable",
        reason=why,
        method="none",
        about="these checkpoints",
    )
    return Gate(verdict="not comparable", reason=why, comparisons=(missing,), warnings=())


def _of_record(metric: str, each: NamedRecord, *, verdict: Verdict, reason: str) -> Comparison:
    """Return a comparison with a limit, that is, with no other record."""
    return Comparison(
        metric=metric,
        baseline="limit",
        candidate=each.name,
        unit="as recorded",
        verdict=verdict,
        reason=reason,
        method="limit",
        about="this record",
    )


def _against_counting(candidates: Sequence[NamedRecord]) -> Iterator[Comparison]:
    """Test each run against the best n-gram of its record, as a run of its own, with nothing allowed."""
    runs = [(each, each.record) for each in candidates if isinstance(each.record, Run)]
    if not runs:
        raise UsageError("--better-than-counting: no record is a run of rnneval evaluate")
    (nothing_allowed,) = allowances({"perplexity": "+0%"})
    for each, run in runs:
        best = run.ngram
        if best is None:
            raise UsageError(
                f"{each.name}: has no n-grams to compare with: make it again with rnneval evaluate --fit-on TRAIN.txt"
            )
        blocks = changed(run.blocks, sums={"nats": best.nats})
        baseline_run = changed(run, blocks=blocks, total_nats=sum(best.nats), valid=True, wiring=None, scores={})
        baseline = side([NamedRecord(name=best.name, record=baseline_run)], "baseline")
        sides = Sides(baseline=baseline, candidate=side([each], "candidate"))
        for comparison in _after_holm([compare_on(nothing_allowed, sides)]):
            yield changed(comparison, reason=f"against {best.name}: {comparison.reason}")


def _after_holm(results: Sequence[MetricResult]) -> Iterator[Comparison]:
    """Turn results into verdicts: a pass needs no correction, a fail is tested at Holm's level."""
    claims = {
        each.measured.name: (each.measured.hypothesis or each.measured.name, each.tested.p_worse)
        for each in results
        if each.tested is not None
    }
    levels = holm_levels(claims, LEVEL)
    for result in results:
        test = result.tested
        comparison = result.comparison
        if test is not None and result.paired is not None:
            level = levels[result.measured.name]
            verdict: Verdict = "pass" if test.passes else "fail" if test.p_worse <= level else "inconclusive"
            reason = reason_of(result.measured, test, result.paired, level)
            changes = {"verdict": verdict, "improved": test.improves or None, "level": level, "reason": reason}
            comparison = changed(comparison, **changes)
        yield comparison


def _limited(limit: Limit, records: Sequence[NamedRecord]) -> Iterator[Comparison]:
    """Compare every record of the kinds that have the figure with the limit; if none has it, all of them fail."""
    lookups = [(each, look_up(each.record, limit.figure)) for each in records]
    if all(lookup.unknown for _, lookup in lookups):
        raise UsageError(f"--require {limit.text!r}: {lookups[0][0].name}: {lookups[0][1].note}")
    having = [each.record for each, lookup in lookups if lookup.value is not ABSENT]
    kinds = {getattr(record, "unit", type(record)) for record in having}
    of_histories = any(isinstance(record, TrainingHistory) for record in having)
    for each, lookup in lookups:
        of_kind = getattr(each.record, "unit", type(each.record)) in kinds
        if having and not of_kind and not (lookup.undecided and of_histories):
            continue
        value, holds, reason = lookup.value, limit.holds(lookup.value), lookup.note
        if value is not ABSENT:
            written = rounded(value, limit.value) if isinstance(value, float) else value
            number_and_note = f"{written} ({lookup.note})" if lookup.note else written
            reason = f"{limit.figure} is {number_and_note}, {'as' if holds else 'not as'} required: {limit.text}"
        elif not lookup.undecided:
            absent = f"{limit.figure} is absent from {each.name}: what is absent satisfies no limit"
            reason = "; ".join(filter(None, (absent, lookup.note)))
        verdict: Verdict = "inconclusive" if lookup.undecided else "pass" if holds else "fail"
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
        yield changed(
            _of_record(limit.text, each, verdict=verdict, reason=reason),
            candidate_value=number if math.isfinite(number) else None,
            allowed=limit.value if isinstance(limit.value, float) else None,
        )


def compare_on(allowance: Allowance, sides: Sides) -> MetricResult:
    """Compare both sides by one metric; a candidate that decides nothing fails by itself."""
    measured = allowance.measured
    failed, refused = problem(sides.candidate), problem(sides.baseline)
    difference = not_comparable(measured.name, sides)
    why = f"baseline: {refused}; " if refused else f"{difference}; if it was changed on purpose, "
    comparison = Comparison(
        metric=measured.name,
        baseline=sides.baseline.name,
        candidate=sides.candidate.name,
        unit=measured.difference_unit,
        verdict="fail" if failed else "not comparable",
        reason=failed or f"{why}make this run the baseline (gate --update)",
        method="none",
        about=sides.about,
    )
    if (refused and not failed) or difference or not all(run.valid for run in sides.runs):
        return MetricResult(comparison=comparison, measured=measured)
    if (paired := pair(sides)) is None:
        comparison = changed(comparison, reason=failed or "blocks.scored_bytes: no text was scored by both")
        return MetricResult(comparison=comparison, measured=measured)
    comparison, test = changed(comparison, blocks=paired.units.size), None
    try:
        comparison = changed(comparison, **_values(allowance, paired))
        if not failed:
            test = assess(allowance, paired)
            comparison = changed(comparison, **_numbers(test, sides))
    except UnavailableError as why_not:
        reason = f"scores.{measured.name}: cannot be compared: {why_not}"
        if len({frozenset(run.blocks.sums) for run in sides.runs}) > 1:
            reason += "; a baseline of --update has the sums of loss and accuracy alone: commit a copy of the record"
        comparison = changed(comparison, reason=failed or reason)
    except TooLittleTextError as why_not:
        comparison = changed(comparison, verdict="inconclusive", reason=str(why_not))
    return MetricResult(comparison=comparison, measured=measured, tested=test, paired=paired)


def _values(allowance: Allowance, paired: Paired) -> dict[str, float]:
    """Return the values of both sides, and their difference, without one that is larger than any float."""
    values = values_of(allowance.measured, paired)
    baseline, candidate = (float(side.mean()) for side in values)
    numbers = {
        "baseline_value": allowance.measured.back(baseline),
        "candidate_value": allowance.measured.back(candidate),
        "difference": candidate - baseline,
        "allowed": allowed_by(allowance, values),
    }
    return {name: number for name, number in numbers.items() if math.isfinite(number)}


def _numbers(test: Tested, sides: Sides) -> dict[str, Any]:
    """Return the numbers of a test, which may be inconclusive until all metrics are known."""
    clusters, method, more = test.clusters, "equal in every block", {}
    if test.se and clusters:
        method, more = clusters.method, {"df": test.df, "clusters": clusters.count}
        if sides.several:
            counts = [len(sides.baseline.runs), len(sides.candidate.runs)]
            borrowed = " (the spread of the single run is taken from the other side)" if min(counts) == 1 else ""
            method += f", and {counts[0]} + {counts[1]} runs{borrowed}"
    return {
        **{name: getattr(test, name) for name in ("allowed", "low", "high", "se", "mdd", "p_worse", "p_within")},
        **more,
        "verdict": "inconclusive",
        "difference": test.value,
        "method": method,
        "level": LEVEL,
        "claim": clusters.claim if clusters else "this passage",
    }
