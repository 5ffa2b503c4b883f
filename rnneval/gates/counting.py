"""Is a model better than counting? The paired difference to the best n-gram of its record, and a verdict."""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from rnneval.errors import UsageError
from rnneval.gates.sides import Named
from rnneval.options import LARGEST_ORDER
from rnneval.records import Run
from rnneval.records.gate import Counting
from rnneval.records.run import Score


def beside_counting(records: Sequence[Named]) -> Iterator[Counting]:
    """Yield the comparison of each valid run that has one with its best n-gram."""
    for each in records:
        run = each.record
        if isinstance(run, Run) and run.valid and run.ngram is not None and run.ngram.change is not None:
            change = run.ngram.change
            yield Counting(
                run=each.name,
                ngram=run.ngram.name,
                difference=change.value,
                low=change.low,
                high=change.high,
                verdict=verdict_of(change),
                standing=standing(run),
            )


def verdict_of(change: Score) -> Literal["better", "worse", "inconclusive"]:
    """Return `better`, `worse` or `inconclusive` from the 95 % interval of model − n-gram.

    >>> verdict_of(Score(value=-0.2, unit="nats a token", low=-0.3, high=-0.1))
    'better'
    """
    if change.low is None or change.high is None:
        return "inconclusive"
    return "better" if change.high < 0 else "worse" if change.low > 0 else "inconclusive"


def standing(run: Run) -> str:
    """Name the baseline that a model is as good as, by its mean loss; "" without n-grams or a loss.

    Orders above the best one are left out: they are the same model with more memory.
    """
    if run.ngram is None or "cross_entropy" not in run.scores or not run.valid:
        return ""
    loss, best = run.scores["cross_entropy"].value, run.baselines[run.ngram.name]
    above = [f"ngram-{order}" for order in range(run.ngram.order + 1, LARGEST_ORDER + 1)]
    ladder = sorted(
        ((nats, name) for name, nats in run.baselines.items() if name not in above and nats >= best), reverse=True
    )
    reached = [name for nats, name in ladder if loss <= nats]
    missed = [name for nats, name in ladder if loss > nats]
    if not missed:
        return f"better than {run.ngram.name}, the best of counting"
    return f"at least as good as {reached[-1]}, worse than {missed[0]}" if reached else f"worse than {missed[0]}"


def as_run(name: str, run: Run) -> Named:
    """Return the best n-gram of a run as a run of its own, with its sums by block.

    Raises:
        UsageError: the run has none.
    """
    if run.ngram is None:
        raise UsageError(
            f"{name}: has no n-grams to compare with: make it again with rnneval evaluate --fit-on TRAIN.txt"
        )
    blocks = msgspec.structs.replace(run.blocks, sums={"nats": run.ngram.nats})
    total = sum(run.ngram.nats)
    counted = msgspec.structs.replace(run, blocks=blocks, total_nats=total, valid=True, wiring=None, scores={})
    return Named(name=run.ngram.name, record=counted)
