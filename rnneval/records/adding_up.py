"""Does a record add up? A file edited by hand, pieced together or damaged must not decide anything.

A record holds many numbers twice: in its blocks and in its totals, in its totals and in its scores. Here is what needs
no metric to be looked at; `rnneval.records.sound` also works the scores out again.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

from rnneval.records._base import Stored
from rnneval.records.gate import Gate
from rnneval.records.gradients import Gradients
from rnneval.records.run import Run
from rnneval.records.wiring import Wiring

RELATIVE = 1e-6
"""By how much sums may differ that were added up in another order."""
_GRAVEST = ("fail", "not comparable", "inconclusive", "pass")


def problems(record: Stored) -> Iterator[str]:
    """Say what disagrees in a record; nothing where it adds up."""
    if isinstance(record, Run):
        yield from _of_run(record)
    elif isinstance(record, Gate):
        yield from _of_gate(record)
    elif isinstance(record, Wiring):
        yield from _of_wiring(record)
    elif isinstance(record, Gradients):
        yield from _of_gradients(record)


def _of_run(run: Run) -> Iterator[str]:
    """Say what disagrees in a run record."""
    for look in (_shapes, _totals, _counts, _bounds, _states, _context, _signature):
        yield from look(run)


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
        if score.low is not None and score.high is not None and not score.low <= score.value <= score.high:
            yield f"scores.{name} is {score.value:.9g}, outside of its own interval {score.low:.9g} to {score.high:.9g}"
    bounded = any(score.low is not None for score in run.scores.values())
    if bounded and run.interval is None:
        yield "scores have intervals and it is not said how they were made (interval)"


def _states(run: Run) -> Iterator[str]:
    for key, state in (run.states or {}).items():
        if state.norm_mean > state.norm_max * (1 + RELATIVE):
            yield f"states.{key}: norm_mean is above norm_max"
        if not state.lowest <= state.highest:
            yield f"states.{key}: lowest is above highest"
        yield from _shares(f"states.{key}", state, ("saturated", "dead", "duplicated"))
    for key, gate in (run.gates or {}).items():
        yield from _shares(f"gates.{key}", gate, ("mean", "saturated_low", "saturated_high"))


def _shares(place: str, holder: object, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        share = getattr(holder, name)
        if share is not None and not -RELATIVE <= share <= 1 + RELATIVE:
            yield f"{place}.{name} is {share:.9g}, a share lies between 0 and 1"


def _context(run: Run) -> Iterator[str]:
    curve = run.context
    if curve is not None and not len(curve.lengths) == len(curve.nats) == len(curve.extra_error):
        yield "context: lengths, nats and extra_error have different numbers of entries"


def _signature(run: Run) -> Iterator[str]:
    if not run.signature or any(":" not in part for part in run.signature.split("|")):
        yield f"signature {run.signature!r} is not of the form name:value|name:value"


def _of_gate(gate: Gate) -> Iterator[str]:
    verdicts = {comparison.verdict for comparison in gate.comparisons}
    gravest = next((verdict for verdict in _GRAVEST if verdict in verdicts), None)
    if gravest is not None and gate.verdict != gravest:
        yield f"verdict is {gate.verdict} and that of its comparisons {gravest}"
    for comparison in gate.comparisons:
        low, difference, high = comparison.low, comparison.difference, comparison.high
        if low is not None and high is not None and not low <= high:
            yield f"{comparison.metric}: low is above high"
        if None not in (low, difference, high) and not _within(low, difference, high):
            yield f"{comparison.metric}: the difference lies outside of its own interval"


def _within(low: float | None, value: float | None, high: float | None) -> bool:
    return low is None or value is None or high is None or low <= value <= high


def _of_wiring(wiring: Wiring) -> Iterator[str]:
    failed = any(finding.severity == "error" for finding in wiring.findings)
    if failed != (wiring.verdict == "fail"):
        yield f"verdict is {wiring.verdict} and its findings have {'an' if failed else 'no'} error"


def _of_gradients(record: Gradients) -> Iterator[str]:
    for key, variable in record.variables.items():
        if variable.norm_mean > variable.norm_max * (1 + RELATIVE):
            yield f"variables.{key}: norm_mean is above norm_max"
    for key, course in record.through_time.items():
        sizes = {len(course.median), len(course.low), len(course.high)}
        if len(sizes) > 1:
            yield f"through_time.{key}: median, low and high have different numbers of entries"
        elif not _ordered(course.low, course.median, course.high):
            yield f"through_time.{key}: low, median and high are not in order"


def _ordered(low: Sequence[float], middle: Sequence[float], high: Sequence[float]) -> bool:
    return all(a <= b <= c for a, b, c in zip(low, middle, high, strict=True))


def _unequal(pairs: dict[str, tuple[int, int]]) -> Iterator[str]:
    for what, (seen, stated) in pairs.items():
        if seen != stated:
            yield f"{what} disagree ({seen} and {stated})"
