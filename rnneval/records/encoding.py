"""Records from JSON, by their schema numbers: only what is whole, finite, known and consistent.

A file edited by hand, pieced together or damaged must not decide anything. A record holds many numbers twice: in its
blocks and in its totals, in its totals and in its scores. The scores are computed again by the metrics, which come
after records in the order of packages (`rnneval.metrics.score_problems`).
"""

import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, TypeVar

import msgspec

from rnneval.errors import RecordError, named_in_message
from rnneval.records._base import MOST_BYTES, Stored, require_small
from rnneval.records.gate import GRAVEST, Gate
from rnneval.records.gradients import Gradients
from rnneval.records.opened import Opened
from rnneval.records.paths import open_regular, reason_of
from rnneval.records.run import Run
from rnneval.records.wiring import Wiring
from rnneval.registry import later

T = TypeVar("T")
Record = Run | Wiring | Gate | Opened | Gradients
_COMMANDS: dict[type[Record], str] = {
    Run: "evaluate",
    Wiring: "check",
    Gate: "gate",
    Opened: "open",
    Gradients: "gradients",
}
CLASSES: dict[str, type[Record]] = {str(kind.__struct_config__.tag): kind for kind in _COMMANDS}
"""The class of each record, by its schema."""
RELATIVE = 1e-6
"""By how much sums may differ that were added up in another order."""


def decode(text: str | bytes, where: str = "the record") -> Record:
    """Read a record from JSON text.

    Args:
        text: The JSON object.
        where: Name of the text in an error, such as its path.

    Raises:
        RecordError: not JSON, too large, another schema, or keys and values that the schema does not allow.
    """
    found: Record = _decode(text, where, CLASSES)
    return found


def read(path: str | os.PathLike[str]) -> Record:
    """Read a record from a JSON file.

    Raises:
        RecordError: the file is missing, unreadable, truncated, too large, not a record of a known schema, or holds
            numbers that contradict each other.
    """
    where = os.fspath(path)
    record = decode(_bytes(where), where)
    require_consistent(where, record)
    return record


def read_as(path: str | os.PathLike[str], schema: str, kind: type[T]) -> T:
    """Read a value that is written as a record is, but that `read` does not accept, such as a comparison.

    Raises:
        RecordError: as `read`.
    """
    found: T = _decode(_bytes(os.fspath(path)), os.fspath(path), {schema: kind})
    return found


def read_run(path: str | os.PathLike[str]) -> Run:
    """Read a run record, and nothing else.

    Raises:
        RecordError: as `read`, or the file holds another kind of record.
    """
    record = read(path)
    if not isinstance(record, Run):
        kind = msgspec.to_builtins(record)["schema"]
        raise RecordError(
            f"{os.fspath(path)}: holds {kind}, a rnneval.run/1 record is needed: see rnneval evaluate --out"
        )
    return record


def write(record: Stored, path: str | os.PathLike[str]) -> None:
    """Write the record to a JSON file, completely or not at all: an older file stays until the new one is complete.

    Raises:
        RecordError: as `encode`, or the file cannot be written (the old file, if any, is untouched).
    """
    record.save(path)


def json_schema(schema: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a record, generated from its class, by its name such as `rnneval.run/1`."""
    generated = msgspec.json.schema(CLASSES[schema])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": schema, **_without_null(generated)}


def schema_names() -> tuple[str, ...]:
    """Name every schema that can be read."""
    return tuple(CLASSES)


def _without_null(schema: Any) -> Any:
    """Drop null for a key that may be absent, which msgspec allows and a record does not."""
    if isinstance(schema, list):
        return [_without_null(value) for value in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: _without_null(value) for key, value in schema.items() if not (key == "default" and value is None)}
    if "anyOf" in schema:
        schema["anyOf"] = [choice for choice in schema["anyOf"] if choice != {"type": "null"}]
        if len(schema["anyOf"]) == 1:
            (choice,) = schema.pop("anyOf")
            return {**schema, **choice}
    return schema


def _bytes(where: str) -> bytes:
    try:
        with open_regular(where) as file:
            return file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise RecordError(f"{named_in_message(where)}: cannot be read: {reason_of(error)}") from error


def _decode(text: str | bytes, where: str, known: Mapping[str, type[Any]]) -> Any:
    plain = _plain(text, where)
    schema = plain.get("schema")
    if not isinstance(schema, str) or schema not in known:
        family, _, number = str(schema).partition("/")
        if any(name.startswith(f"{family}/") for name in CLASSES) and number.isdigit():
            raise RecordError(
                f"{where}: schema {schema} is of another version of rnneval; this one reads {family}/1: "
                "install the version that wrote it, or make the record again"
            )
        raise RecordError(
            f"{where}: schema {schema!r} is not one of {', '.join(CLASSES)}: is this a record of rnneval?"
        )
    try:
        return msgspec.convert(plain, known[schema])
    except msgspec.ValidationError as error:
        raise RecordError(
            f"{where}: not a valid {schema} record: {error}; a record is written by rnneval alone: make it again"
        ) from error


def _plain(text: str | bytes, where: str) -> dict[str, Any]:
    """Parse JSON of a bounded size, in which no key stands twice, no value is null and every number is finite."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise RecordError(
                f"{where}: the key {twice!r} stands twice in one object: a record says each thing once; make it again"
            )
        return found

    require_small(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text, where)
    try:
        plain = json.loads(text, object_pairs_hook=once, parse_constant=_refuse_constant)
        place, unfit = next(_unfit(plain, ""), ("", 0.0))
        if unfit:
            json.loads(text, parse_float=_finite)  # again, and slower, to name the number as it is written
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{where}: not a whole JSON file ({error}): a record is one JSON object") from error
    if not isinstance(plain, dict):
        raise RecordError(f"{where}: holds a JSON {type(plain).__name__}, a record is one JSON object")
    if unfit is None:
        raise RecordError(f"{where}: null at {place}: what cannot be had is absent from a record, never null")
    return plain


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number that a record may hold")


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse_constant(digits)


