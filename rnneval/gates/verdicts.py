"""The gate: baseline × candidate → pass, fail, inconclusive or not comparable, with the reason."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import msgspec

from rnneval.errors import UsageError
from rnneval.gates import figures, holm
from rnneval.gates.allowance import allowances
from rnneval.gates.cautions import cautions, of_runs, one_sided_runs
from rnneval.gates.comparing import Result, compare_on
from rnneval.gates.noninferiority import LEVEL
from rnneval.gates.sides import Named, Sides, named, side
from rnneval.gates.words import scope
from rnneval.records import Gate, Run
from rnneval.records.consistency import require_consistent
from rnneval.records.gate import Comparison, Verdict

_GRAVEST: tuple[Verdict, ...] = ("fail", "not comparable", "inconclusive", "pass")


def gate(
    run: Run | Sequence[Run],
    *,
    baseline: Run | Sequence[Run] | None = None,
    allow: Mapping[str, str | float] | None = None,
    require: Sequence[str] = (),
) -> Gate:
    """Judge a run (or several runs of one recipe) against a baseline, and against limits.

    Args:
        run: The candidate; several are runs of one recipe.
        baseline: What it is compared with; may be left out where `require` is given.
        allow: The most that a metric may get worse, by its name: `{"perplexity": "+1%"}` where nothing is given.
        require: Limits on any figure of the candidate's record, such as `"states.gru.h.saturated<=0.2"`.

    Raises:
        UsageError: nothing to judge, or an allowance or limit that cannot be read.
        RecordError: a record that does not add up.
    """
    return judge(named(run, "candidate"), named(baseline, "baseline"), allow=allow, require=require)


def judge(
    candidates: Sequence[Named],
    baselines: Sequence[Named] = (),
    *,
    allow: Mapping[str, str | float] | None = None,
    require: Sequence[str] = (),
) -> Gate:
    """Judge named records; those of the candidates that are not runs serve `require` alone.

    Raises:
        UsageError: nothing to judge, or an allowance or limit that cannot be read.
        RecordError: a record that does not add up.
    """
    limits = [figures.parse_limit(text) for text in require]
    if not baselines and (allow is not None or not limits):
        raise UsageError(
            "nothing to judge: give a baseline (--baseline BASE.json) or a limit (--require 'metric<=value')"
        )
    if not candidates:
        raise UsageError("nothing to judge: no record was given")
    for each in (*candidates, *baselines):
        if isinstance(each.record, Run):
            require_consistent(each.name, each.record)
    results: tuple[Result, ...] = ()
    warnings = tuple(of_runs((*candidates, *baselines)))
    if baselines:
        sides = Sides(baseline=side(baselines, "baseline"), candidate=side(candidates, "candidate"))
        results = tuple(compare_on(allowance, sides) for allowance in allowances(allow))
        warnings += tuple(one_sided_runs(sides)) + _of_results(results)
    limited = chain.from_iterable(_limited(limit, candidates) for limit in limits)
    return _overall((*_after_holm(results), *limited), warnings)


def _after_holm(results: Sequence[Result]) -> Iterator[Comparison]:
    """Turn results into verdicts: a pass needs no correction, a fail is tested at Holm's level."""
    tested = {result.comparison.metric: result.tested for result in results if result.tested is not None}
    claims = [
        holm.Claim(name=metric.name, hypothesis=metric.hypothesis or metric.name, p=result.tested.p_worse)
        for result in results
        if result.tested is not None
        for metric in (result.allowance.measured,)
    ]
    levels = holm.levels(claims, LEVEL)
    for result in results:
        comparison = result.comparison
        found = tested.get(comparison.metric)
        if found is None:
            yield comparison
            continue
        level = levels[comparison.metric]
        verdict: Verdict = "pass" if found.passes else "fail" if found.p_worse <= level else "inconclusive"
        yield msgspec.structs.replace(comparison, verdict=verdict, level=level, reason=result.reason(level))


def _limited(limit: figures.Limit, records: Sequence[Named]) -> Iterator[Comparison]:
    """Hold every record that should have the figure against the limit; where none has it, all of them fail."""
    seen = [(each, figures.figure(each.record, limit.figure)) for each in records]
    kinds = {type(each.record) for each, found in seen if not figures.is_absent(found)}
    for each, found in seen:
        if kinds and type(each.record) not in kinds:
            continue
        holds = limit.holds(found)
        yield Comparison(
            metric=limit.text,
            baseline="limit",
            candidate=each.name,
            candidate_value=float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None,
            unit="as recorded",
            allowed=limit.value if isinstance(limit.value, float) else None,
            verdict="pass" if holds else "fail",
            reason=_limit_reason(limit, each, found, holds=holds),
            method="limit",
            about="this record",
        )


def _limit_reason(limit: figures.Limit, each: Named, found: object, *, holds: bool) -> str:
    if not figures.is_absent(found):
        return f"{limit.figure} is {found}, {'as' if holds else 'not as'} required: {limit.text}"
    close = figures.similar(each.record, limit.figure)
    meant = f"; did you mean {close}?" if close else ""
    return f"{limit.figure} is absent from {each.name}: what is absent satisfies no limit{meant}"


def _of_results(results: Sequence[Result]) -> tuple[str, ...]:
    found = (cautions(result.paired, result.clusters) for result in results if result.paired is not None)
    return tuple(dict.fromkeys(chain.from_iterable(found)))


def _overall(comparisons: tuple[Comparison, ...], warnings: tuple[str, ...]) -> Gate:
    verdict = next(each for each in _GRAVEST if any(comparison.verdict == each for comparison in comparisons))
    decisive = next(comparison for comparison in comparisons if comparison.verdict == verdict)
    about = f" ({scope(decisive.about, decisive.claim)})" if decisive.claim else ""
    reason = f"{decisive.metric}: {decisive.reason}{about}"
    return Gate(verdict=verdict, reason=reason, comparisons=comparisons, warnings=warnings)
