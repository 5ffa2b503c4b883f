"""The gate: baseline × candidate → pass, fail, inconclusive or not comparable, with the reason."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import msgspec

from rnneval.errors import UsageError
from rnneval.gates.bootstrap import ratio_error
from rnneval.gates.clusters import Clusters, TooLittleTextError, clusters_of
from rnneval.gates.comparable import not_comparable, not_valid, pair_sides
from rnneval.gates.counting import as_run, beside_counting
from rnneval.gates.explanation import (
    reason_of,
    scope,
    warnings_of_losses,
    warnings_of_one_sided_runs,
    warnings_of_runs,
)
from rnneval.gates.histories import TrainingHistory
from rnneval.gates.limits import Allowance, Limit, Seen, allowances, is_absent, look_up, parse_limit, similar
from rnneval.gates.noninferiority import (
    LEVEL,
    Claim,
    Tested,
    Values,
    allowed_by,
    assess,
    assess_same,
    holm_levels,
    loss_differences,
    same_model,
    values_of,
)
from rnneval.gates.sides import Named, Paired, Sides, named, side
from rnneval.gates.slim import on_common_blocks
from rnneval.metrics import UnavailableError
from rnneval.records import Gate, Run
from rnneval.records.consistency import require_consistent
from rnneval.records.gate import GRAVEST, Comparison, Verdict


@dataclass(frozen=True, kw_only=True)
class Result:
    """One comparison and its parts; its verdict waits for the other metrics (Holm)."""

    comparison: Comparison
    allowance: Allowance
    tested: Tested | None = None
    paired: Paired | None = None
    clusters: Clusters | None = None

    def reason(self, level: float) -> str:
        """Return the reason of the verdict if a fail is tested at this level."""
        if self.tested is None or self.paired is None:
            return self.comparison.reason
        return reason_of(self.allowance.measured, self.tested, self.paired, self.clusters, level)


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
    candidates: Sequence[Named],
    baselines: Sequence[Named] = (),
    *,
    allow: Mapping[str, str | float] | None = None,
    require: Sequence[str] = (),
    better_than_counting: bool = False,
) -> Gate:
    """Judge named records; candidates that are not runs are used by `require` alone.

    Raises:
        UsageError: nothing to judge, or an allowance or limit that cannot be read.
        RecordError: a record that does not add up.
    """
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
    results: tuple[Result, ...] = ()
    warnings = tuple(warnings_of_runs((*candidates, *baselines)))
    if baselines:
        ours, theirs = on_common_blocks([side(baselines, "baseline"), side(candidates, "candidate")])
        sides = Sides(baseline=ours, candidate=theirs)
        results = tuple(compare_on(allowance, sides) for allowance in allowances(allow))
        of_results = (warnings_of_losses(each.paired, each.clusters) for each in results if each.paired is not None)
        warnings += (*warnings_of_one_sided_runs(sides), *dict.fromkeys(chain.from_iterable(of_results)))
    limited = chain.from_iterable(_limited(limit, candidates) for limit in limits)
    counted = _against_counting(candidates) if better_than_counting else ()
    verdict = _overall((*_after_holm(results), *counted, *limited), warnings)
    return msgspec.structs.replace(verdict, counting=tuple(beside_counting(candidates)) or None)


def _against_counting(candidates: Sequence[Named]) -> Iterator[Comparison]:
    """Test each run against the best n-gram of its record, with nothing allowed.

    Raises:
        UsageError: no record is a run, or a run has no n-grams.
    """
    runs = [(each, each.record) for each in candidates if isinstance(each.record, Run)]
    if not runs:
        raise UsageError("--better-than-counting: no record is a run of rnneval evaluate")
    (nothing_allowed,) = allowances({"perplexity": "+0%"})
    for each, run in runs:
        sides = Sides(baseline=side([as_run(each.name, run)], "baseline"), candidate=side([each], "candidate"))
        for found in _after_holm([compare_on(nothing_allowed, sides)]):
            yield msgspec.structs.replace(found, reason=f"against {sides.baseline.name}: {found.reason}")


def _after_holm(results: Sequence[Result]) -> Iterator[Comparison]:
    """Turn results into verdicts: a pass needs no correction, a fail is tested at Holm's level."""
    claims = [
        Claim(name=metric.name, hypothesis=metric.hypothesis or metric.name, p=result.tested.p_worse)
        for result in results
        if result.tested is not None
        for metric in (result.allowance.measured,)
    ]
    levels = holm_levels(claims, LEVEL)
    for result in results:
        comparison, found = result.comparison, result.tested
        if found is None:
            yield comparison
            continue
        level = levels[comparison.metric]
        verdict: Verdict = "pass" if found.passes else "fail" if found.p_worse <= level else "inconclusive"
        yield msgspec.structs.replace(comparison, verdict=verdict, level=level, reason=result.reason(level))


