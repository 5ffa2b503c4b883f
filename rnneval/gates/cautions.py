"""What a reader of a verdict should know besides: drift, one block that decides, text left out, faulty wiring."""

from collections.abc import Iterator, Sequence

import numpy as np

from rnneval.gates.clusters import Clusters
from rnneval.gates.jackknife import drifts, jackknife, ratio
from rnneval.gates.noninferiority import loss_differences, same_model
from rnneval.gates.pairing import Paired
from rnneval.gates.sides import Named, Sides
from rnneval.records import Run

DOMINATES = 0.5
"""Share of the squared deviations that makes blocks dominate; one block of 400 of a real text has below a tenth."""
RARE = 0.01
"""Share of the blocks that may dominate together; of normal deviations they have a twelfth."""


def cautions(paired: Paired, clusters: Clusters | None) -> Iterator[str]:
    """Give the warnings that the paired losses deserve."""
    if paired.left_out > 0:
        yield (
            f"{100 * paired.left_out:.2g} % of the scored text was left out: only one side scored it "
            "(the beginning of each document)"
        )
    if clusters is None or same_model(paired):
        return
    differences = loss_differences(paired)
    if clusters.kind == "batches" and drifts(ratio, differences, paired.units):
        yield (
            "losses drift along this text: the verdict holds for this passage; hold out pieces from all over the "
            "text, or whole documents"
        )
    if clusters.kind == "documents" and clusters.largest_share > 2 / clusters.effective:
        yield (
            f"the largest of {clusters.count} documents holds {100 * clusters.largest_share:.0f} % of the text: "
            "with documents so unequal the stated 5 % can be 13 %; an equal excerpt of every document keeps it"
        )
    yield from _dominating(paired, clusters)


def of_runs(records: Sequence[Named]) -> Iterator[str]:
    """Give the warnings that single runs deserve."""
    for each in records:
        run = each.record
        if isinstance(run, Run) and run.wiring is not None and run.wiring.verdict == "fail":
            yield f"{each.name}: its wiring fails: {run.wiring.reason}"


def one_sided_runs(sides: Sides) -> Iterator[str]:
    """Warn where the spread between runs was seen on one side only."""
    baselines, candidates = len(sides.baseline.runs), len(sides.candidate.runs)
    if (baselines > 1) != (candidates > 1):
        one, several = ("baseline", "candidate") if baselines == 1 else ("candidate", "baseline")
        yield (
            f"one run of the {one}: its spread over seeds is taken to be that of the {several}'s runs; where the "
            "two recipes spread differently the stated 5 % does not hold; give two or more runs a side"
        )


def _dominating(paired: Paired, clusters: Clusters) -> Iterator[str]:
    """Warn if up to 1 % of the blocks hold more than half of the squared deviations from the mean.

    These are the block that deviates most and those that deviate at least half as much.
    """
    differences = loss_differences(paired)
    mean = float(ratio(differences.sum(axis=1, keepdims=True))[0])
    squared = np.square(differences[0] - mean * differences[1])
    order = np.argsort(-squared, kind="stable")[: max(1, int(RARE * squared.size))]
    few, worst = order[squared[order] > squared.max() / 4], order[0]
    if not squared[few].sum() > DOMINATES * squared.sum():
        return
    place = f"bytes {paired.start[worst]} to {paired.end[worst]}"
    alone = float(ratio(np.delete(differences, few, axis=1).sum(axis=1, keepdims=True))[0])
    seen = f"the loss differs by {mean:+.4g} nats with {'it' if few.size == 1 else 'them'}, by {alone:+.4g} without"
    if few.size == 1:
        without = jackknife(ratio, differences, clusters).without[clusters.labels[worst]]
        seen = f"one block dominates ({place}): {seen} it, by {without:+.4g} without its cluster"
    else:
        seen = f"{few.size} of {squared.size} blocks dominate (the largest: {place}): {seen} them"
    yield (
        f"{seen}; where such blocks are rare the stated 5 % does not hold, since another text has more or fewer of "
        "them; look at the text there, or set a limit: --require 'blocks.largest_nats_per_token<=…'"
    )
