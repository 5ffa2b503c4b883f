"""One metric of two sides: comparable, finite, valid, enough text, and then the test."""

import math
from dataclasses import dataclass
from itertools import chain

from rnneval.gates.allowance import Allowance
from rnneval.gates.bootstrap import ratio_error
from rnneval.gates.clusters import Clusters, TooLittleTextError, clusters_of
from rnneval.gates.comparable import Difference, difference_between, invalid
from rnneval.gates.noninferiority import (
    LEVEL,
    Tested,
    Values,
    assess,
    assess_same,
    loss_differences,
    same_model,
    values_of,
)
from rnneval.gates.pairing import Paired, is_lossy, pair
from rnneval.gates.sides import Sides
from rnneval.gates.words import reason_of
from rnneval.metrics import Metric, UnavailableError
from rnneval.records.gate import Comparison, Verdict

ACROSS_TOKENS = ("bits_per_char", "bits_per_byte")
"""Metrics that compare models of other tokens on the same text."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One comparison, and what it was made of: the verdict on it waits for the other metrics (Holm)."""

    comparison: Comparison
    allowance: Allowance
    tested: Tested | None = None
    paired: Paired | None = None
    clusters: Clusters | None = None

    def reason(self, level: float) -> str:
        """Say why, a fail being tested at this level."""
        if self.tested is None or self.paired is None:
            return self.comparison.reason
        return reason_of(self.allowance.measured, self.tested, self.paired, self.clusters, level)


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
        name = f"scores.{allowance.measured.name}"
        return _without_test(allowance, sides, "not comparable", f"{name}: cannot be compared: {reason}", paired)


def not_comparable(metric: str, sides: Sides) -> Difference | None:
    """Give the first reason why these sides cannot be compared by this metric; None where they can."""
    baselines, candidates = sides.baseline.runs, sides.candidate.runs
    across = metric in ACROSS_TOKENS
    found = chain(
        (difference_between(baselines[0], run) for run in baselines[1:]),
        (difference_between(candidates[0], run) for run in candidates[1:]),
        (difference_between(baselines[0], candidates[0], across_tokens=across),),
    )
    for difference in filter(None, found):
        if difference.tokens_only and not across:
            hint = "bits of the same text compare: --allow bits_per_char=+0.01"
            return Difference(field=difference.field, reason=f"{difference.reason}; {hint}", tokens_only=True)
        return difference
    if any(run.total_nats is None for run in baselines):
        return Difference(field="total_nats", reason="a loss of the baseline is not finite")
    if across and (lossy := [run for run in (*baselines, *candidates) if run.total_nats is not None and is_lossy(run)]):
        return Difference(
            field=f"scores.{metric}",
            reason=f"absent in {lossy[0].checkpoint.path or 'a run'}: its tokens do not give the text back (lossy)",
        )
    return None


def not_valid(sides: Sides) -> Difference | None:
    """Say so where a run on either side is marked not valid."""
    for side in (sides.baseline, sides.candidate):
        for name, run in zip(side.names, side.runs, strict=True):
            if difference := invalid(name, run):
                return difference
    return None


def pair_sides(sides: Sides) -> Paired | None:
    """Pair two sides that are comparable; None where nothing was scored by both."""
    baselines, candidates = sides.baseline.runs, sides.candidate.runs
    same_tokens = difference_between(baselines[0], candidates[0]) is None
    return pair(baselines, candidates, same_tokens=same_tokens)


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
        se_bootstrap=_cross_check(measured, paired, clusters) if tested.se else None,
        mdd=tested.mdd,
        p_worse=tested.p_worse,
        p_within=tested.p_within,
        blocks=paired.units.size,
        clusters=clusters.count if clusters and tested.se else None,
        level=LEVEL,
        about=sides.about,
        claim=clusters.claim if clusters else "this passage",
    )


def _cross_check(measured: Metric, paired: Paired, clusters: Clusters | None) -> float | None:
    """Give the bootstrap's error where blocks have an order and the metric is a mean loss."""
    if clusters is None or clusters.kind == "documents" or measured.name not in ("perplexity", "cross_entropy"):
        return None
    return ratio_error(loss_differences(paired))


def _without_test(
    allowance: Allowance, sides: Sides, verdict: Verdict, reason: str, paired: Paired | None = None
) -> Result:
    """A verdict without an interval; the values themselves are shown where they can be had."""
    measured = allowance.measured
    values = None
    if paired is not None and verdict == "inconclusive":
        values = values_of(measured, paired)
    means = _means(values, allowance) if values else (None, None)
    comparison = Comparison(
        metric=measured.name,
        baseline=sides.baseline.name,
        candidate=sides.candidate.name,
        baseline_value=means[0],
        candidate_value=means[1],
        unit=measured.difference_unit,
        difference=values.difference if values else None,
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