def _limited(limit: Limit, records: Sequence[Named]) -> Iterator[Comparison]:
    """Compare every record that should have the figure with the limit; if none has it, all of them fail.

    Raises:
        UsageError: no record has it, and none is a run, wiring or gate record, of which figures may be absent.
    """
    seen = [(each, look_up(each.record, limit.figure)) for each in records]
    kinds = {_kind(each) for each, found in seen if not is_absent(found.value)}
    if not kinds and all(found.unknown for _, found in seen):
        raise UsageError(f"--require {limit.text!r}: {seen[0][0].name}: {seen[0][1].unknown}")
    of_histories = any(isinstance(each.record, TrainingHistory) for each, found in seen if not is_absent(found.value))
    for each, found in seen:
        if kinds and _kind(each) not in kinds and not (found.undecided and of_histories):
            continue
        yield _limit_comparison(limit, each, found)


def _kind(each: Named) -> str:
    """Return the kind of a record: only records of one kind have the same figures."""
    return each.record.schema if isinstance(each.record, TrainingHistory) else type(each.record).__name__


def _limit_comparison(limit: Limit, each: Named, found: Seen) -> Comparison:
    value = found.value
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    holds = limit.holds(value)
    verdict: Verdict = "inconclusive" if found.undecided else "pass" if holds else "fail"
    return Comparison(
        metric=limit.text,
        baseline="limit",
        candidate=each.name,
        candidate_value=number if math.isfinite(number) else None,
        unit="as recorded",
        allowed=limit.value if isinstance(limit.value, float) else None,
        verdict=verdict,
        reason=found.undecided or _limit_reason(limit, each, found, holds=holds),
        method="limit",
        about="this record",
    )


def _limit_reason(limit: Limit, each: Named, found: Seen, *, holds: bool) -> str:
    if not is_absent(found.value):
        note = f" ({found.note})" if found.note else ""
        return f"{limit.figure} is {found.value}{note}, {'as' if holds else 'not as'} required: {limit.text}"
    close = None if isinstance(each.record, TrainingHistory) else similar(each.record, limit.figure)
    meant = f"; did you mean {close}?" if close else ""
    said = f"{limit.figure} is absent from {each.name}: what is absent satisfies no limit"
    return f"{said}; {found.unknown}" if found.unknown else f"{said}{meant}"


def _overall(comparisons: tuple[Comparison, ...], warnings: tuple[str, ...]) -> Gate:
    verdict = next(each for each in GRAVEST if any(comparison.verdict == each for comparison in comparisons))
    decisive = next(comparison for comparison in comparisons if comparison.verdict == verdict)
    about = f" ({scope(decisive.about, decisive.claim)})" if decisive.claim else ""
    reason = f"{decisive.metric}: {decisive.reason}{about}"
    return Gate(verdict=verdict, reason=reason, comparisons=comparisons, warnings=warnings)


def compare_on(allowance: Allowance, sides: Sides) -> Result:
    """Compare both sides by one metric."""
    if difference := not_comparable(allowance.measured.name, sides):
        return _without_test(allowance, sides, "not comparable", f"{difference.field}: {difference.reason}")
    if any(run.total_nats is None for run in sides.candidate.runs):
        return _without_test(allowance, sides, "fail", "total_nats: a loss of the candidate is not finite")
    if difference := not_valid(sides):
        return _without_test(allowance, sides, "not comparable", f"{difference.field}: {difference.reason}")
    paired = pair_sides(sides)
    if paired is None:
        return _without_test(allowance, sides, "not comparable", "blocks.scored_bytes: no text was scored by both")
    try:
        return _tested(allowance, sides, paired)
    except UnavailableError as reason:
        said = f"scores.{allowance.measured.name}: cannot be compared: {reason}"
        if len({frozenset(run.blocks.sums) for side in (sides.baseline, sides.candidate) for run in side.runs}) > 1:
            said += "; a slim baseline has the sums of loss and accuracy alone: commit a copy of the run record instead"
        return _without_test(allowance, sides, "not comparable", said, paired)


