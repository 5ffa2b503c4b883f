"""Consistency of records: a file edited by hand, pieced together or damaged must not decide anything.

A record holds many numbers twice: in its blocks and in its totals, in its totals and in its scores. The scores are
computed again by the metrics, which come after records in the order of packages (`rnneval.metrics.score_problems`).
"""

import math
from collections.abc import Iterator
from itertools import chain

from rnneval.errors import RecordError
from rnneval.records._base import Stored
from rnneval.records.gate import GRAVEST, Gate
from rnneval.records.gradients import Gradients
from rnneval.records.opened import Opened
from rnneval.records.run import Run
from rnneval.records.wiring import Wiring
from rnneval.registry import later

RELATIVE = 1e-6
"""By how much sums may differ that were added up in another order."""
_COMMANDS: dict[type[Stored], str] = {
    Run: "evaluate",
    Wiring: "check",
    Gate: "gate",
    Opened: "open",
    Gradients: "gradients",
}


def require_consistent(name: str, record: Stored) -> None:
    """Refuse a record whose numbers contradict each other: of a run, its blocks, totals and scores.

    Raises:
        RecordError: the message names the first pair that disagrees.
    """
    of_scores: Iterator[str] = later("score_problems")(record) if isinstance(record, Run) else iter(())
    for problem in chain(problems(record), of_scores):
        command = "import" if isinstance(record, Run) and record.imported else _COMMANDS[type(record)]
        raise RecordError(
            f"{name}: {problem}: the record does not add up, so it was changed after rnneval wrote it; "
            f"make it again with rnneval {command}"
        )


def problems(record: Stored) -> Iterator[str]:
    """Yield each contradiction within a record, except for the scores of a run, which take a metric to compute."""
    if isinstance(record, Run):
        for look in (
            _sources,
            _shapes,
            _totals,
            _counts,
            _bounds,
            _states,
            _context,
            _beside_reset,
            _ngram,
            _signature,
        ):
            yield from look(record)
    elif isinstance(record, Gate):
        yield from _of_gate(record)
    elif isinstance(record, Wiring):
        failed = any(finding.severity == "error" for finding in record.findings)
        if failed != (record.verdict == "fail"):
            yield f"verdict is {record.verdict} and its findings have {'an' if failed else 'no'} error"
    elif isinstance(record, Gradients):
        yield from _of_gradients(record)


def _sources(run: Run) -> Iterator[str]:
    if run.checkpoint is None and run.imported is None:
        yield "it has neither checkpoint nor imported"
    elif run.checkpoint is not None and run.imported is not None:
        yield "it has both checkpoint and imported"
    elif run.checkpoint is not None:
        known = ("vocabulary", "input", "output", "streams", "timing")
        yield from (f"it has a checkpoint and no {name}" for name in known if getattr(run, name) is None)


def _shapes(run: Run) -> Iterator[str]:
    blocks = run.blocks
    count = len(blocks.bytes)
    columns = {
        "document": blocks.document,
        "scored_bytes": blocks.scored_bytes,
        "tokens": blocks.tokens,
        "characters": blocks.characters,
        "words": blocks.words,
        "unknown": blocks.unknown,
        **{f"sums.{name}": values for name, values in blocks.sums.items()},
    }
    for name, values in columns.items():
        if len(values) != count:
            yield f"blocks.{name} has {len(values)} entries, blocks.bytes has {count}"
    if list(blocks.bytes) != sorted(set(blocks.bytes)):
        yield "blocks.bytes does not rise"
    if list(blocks.document) != sorted(blocks.document):
        yield "blocks.document does not rise"
    elif blocks.document and blocks.document[-1] >= run.text.documents:
        yield f"blocks.document counts to {blocks.document[-1]} from 0, text.documents is {run.text.documents}"


def _totals(run: Run) -> Iterator[str]:
    blocks, text = run.blocks, run.text
    yield from _unequal(
        {
            "blocks.tokens and tokens.scored": (sum(blocks.tokens), run.tokens.scored),
            "blocks.scored_bytes and text.scored_bytes": (sum(blocks.scored_bytes), text.scored_bytes),
            "blocks.characters and text.scored_characters": (sum(blocks.characters), text.scored_characters),
            "blocks.words and text.scored_words": (sum(blocks.words), text.scored_words),
            "blocks.unknown and tokens.unknown": (sum(blocks.unknown), run.tokens.unknown),
            "the end of the last block and text.bytes": (blocks.bytes[-1] if blocks.bytes else 0, text.bytes),
        }
    )
    for name, values in blocks.sums.items():
        if not math.isfinite(sum(values)):
            yield f"blocks.sums.{name} adds up to more than any number"
    if run.total_nats is not None and "nats" not in blocks.sums:
        yield "total_nats is there and blocks.sums.nats is not"
    elif run.total_nats is not None:
        total = math.fsum(blocks.sums.get("nats", ()))
        if not math.isclose(total, run.total_nats, rel_tol=RELATIVE, abs_tol=1e-9):
            yield f"blocks.sums.nats and total_nats disagree ({total:.9g} and {run.total_nats:.9g})"


def _counts(run: Run) -> Iterator[str]:
    tokens, text = run.tokens, run.text
    sum_of_tokens = tokens.scored + tokens.unscored
    yield from _unequal({"tokens.scored + tokens.unscored and tokens.total": (sum_of_tokens, tokens.total)})
    for name in ("characters", "bytes", "words"):
        scored, whole = getattr(text, f"scored_{name}"), getattr(text, name)
        if scored > whole:
            yield f"text.scored_{name} is {scored}, text.{name} only {whole}"
    if text.characters > text.bytes:
        yield f"text.characters is {text.characters}, text.bytes only {text.bytes}"
    if run.valid and tokens.scored and run.total_nats is None:
        yield "it is marked valid and has no total_nats"


