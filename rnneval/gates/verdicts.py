"""The gate: baseline × candidate → pass, fail, inconclusive or not comparable, with the reason."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from msgspec.structs import replace

from rnneval.errors import UsageError
from rnneval.gates.clusters import Clusters, TooLittleTextError
from rnneval.gates.explanation import (
    beside_counting,
    of_single_runs,
    reason_of,
    scope,
    warnings_of_few_runs,
    warnings_of_losses,
    warnings_of_runs,
)
from rnneval.gates.limits import (
    ABSENT,
    Allowance,
    Limit,
    Lookup,
    TrainingHistory,
    allowances,
    look_up,
    parse_limit,
    similar,
)
from rnneval.gates.noninferiority import LEVEL, Tested, Values, allowed_by, assess, holm_levels, values_of
from rnneval.gates.sides import NamedRecord, Paired, Sides, named, not_comparable, on_common_blocks, pair, side
from rnneval.gates.unfit import problem, unfit
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
    run: Run | Sequence[Run],
    *,
    baseline: Run | Sequence[Run] | None = None,
    allow: Mapping[str, str | float] | None = None,
    require: Sequence[str] = (),
    better_than_counting: bool = False,
) -> Gate:
    """Judge a run (or several runs of one recipe) against a baseline, and against limits.

    Args:
        run: The candidate; several are runs of one recipe.
        baseline: The run or runs that it is compared with; may be left out if `require` is given.
        allow: The most that a metric may get worse, by its name: `{"perplexity": "+1%"}` where nothing is given.
        require: Limits on any figure of the candidate's record, such as `"states.gru.h.saturated<=0.2"`.
        better_than_counting: Whether each run must be better than the best n-gram of its record, beyond doubt.

    Raises:
        UsageError: nothing to judge, or an allowance or limit that cannot be read.
        RecordError: a record that does not add up.
    """
    candidates, baselines = named(run, "candidate"), named(baseline, "baseline")
    return judge(candidates, baselines, allow=allow, require=require, better_than_counting=better_than_counting)


def judge(
    candidates: Sequence[NamedRecord],
    baselines: Sequence[NamedRecord] = (),
    *,
    allow: Mapping[str, str | float] | None = None,
    require: Sequence[str] = (),
    better_than_counting: bool = False,
) -> Gate:
    """Judge named records; candidates that are not runs are used by `require` alone."""
    limits = [parse_limit(text) for text in require]
    if not baselines and (allow is not None or not (limits or better_than_counting)):
        raise UsageError(
            "nothing to judge: give a baseline (--baseline BASE.json), a limit (--require 'metric<=value') or "
            "--better-than-counting"
        )
    if not candidates:
        raise UsageError("nothing to judge: no record was given")
    for each in (*candidates, *baselines):
        if isinstance(each.record, Run):
            require_consistent(each.name, each.record)
    results: list[MetricResult] = []
    warnings = [*warnings_of_runs((*candidates, *baselines))]
    if baselines:
        ours, theirs = on_common_blocks([side(baselines, "baseline"), side(candidates, "candidate")])
        sides = Sides(baseline=ours, candidate=theirs)
        results = [compare_on(allowance, sides) for allowance in allowances(allow)]
        of_results = (warnings_of_losses(each.paired, each.tested) for each in results if each.paired is not None)
        warnings += [*warnings_of_few_runs(sides), *dict.fromkeys(chain.from_iterable(of_results))]
    limited = chain.from_iterable(_limited(limit, candidates) for limit in limits)
    counted = _against_counting(candidates) if better_than_counting else ()
    alone = () if baselines else _by_itself(candidates)
    comparisons = (*alone, *map(of_single_runs, _after_holm(results)), *counted, *limited)
    verdict = next(each for each in GRAVEST if any(comparison.verdict == each for comparison in comparisons))
    decisive = next(comparison for comparison in comparisons if comparison.verdict == verdict)
    about = scope(decisive)
    return Gate(
        verdict=verdict,
        reason=f"{decisive.metric}: {decisive.reason}{about and f' ({about})'}",
        comparisons=comparisons,
        counting=tuple(beside_counting(candidates)) or None,
        warnings=tuple(warnings),
    )


def _by_itself(candidates: Sequence[NamedRecord]) -> Iterator[Comparison]:
    """Fail each run that decides nothing; without baselines, candidates need not be runs of one recipe."""
    for each in candidates:
        if isinstance(each.record, Run) and (found := unfit(each.record)):
            yield Comparison(
                metric="valid",
                baseline="limit",
                candidate=each.name,
                unit="as recorded",
                verdict="fail",
                reason=f"{each.name} {found}",
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
        blocks = replace(run.blocks, sums={"nats": best.nats})
        counted = replace(run, blocks=blocks, total_nats=sum(best.nats), valid=True, wiring=None, scores={})
        baseline = side([NamedRecord(name=best.name, record=counted)], "baseline")
        sides = Sides(baseline=baseline, candidate=side([each], "candidate"))
        for found in _after_holm([compare_on(nothing_allowed, sides)]):
            yield replace(found, reason=f"against {best.name}: {found.reason}")


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
        if test is None or result.paired is None:
            yield result.comparison
            continue
        level = levels[result.measured.name]
        verdict: Verdict = "pass" if test.passes else "fail" if test.p_worse <= level else "inconclusive"
        reason = reason_of(result.measured, test, result.paired, level)
        yield replace(result.comparison, verdict=verdict, level=level, reason=reason)


def _limited(limit: Limit, records: Sequence[NamedRecord]) -> Iterator[Comparison]:
    """Compare every record that should have the figure with the limit; if none has it, all of them fail.

    Only records of one kind have the same figures.

    Raises:
        UsageError: no record has it, and all are training histories, whose figures are never absent.
    """
    seen = [(each, look_up(each.record, limit.figure)) for each in records]
    having = [each for each, found in seen if found.value is not ABSENT]
    if not having and all(found.unknown for _, found in seen):
        raise UsageError(f"--require {limit.text!r}: {seen[0][0].name}: {seen[0][1].unknown}")
    kinds = {getattr(each.record, "schema", type(each.record)) for each in having}
    of_histories = any(isinstance(each.record, TrainingHistory) for each in having)
    for each, found in seen:
        of_kind = getattr(each.record, "schema", type(each.record)) in kinds
        if not having or of_kind or (found.undecided and of_histories):
            yield _limit_comparison(limit, each, found)


def _limit_comparison(limit: Limit, each: NamedRecord, found: Lookup) -> Comparison:
    value, holds = found.value, limit.holds(found.value)
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if found.undecided:
        reason = found.undecided
    elif value is not ABSENT:
        note = f" ({found.note})" if found.note else ""
        reason = f"{limit.figure} is {value}{note}, {'as' if holds else 'not as'} required: {limit.text}"
    else:
        reason = f"{limit.figure} is absent from {each.name}: what is absent satisfies no limit"
        if found.unknown:
            reason += f"; {found.unknown}"
        elif not isinstance(each.record, TrainingHistory) and (close := similar(each.record, limit.figure)):
            reason += f"; did you mean {close}?"
    return Comparison(
        metric=limit.text,
        baseline="limit",
        candidate=each.name,
        candidate_value=number if math.isfinite(number) else None,
        unit="as recorded",
        allowed=limit.value if isinstance(limit.value, float) else None,
        verdict="inconclusive" if found.undecided else "pass" if holds else "fail",
        reason=reason,
        method="limit",
        about="this record",
    )


def compare_on(allowance: Allowance, sides: Sides) -> MetricResult:
    """Compare both sides by one metric.

    A candidate that decides nothing fails by itself, and is compared without a test if its losses are numbers.
    """
    measured = allowance.measured
    failed, refused = problem(sides.candidate), problem(sides.baseline)
    difference = not_comparable(measured.name, sides)
    found = Comparison(
        metric=measured.name,
        baseline=sides.baseline.name,
        candidate=sides.candidate.name,
        unit=measured.difference_unit,
        verdict="fail" if failed else "not comparable",
        reason=failed or (f"baseline: {refused}" if refused else str(difference)),
        method="none",
        about=sides.about,
    )
    scored = all(run.valid for run in (*sides.baseline.runs, *sides.candidate.runs))
    if (refused and not failed) or difference or not scored:
        return MetricResult(comparison=found, measured=measured)
    if (paired := pair(sides)) is None:
        reason = failed or "blocks.scored_bytes: no text was scored by both"
        return MetricResult(comparison=replace(found, reason=reason), measured=measured)
    found = replace(found, blocks=paired.units.size)
    try:
        values = values_of(measured, paired)
        if failed:
            return MetricResult(comparison=_with(found, allowance, values), measured=measured, paired=paired)
        return _tested(_with(found, allowance, values), allowance, sides, paired)
    except UnavailableError as why:
        reason = f"scores.{measured.name}: cannot be compared: {why}"
        if len({frozenset(run.blocks.sums) for run in (*sides.baseline.runs, *sides.candidate.runs)}) > 1:
            reason += (
                "; a slim baseline has the sums of loss and accuracy alone: commit a copy of the run record instead"
            )
        return MetricResult(comparison=replace(found, reason=failed or reason), measured=measured, paired=paired)


def _with(comparison: Comparison, allowance: Allowance, values: Values) -> Comparison:
    """Add the values of both sides, and their difference; a value that is larger than any float is left out."""
    baseline, candidate = (float(side.mean()) for side in values)
    shown = [allowance.measured.back(value) for value in (baseline, candidate)]
    numbers = [*shown, candidate - baseline, allowed_by(allowance, values)]
    names = ("baseline_value", "candidate_value", "difference", "allowed")
    return replace(comparison, **{name: n for name, n in zip(names, numbers, strict=True) if math.isfinite(n)})


def _tested(untested: Comparison, allowance: Allowance, sides: Sides, paired: Paired) -> MetricResult:
    measured = allowance.measured
    try:
        test = assess(allowance, paired)
    except TooLittleTextError as reason:
        found = replace(untested, verdict="inconclusive", reason=str(reason))
        return MetricResult(comparison=found, measured=measured, paired=paired)
    clusters = test.clusters
    numbers = ("low", "high", "se", "mdd", "p_worse", "p_within")
    found = replace(
        untested,
        verdict="inconclusive",
        difference=test.value,
        allowed=test.allowed,
        **{name: getattr(test, name) for name in numbers},
        method="equal in every block",
        level=LEVEL,
        claim=clusters.claim if clusters else "this passage",
    )
    if test.se and clusters:
        found = replace(found, method=_method(sides, clusters), df=test.df, clusters=clusters.count)
    return MetricResult(comparison=found, measured=measured, tested=test, paired=paired)


def _method(sides: Sides, clusters: Clusters) -> str:
    if not sides.several:
        return clusters.method
    counts = [len(sides.baseline.runs), len(sides.candidate.runs)]
    lent = " (the spread of the single run is taken from the other side)" if min(counts) == 1 else ""
    return f"{clusters.method}, and {counts[0]} + {counts[1]} runs{lent}"