def _tested(allowance: Allowance, sides: Sides, paired: Paired) -> Result:
    clusters, too_little = None, ""
    try:
        clusters = clusters_of(paired.document, paired.units, paired.block_bytes)
    except TooLittleTextError as reason:
        too_little = str(reason)
    if same_model(paired):
        tested = assess_same(allowance, paired)
    elif clusters is not None:
        tested = assess(allowance, paired, clusters)
    else:
        return _without_test(allowance, sides, "inconclusive", too_little, paired)
    return Result(
        comparison=_comparison(allowance, sides, paired, clusters, tested),
        allowance=allowance,
        tested=tested,
        paired=paired,
        clusters=clusters,
    )


def _comparison(
    allowance: Allowance, sides: Sides, paired: Paired, clusters: Clusters | None, tested: Tested
) -> Comparison:
    measured = allowance.measured
    means = _means(values_of(measured, paired), allowance)
    in_order = clusters is not None and clusters.kind == "batches"  # blocks of one text, and not of many documents
    of_losses = measured.name in ("perplexity", "cross_entropy")
    return Comparison(
        metric=measured.name,
        baseline=sides.baseline.name,
        candidate=sides.candidate.name,
        baseline_value=means[0],
        candidate_value=means[1],
        unit=measured.difference_unit,
        difference=tested.value,
        low=tested.low,
        high=tested.high,
        allowed=tested.allowed,
        verdict="inconclusive",
        reason="",
        method=_method(sides, clusters) if tested.se else "equal in every block",
        df=tested.df if tested.se else None,
        se=tested.se,
        se_bootstrap=ratio_error(loss_differences(paired)) if tested.se and in_order and of_losses else None,
        mdd=tested.mdd,
        p_worse=tested.p_worse,
        p_within=tested.p_within,
        blocks=paired.units.size,
        clusters=clusters.count if clusters and tested.se else None,
        level=LEVEL,
        about=sides.about,
        claim=clusters.claim if clusters else "this passage",
    )


def _without_test(
    allowance: Allowance, sides: Sides, verdict: Verdict, reason: str, paired: Paired | None = None
) -> Result:
    """Return a verdict without an interval; the values are shown if the sides were paired."""
    measured = allowance.measured
    values = values_of(measured, paired) if paired is not None and verdict == "inconclusive" else None
    means = _means(values, allowance) if values else (None, None)
    comparison = Comparison(
        metric=measured.name,
        baseline=sides.baseline.name,
        candidate=sides.candidate.name,
        baseline_value=means[0],
        candidate_value=means[1],
        unit=measured.difference_unit,
        difference=values.difference if values else None,
        allowed=allowed_by(allowance, values) if values else None,
        verdict=verdict,
        reason=reason,
        method="none",
        blocks=paired.units.size if paired else None,
        about=sides.about,
    )
    return Result(comparison=comparison, allowance=allowance, paired=paired)


def _means(values: Values, allowance: Allowance) -> tuple[float | None, float | None]:
    """Return the metric of both sides, for display alone: None if it is larger than any float."""
    baseline, candidate = (
        allowance.measured.back(sum(side) / len(side)) for side in (values.baseline, values.candidate)
    )
    return baseline if math.isfinite(baseline) else None, candidate if math.isfinite(candidate) else None


def _method(sides: Sides, clusters: Clusters | None) -> str:
    text = clusters.method if clusters else "none"
    if not sides.several:
        return text
    counts = [len(sides.baseline.runs), len(sides.candidate.runs)]
    lent = " (the spread of the single run is taken from the other side)" if min(counts) == 1 else ""
    return f"{text}, and {counts[0]} + {counts[1]} runs{lent}"