def _bounds(run: Run) -> Iterator[str]:
    for name, score in run.scores.items():
        if (score.low is None) != (score.high is None):
            yield f"scores.{name} has one bound of two"
        if _lies_outside(score.value, score.low, score.high):
            yield f"scores.{name} is {score.value:.9g}, outside of its own interval {score.low:.9g} to {score.high:.9g}"
    bounded = any(score.low is not None for score in run.scores.values())
    if bounded and run.interval is None:
        yield "scores have intervals and it is not said how they were made (interval)"


def _lies_outside(value: float, low: float | None, high: float | None) -> bool:
    """Return whether a value, or a NaN, is not in its interval; False without both bounds."""
    return low is not None and high is not None and not low <= value <= high


def _states(run: Run) -> Iterator[str]:
    for key, state in (run.states or {}).items():
        if state.norm_mean > state.norm_max * (1 + RELATIVE):
            yield f"states.{key}: norm_mean is above norm_max"
        if not state.lowest <= state.highest:
            yield f"states.{key}: lowest is above highest"
        yield from _shares(f"states.{key}", state, "saturated", "dead", "duplicated")
    for key, gate in (run.gates or {}).items():
        yield from _shares(f"gates.{key}", gate, "mean", "saturated_low", "saturated_high")


def _shares(place: str, holder: object, *names: str) -> Iterator[str]:
    for name in names:
        share = getattr(holder, name)
        if share is not None and not -RELATIVE <= share <= 1 + RELATIVE:
            yield f"{place}.{name} is {share:.9g}, a share lies between 0 and 1"


def _context(run: Run) -> Iterator[str]:
    curve = run.context
    if curve is not None and not len(curve.lengths) == len(curve.nats) == len(curve.extra_error):
        yield "context: lengths, nats and extra_error have different numbers of entries"


def _beside_reset(run: Run) -> Iterator[str]:
    beside = run.beside_reset
    if beside is None or beside.change is None:
        return
    if run.total_nats is None or beside.total_nats is None:
        yield "beside_reset has a change and one of its two totals is not there"
        return
    change = (run.total_nats - beside.total_nats) / max(run.tokens.scored, 1)
    if not math.isclose(change, beside.change.value, rel_tol=RELATIVE, abs_tol=1e-9):
        yield f"beside_reset.change is {beside.change.value:.9g}, the totals differ by {change:.9g} nats a token"


def _ngram(run: Run) -> Iterator[str]:
    best = run.ngram
    if best is None:
        return
    if len(best.nats) != len(run.blocks.bytes):
        yield f"ngram.nats has {len(best.nats)} entries, blocks.bytes has {len(run.blocks.bytes)}"
    mean, said = math.fsum(best.nats) / max(run.tokens.scored, 1), run.baselines.get(best.name, math.nan)
    if not math.isclose(mean, said, rel_tol=RELATIVE, abs_tol=1e-9):
        yield f"ngram.nats and baselines.{best.name} disagree ({mean:.9g} and {said:.9g} nats a token)"
    if any(not said <= nats for name, nats in run.baselines.items() if name.startswith("ngram-")):
        yield f"ngram.order is {best.order}, and another order has a lower loss"
    if best.change is None:
        return
    change = math.nan if run.total_nats is None else run.total_nats / max(run.tokens.scored, 1) - mean
    low, value, high = best.change.low, best.change.value, best.change.high
    if not math.isclose(change, value, rel_tol=RELATIVE, abs_tol=1e-9):
        yield f"ngram.change is {value:.9g}, the totals differ by {change:.9g} nats a token"
    if (low is None) != (high is None) or _lies_outside(value, low, high):
        yield "ngram.change lies outside of its own interval"


def _signature(run: Run) -> Iterator[str]:
    if not run.signature or any(":" not in part for part in run.signature.split("|")):
        yield f"signature {run.signature!r} is not of the form name:value|name:value"


def _of_gate(gate: Gate) -> Iterator[str]:
    verdicts = {comparison.verdict for comparison in gate.comparisons}
    gravest = next((verdict for verdict in GRAVEST if verdict in verdicts), None)
    if gravest is not None and gate.verdict != gravest:
        yield f"verdict is {gate.verdict} and that of its comparisons {gravest}"
    for comparison in gate.comparisons:
        low, difference, high = comparison.low, comparison.difference, comparison.high
        if low is not None and high is not None and not low <= high:
            yield f"{comparison.metric}: low is above high"
        if difference is not None and _lies_outside(difference, low, high):
            yield f"{comparison.metric}: the difference lies outside of its own interval"


def _of_gradients(record: Gradients) -> Iterator[str]:
    for key, variable in record.variables.items():
        if variable.norm_mean > variable.norm_max * (1 + RELATIVE):
            yield f"variables.{key}: norm_mean is above norm_max"
    for key, course in record.through_time.items():
        sizes = {len(course.median), len(course.low), len(course.high)}
        if len(sizes) > 1:
            yield f"through_time.{key}: median, low and high have different numbers of entries"
        elif any(not low <= mid <= high for low, mid, high in zip(course.low, course.median, course.high, strict=True)):
            yield f"through_time.{key}: low, median and high are not in order"


def _unequal(pairs: dict[str, tuple[int, int]]) -> Iterator[str]:
    for what, (seen, stated) in pairs.items():
        if seen != stated:
            yield f"{what} disagree ({seen} and {stated})"