def _unfit(value: Any, place: str) -> Iterator[tuple[str, float | None]]:
    """Yield the place of each null or infinite number, and its value."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        yield place.lstrip("."), value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _unfit(inner, f"{place}.{key}")
    elif isinstance(value, list):
        # No Python loop over a list that holds finite numbers alone, since blocks are many.
        kinds = set(map(type, value))
        if not kinds <= {int, float} or (float in kinds and (math.inf in value or -math.inf in value)):
            for index, inner in enumerate(value):
                yield from _unfit(inner, f"{place}[{index}]")


def require_consistent(name: str, record: Record) -> None:
    """Refuse a record whose numbers contradict each other: of a run, its blocks, totals and scores.

    Raises:
        RecordError: the message names the first pair that disagrees.
    """
    of_scores: Iterator[str] = later("score_problems")(record) if isinstance(record, Run) else iter(())
    for problem in chain(problems(record), of_scores):
        command = "import" if isinstance(record, Run) and record.imported else _COMMANDS[type(record)]
        raise RecordError(
            f"{name}: {problem}: the record does not add up: it was changed, or another version of rnneval wrote it; "
            f"make it again with rnneval {command}"
        )


def problems(record: Record) -> Iterator[str]:
    """Yield each contradiction within a record, except for the scores of a run, which take a metric to compute."""
    if isinstance(record, Run):
        for look in (_of_blocks, _of_totals, _of_scores, _of_states, _of_other_contexts, _of_ngram):
            yield from look(record)
        if record.valid and record.wiring is not None and record.wiring.verdict == "fail":
            yield "it is marked valid and its model fails the wiring check"
        if not record.signature or any(":" not in part for part in record.signature.split("|")):
            yield f"signature {record.signature!r} is not of the form name:value|name:value"
    elif isinstance(record, Gate):
        yield from _of_gate(record)
    elif isinstance(record, Wiring):
        failed = any(finding.severity == "error" for finding in record.findings)
        if failed != (record.verdict == "fail"):
            yield f"verdict is {record.verdict} and its findings have {'an' if failed else 'no'} error"
    elif isinstance(record, Gradients):
        yield from _of_gradients(record)


def _of_blocks(run: Run) -> Iterator[str]:
    if run.checkpoint is None and run.imported is None:
        yield "it has neither checkpoint nor imported"
    elif run.checkpoint is not None and run.imported is not None:
        yield "it has both checkpoint and imported"
    elif run.checkpoint is not None:
        known = ("vocabulary", "input", "output", "streams", "timing")
        yield from (f"it has a checkpoint and no {name}" for name in known if getattr(run, name) is None)
    blocks = run.blocks
    counts = ("document", "scored_bytes", "tokens", "characters", "words", "unknown")
    columns = {name: getattr(blocks, name) for name in counts}
    columns |= {f"sums.{name}": values for name, values in blocks.sums.items()}
    for name, values in columns.items():
        if len(values) != len(blocks.bytes):
            yield f"blocks.{name} has {len(values)} entries, blocks.bytes has {len(blocks.bytes)}"
    if list(blocks.bytes) != sorted(set(blocks.bytes)):
        yield "blocks.bytes does not rise"
    if list(blocks.document) != sorted(blocks.document):
        yield "blocks.document does not rise"
    elif blocks.document and blocks.document[-1] >= run.text.documents:
        yield f"blocks.document counts to {blocks.document[-1]} from 0, text.documents is {run.text.documents}"


def _of_totals(run: Run) -> Iterator[str]:
    blocks, text, tokens = run.blocks, run.text, run.tokens
    for what, seen, stated in (
        ("blocks.tokens and tokens.scored", sum(blocks.tokens), tokens.scored),
        ("blocks.scored_bytes and text.scored_bytes", sum(blocks.scored_bytes), text.scored_bytes),
        ("blocks.characters and text.scored_characters", sum(blocks.characters), text.scored_characters),
        ("blocks.words and text.scored_words", sum(blocks.words), text.scored_words),
        ("blocks.unknown and tokens.unknown", sum(blocks.unknown), tokens.unknown),
        ("the end of the last block and text.bytes", blocks.bytes[-1] if blocks.bytes else 0, text.bytes),
    ):
        if seen != stated:
            yield f"{what} disagree ({seen} and {stated})"
    for name, values in blocks.sums.items():
        if not math.isfinite(sum(values)):
            yield f"blocks.sums.{name} adds up to more than any number"
    if run.total_nats is not None and "nats" not in blocks.sums:
        yield "total_nats is there and blocks.sums.nats is not"
    elif run.total_nats is not None:
        total = math.fsum(blocks.sums["nats"])
        if not _close(total, run.total_nats):
            yield f"blocks.sums.nats and total_nats disagree ({total:.9g} and {run.total_nats:.9g})"
    counted = tokens.scored + tokens.unscored
    if counted != tokens.total:
        yield f"tokens.scored + tokens.unscored and tokens.total disagree ({counted} and {tokens.total})"
    for name in ("characters", "bytes", "words"):
        scored, whole = getattr(text, f"scored_{name}"), getattr(text, name)
        if scored > whole:
            yield f"text.scored_{name} is {scored}, text.{name} only {whole}"
    if text.characters > text.bytes:
        yield f"text.characters is {text.characters}, text.bytes only {text.bytes}"
    if run.valid and tokens.scored and run.total_nats is None:
        yield "it is marked valid and has no total_nats"


def _of_scores(run: Run) -> Iterator[str]:
    for name, score in run.scores.items():
        if (score.low is None) != (score.high is None):
            yield f"scores.{name} has one bound of two"
        if _lies_outside(score.value, score.low, score.high):
            yield f"scores.{name} is {score.value:.9g}, outside of its own interval {score.low:.9g} to {score.high:.9g}"
    if run.interval is None and any(score.low is not None for score in run.scores.values()):
        yield "scores have intervals and it is not said how they were made (interval)"


def _of_states(run: Run) -> Iterator[str]:
    for key, state in (run.states or {}).items():
        if state.norm_mean > state.norm_max * (1 + RELATIVE):
            yield f"states.{key}: norm_mean is above norm_max"
        if not state.lowest <= state.highest:
            yield f"states.{key}: lowest is above highest"
        yield from _no_shares(f"states.{key}", state, "saturated", "dead", "duplicated")
    for key, gate in (run.gates or {}).items():
        yield from _no_shares(f"gates.{key}", gate, "mean", "saturated_low", "saturated_high")


def _no_shares(place: str, holder: object, *names: str) -> Iterator[str]:
    for name in names:
        share = getattr(holder, name)
        if share is not None and not -RELATIVE <= share <= 1 + RELATIVE:
            yield f"{place}.{name} is {share:.9g}, a share lies between 0 and 1"


def _of_other_contexts(run: Run) -> Iterator[str]:
    curve, beside = run.context, run.beside_reset
    if curve is not None and not len(curve.lengths) == len(curve.nats) == len(curve.extra_error):
        yield "context: lengths, nats and extra_error have different numbers of entries"
    if beside is None or beside.change is None:
        return
    if run.total_nats is None or beside.total_nats is None:
        yield "beside_reset has a change and one of its two totals is not there"
        return
    change = (run.total_nats - beside.total_nats) / max(run.tokens.scored, 1)
    if not _close(change, beside.change.value):
        yield f"beside_reset.change is {beside.change.value:.9g}, the totals differ by {change:.9g} nats a token"


def _of_ngram(run: Run) -> Iterator[str]:
    best, scored = run.ngram, max(run.tokens.scored, 1)
    if best is None:
        return
    if len(best.nats) != len(run.blocks.bytes):
        yield f"ngram.nats has {len(best.nats)} entries, blocks.bytes has {len(run.blocks.bytes)}"
    mean, stated = math.fsum(best.nats) / scored, run.baselines.get(best.name, math.nan)
    if not _close(mean, stated):
        yield f"ngram.nats and baselines.{best.name} disagree ({mean:.9g} and {stated:.9g} nats a token)"
    if any(not stated <= nats for name, nats in run.baselines.items() if name.startswith("ngram-")):
        yield f"ngram.order is {best.order}, and another order has a lower loss"
    if best.change is None:
        return
    change = math.nan if run.total_nats is None else run.total_nats / scored - mean
    low, value, high = best.change.low, best.change.value, best.change.high
    if not _close(change, value):
        yield f"ngram.change is {value:.9g}, the totals differ by {change:.9g} nats a token"
    if (low is None) != (high is None) or _lies_outside(value, low, high):
        yield "ngram.change lies outside of its own interval"


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
        if not len(course.median) == len(course.low) == len(course.high):
            yield f"through_time.{key}: median, low and high have different numbers of entries"
        elif any(not low <= mid <= high for low, mid, high in zip(course.low, course.median, course.high, strict=True)):
            yield f"through_time.{key}: low, median and high are not in order"


def _close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=RELATIVE, abs_tol=1e-9)


def _lies_outside(value: float, low: float | None, high: float | None) -> bool:
    """Return whether a value, or a NaN, is not in its interval; False without both bounds."""
    return low is not None and high is not None and not low <= value <= high
