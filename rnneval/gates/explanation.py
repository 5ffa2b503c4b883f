"""Explanation of verdicts: amounts in a reader's unit, reasons in a sentence, n-grams beside runs, and warnings."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from msgspec.structs import replace

from rnneval.gates.clusters import DRIFTS, Columns, drifts
from rnneval.gates.noninferiority import LEVEL, Tested, loss_differences, same_model
from rnneval.gates.sides import NamedRecord, Paired, Side, Sides, unfit
from rnneval.metrics import Metric, by_name
from rnneval.metrics.baselines import standing
from rnneval.records import Run
from rnneval.records.gate import Comparison, Counting

_LARGEST_IN_PER_CENT = 20.0
"""Nats; a larger difference, of a model that diverged, is shown in nats: e to the power of it says nothing."""
DOMINATES = 0.5
"""Share of the squared deviations that makes blocks dominate; one block of 400 of a real text has below a tenth."""
SEEDS = 0.01  # difference that other seeds often make, in nats and roughly in the units of other metrics
NEAR = 5  # margins, or differences of `SEEDS`, beyond which other seeds do not explain a difference
APART = 3  # ranges of the other runs of a side that lie between them and a run that lies apart
RARE = 0.01  # share of the blocks that may dominate together; of normal deviations they have a twelfth


def amount(metric: str, unit: str, value: float) -> str:
    """Write a difference with its unit: `+1 %`, `−0.0123 share`."""
    return number(metric, value) if value == 0 or in_per_cent(metric) else f"{number(metric, value)} {unit}"


def number(metric: str, value: float) -> str:
    """Write a difference without its unit, except for per cent and for differences too large for it (`+905.9 nats`)."""
    if value == 0:
        return "0"
    if not in_per_cent(metric):
        return _signed(value)
    return f"{_signed(100 * math.expm1(value))} %" if in_per_cent(metric, value) else f"{value:+.4g} nats"


def in_unit(metric: str, value: float) -> float:
    """Return a difference in the unit in which `number` writes the allowances of its metric."""
    return 100 * math.expm1(min(value, _LARGEST_IN_PER_CENT)) if in_per_cent(metric) else value


def _signed(value: float) -> str:
    """Write three digits with a sign; a number that has fewer, such as an allowance, as it is.

    >>> _signed(1.0), _signed(-10.013), _signed(123.4), _signed(-0.0500003)
    ('+1', '−10.0', '+123', '−0.0500')
    """
    text = f"{value:+.3g}"
    if not math.isclose(float(text), value, rel_tol=1e-9):
        text = f"{value:+#.3g}".rstrip(".")
    return text.replace("-", "−", 1) if value < 0 else text


def in_per_cent(metric: str, value: float = 0.0) -> bool:
    """Return whether a difference of a metric is shown in per cent; false for a limit or an unknown metric."""
    known = by_name().get(metric)
    return known is not None and known.log is not None and value < _LARGEST_IN_PER_CENT


def reason_of(measured: Metric, tested: Tested, paired: Paired, level: float) -> str:
    """Return the reason of a verdict in one sentence."""
    allowed, value, low, high, mdd = (
        amount(measured.name, measured.difference_unit, each)
        for each in (tested.allowed, tested.value, tested.low, tested.high, tested.mdd)
    )
    if not tested.se and tested.value == 0:
        return f"no difference in any block beyond float rounding (1e-6 nats a token), margin {allowed}"
    if not tested.se:
        within = "within" if tested.passes else "worse than"
        return f"{within} the margin: {value} in every part of the text, margin {allowed}"
    bounds = f"{value}, one-sided 95 % bounds {low} and {high}, margin {allowed}"
    if tested.passes:
        return f"{'better, and ' if tested.improves else ''}within the margin: {bounds}"
    if tested.p_worse <= level:
        return f"beyond the margin: {bounds}"
    if tested.p_worse <= LEVEL:
        return f"{bounds}: beyond the margin on its own, but not at the level {level:.3g} of several metrics"
    detectable = f"the smallest distance from the margin that this text detects in 4 of 5 cases is {mdd.lstrip('+')}"
    return f"neither within nor beyond: {bounds}; {detectable}; {_needed(tested, paired)}"


def _needed(tested: Tested, paired: Paired) -> str:
    times, clusters = tested.text_needed, tested.clusters
    if times > 1000 and tested.se_runs > tested.se_text:
        return "the spread between runs is the larger part of the error: give more runs a side"
    if times > 1000:
        return "it lies so near to the margin that no text of a practical size settles it"
    size = times * float((paired.end - paired.start).sum())
    written_size = f"{size / 1e6:.3g} MB" if size >= 1e6 else f"{size / 1e3:.3g} kB"
    needed = f"about {written_size} of text ({times:.1f} times as much)"
    if clusters is not None and clusters.kind == "documents":
        needed = f"about {math.ceil(times * clusters.count)} such documents ({times:.1f} times as many)"
    return f"{needed} would settle it in 4 of 5 cases, if the difference is what it seems"


def of_runs(comparison: Comparison, sides: Sides) -> Comparison:
    """Add to a reason what single runs cannot tell, unless the candidate passes, or which run of several lies apart."""
    outlier = " ".join(filter(None, map(_apart, (sides.baseline, sides.candidate))))
    if comparison.verdict == "inconclusive" and comparison.claim and outlier:
        return replace(comparison, reason=f"{comparison.reason}. {outlier}")
    undecided = comparison.verdict == "inconclusive" or (comparison.verdict == "fail" and comparison.claim is not None)
    near = abs(comparison.difference or 0) <= NEAR * max(abs(comparison.allowed or 0), SEEDS)
    if not undecided or not near or sides.several:
        return comparison
    reason = (
        f"{comparison.reason}. Two trainings of one recipe with other seeds often differ by more than the bounds for "
        "the text: to judge the recipe, give three or more trainings a side: "
        "rnneval gate new-*.json --baseline base-*.json"
    )
    return replace(comparison, reason=reason)


def _apart(side: Side) -> str:
    """Name the run of three or more whose loss lies farther from all others than seeds explain; "" if none does."""
    for (mean, name), *others in (side.means, side.means[::-1]):
        if len(others) < 2:
            return ""
        nearest, farthest = others[0][0], others[-1][0]
        if abs(mean - nearest) > max(NEAR * SEEDS, APART * abs(farthest - nearest)):
            low, high = sorted((nearest, farthest))
            return f"{name} lies apart: {mean:.4g} nats a token, the others {low:.4g} to {high:.4g}: see its training"
    return ""


def scope(comparison: Comparison) -> str:
    """Return what a verdict is about; "" for a limit, or a verdict without a test."""
    if not comparison.claim:
        return ""
    seeds = "; other seeds were not tested" if comparison.about == "these checkpoints" else ""
    return f"about {comparison.about} on {comparison.claim}{seeds}"


def beside_counting(records: Sequence[NamedRecord]) -> Iterator[Counting]:
    """Yield the comparison with its best n-gram of each run that has one and counts."""
    for each in records:
        run = each.record
        if not isinstance(run, Run) or run.ngram is None or run.ngram.change is None or unfit(run):
            continue
        change = run.ngram.change
        better, worse = (change.high or 0.0) < 0, (change.low or 0.0) > 0
        yield Counting(
            run=each.name,
            ngram=run.ngram.name,
            difference=change.value,
            low=change.low,
            high=change.high,
            verdict="better" if better else "worse" if worse else "inconclusive",
            standing=standing(run),
        )


def warnings_of_losses(paired: Paired, tested: Tested | None) -> Iterator[str]:
    """Warn of text left out, drift, a document that is too large, and blocks that dominate."""
    if paired.left_out > 0:
        yield (
            f"{100 * paired.left_out:.2g} % of the scored text was left out: only one side scored it "
            "(the beginning of each document)"
        )
    if tested is None or tested.clusters is None or same_model(paired):
        return
    clusters, differences = tested.clusters, loss_differences(paired)
    if clusters.kind == "batches" and drifts(differences):
        yield DRIFTS.format("the verdict holds for")
    largest = float(clusters.units.max() / clusters.units.sum())
    if clusters.kind == "documents" and largest > 2 / clusters.effective:
        yield (
            f"the largest of {clusters.count} documents holds {100 * largest:.0f} % of the text: with documents so "
            "unequal the stated 5 % can be 13 %; an equal excerpt of every document keeps it"
        )
    yield from _dominating(paired, differences)


def _dominating(paired: Paired, differences: Columns) -> Iterator[str]:
    """Warn if up to 1 % of the blocks hold more than half of the squared deviations from the mean."""
    mean = differences[0].sum() / differences[1].sum()
    squared = np.square(differences[0] - mean * differences[1])
    order = np.argsort(-squared, kind="stable")[: max(1, int(RARE * squared.size))]
    few, worst = order[squared[order] > squared.max() / 4], order[0]
    if squared[few].sum() > DOMINATES * squared.sum():
        without = np.delete(differences, few, axis=1).sum(axis=1)
        yield (
            f"{few.size} of {squared.size} blocks dominate (the largest: bytes {paired.start[worst]:,} to "
            f"{paired.end[worst]:,}): the loss differs by {_signed(mean)} nats with them, by "
            f"{_signed(without[0] / without[1])} without; where such blocks are rare the stated 5 % does not hold, "
            "since another text has more or fewer of them; look at the text there, or set a limit: "
            "--require 'blocks.largest_nats_per_token<=…'"
        )


def warnings_of_runs(records: Sequence[NamedRecord]) -> Iterator[str]:
    """Warn of runs whose wiring was not checked, and of those a little worse than uniform guessing."""
    for each in records:
        run = each.record
        if not isinstance(run, Run):
            continue
        if run.valid and run.unchecked:
            yield (
                f"{each.name}: the wiring was not checked, so whether its numbers are valid is not known; "
                "--require wiring.verdict==pass refuses such a run"
            )
        if run.total_nats is not None and not unfit(run):
            mean, uniform = run.total_nats / max(run.tokens.scored, 1), run.baselines.get("uniform", math.inf)
            if mean > uniform:
                yield f"{each.name}: {mean:.4g} nats a token is worse than uniform guessing ({uniform:.4g})"


def warnings_of_cut(sides: Sides) -> Iterator[str]:
    """Warn if the losses differ by no more than rows and segment move them in half precision."""
    if not all(run.valid and run.total_nats is not None for run in sides.runs):
        return
    losses, noise = [], 0.0
    for side in (sides.baseline, sides.candidate):
        losses.append(sum((run.total_nats or 0.0) / max(run.tokens.scored, 1) for run in side.runs) / len(side.runs))
        noise += max(run.cut_noise or 0.0 for run in side.runs)
    if noise and abs(losses[1] - losses[0]) <= noise:
        yield (
            f"the loss of {sides.candidate.name} differs from that of {sides.baseline.name} by "
            f"{_signed(losses[1] - losses[0])} nats a token: inside of the noise of the cut ({noise:.2g}), since half "
            "precision moves with rows and segment"
        )


def warnings_of_few_runs(sides: Sides) -> Iterator[str]:
    """Warn if a side has too few runs for its own spread to be known, and there are more than two."""
    for name, side in (("baseline", sides.baseline), ("candidate", sides.candidate)):
        if sides.several and len(side.runs) < 3:
            yield (
                f"{len(side.runs)} run{'s' * (len(side.runs) > 1)} of the {name}: too few to show a spread over seeds, "
                "and where the recipes spread differently the stated 5 % can be 8 %; give three or more runs a side"
            )
