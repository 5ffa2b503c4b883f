"""Does a record add up, scores included? A file edited by hand, pieced together or damaged must not decide anything."""

import math
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain

from rnneval.errors import RecordError
from rnneval.records._base import Stored
from rnneval.records.adding_up import RELATIVE, problems
from rnneval.records.gate import Gate
from rnneval.records.gradients import Gradients
from rnneval.records.opened import Opened
from rnneval.records.run import Run
from rnneval.records.wiring import Wiring

_COMMANDS: dict[type[Stored], str] = {
    Run: "evaluate",
    Wiring: "check",
    Gate: "gate",
    Opened: "open",
    Gradients: "gradients",
}


def check_sound(name: str, record: Stored) -> None:
    """Raise unless what a record holds twice agrees; of a run, its blocks, totals and scores.

    Raises:
        RecordError: they do not; the message names the first pair that disagrees.
    """
    of_scores = _scores(record) if isinstance(record, Run) else ()
    for problem in chain(problems(record), of_scores):
        raise RecordError(
            f"{name}: {problem}: the record does not add up, so it was changed after rnneval wrote it; "
            f"make it again with rnneval {_COMMANDS[type(record)]}"
        )


def _scores(run: Run) -> Iterator[str]:
    """Work every score out again from the sums of the blocks."""
    from rnneval.metrics import Totals, UnavailableError, all_metrics  # NumPy, which other records do not need

    if run.total_nats is None or not run.tokens.scored:
        return
    totals = Totals(
        tokens=run.tokens.scored,
        characters=run.text.scored_characters,
        bytes=run.text.scored_bytes,
        words=run.text.scored_words,
        lossless=True,  # a score that a lossy model cannot have is not in the record, so it is not asked for
        sums={name: math.fsum(values) for name, values in run.blocks.sums.items()},
    )
    for metric in all_metrics():
        score = run.scores.get(metric.name)
        with suppress(UnavailableError):  # the record need not have every sum: then there is nothing to hold it against
            if score is not None and not _close(score.value, value := metric.finish(totals)):
                yield f"scores.{metric.name} and {_whence(metric.name)} disagree ({score.value:.9g} and {value:.9g})"


def _close(stated: float, value: float) -> bool:
    return math.isclose(stated, value, rel_tol=RELATIVE, abs_tol=1e-9)


def _whence(metric: str) -> str:
    return "total_nats" if metric in ("cross_entropy", "perplexity") else "the sums of its blocks"
