"""Records from JSON, by their schema: only what is whole, finite and known, and adds up.

A record is not signed: edited by hand, it can say anything (docs, security).
"""

import json
import math
import os
from collections.abc import Iterator
from typing import Any, get_args

import msgspec

from rnneval.errors import RecordError, named_in_message
from rnneval.paths import open_regular, reason_of, unique_keys
from rnneval.records._base import MOST_BYTES, Stored, require_small
from rnneval.records.gate import Gate, Ranking
from rnneval.records.parity import Parity
from rnneval.records.run import Gradients, Opened, Run
from rnneval.records.server import Server
from rnneval.records.wiring import Wiring, breaks_runs

Record = Run | Wiring | Gate | Opened | Gradients | Ranking | Parity | Server
CLASSES: dict[str, type[Record]] = {str(kind.__struct_config__.tag): kind for kind in get_args(Record)}
"""The class of each record, by its schema."""


def decode(text: str | bytes, where: str = "the record") -> Record:
    """Read a record from JSON text; `where` names the text in an error, such as by its path.

    Raises:
        RecordError: not JSON, too large, another schema, or keys and values that the schema does not allow.
    """
    require_small(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text, where)
    try:
        plain = json.loads(text, object_pairs_hook=unique_keys, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise RecordError(
            f"{where}: not a whole JSON file ({_why_not_json(error)}): a record is one JSON object that rnneval wrote: "
            "copy it again, or make it again, such as by rnneval evaluate CHECKPOINT TEXT --out run.json"
        ) from error
    if not isinstance(plain, dict):
        raise RecordError(f"{where}: holds a JSON {type(plain).__name__}, a record is one JSON object")
    schema = str(plain.get("schema"))
    family, _, number = schema.partition("/")
    if schema not in CLASSES and f"{family}/1" in CLASSES and number.isdigit():
        raise RecordError(
            f"{where}: schema {schema} is of another version of rnneval; this one reads {family}/1: "
            "install the version that wrote it, or make the record again"
        )
    if schema not in CLASSES:
        raise RecordError(
            f"{where}: schema {schema!r} is not one of {', '.join(CLASSES)}: is this a record of rnneval?"
        )
    try:
        return msgspec.convert(plain, CLASSES[schema])
    except msgspec.ValidationError as error:
        said = f"not a valid {schema} record: {error}"
        raise RecordError(f"{where}: {said}; a record is written by rnneval alone: make it again") from error


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits} is not a number that a record may hold")
    return number


def _why_not_json(error: ValueError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "lists in lists, without end"
    begins = error.doc.lstrip()[:20] if isinstance(error, json.JSONDecodeError) else ""
    if isinstance(error, UnicodeDecodeError) or "\0" in begins:
        return "a file of weights or of another binary kind, or not UTF-8"
    if not isinstance(error, json.JSONDecodeError):
        return str(error)
    if begins.startswith(("{", "[")):
        return f"cut off or damaged at character {error.pos:,}"
    return f"it begins with {begins!r}" if begins else "it is empty"


def read(path: str | os.PathLike[str]) -> Record:
    """Read a record from a JSON file.

    Returns:
        A `Run`, `Wiring`, `Gate`, `Gradients`, `Opened`, `Ranking`, `Parity` or `Server`, by the schema in the file.

    Raises:
        RecordError: the file is missing, unreadable, truncated, too large, not a record of a known schema, or holds
            numbers that contradict each other.
    """
    name = os.fspath(path)
    try:
        with open_regular(path) as file:
            text = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise RecordError(f"{named_in_message(name)}: cannot be read: {reason_of(error)}") from error
    record = decode(text, name)
    require_consistent(name, record)
    return record


def read_run(path: str | os.PathLike[str]) -> Run:
    """Read a run record, and nothing else.

    Raises:
        RecordError: as `read`, or the file holds another kind of record.
    """
    record = read(path)
    if not isinstance(record, Run):
        holds = f"{os.fspath(path)}: holds {record.__struct_config__.tag}"
        raise RecordError(f"{holds}, a rnneval.run/1 record is needed: see rnneval evaluate --out")
    return record


def write(record: Stored, path: str | os.PathLike[str]) -> None:
    """Write the record to a JSON file, completely or not at all: an older file stays until the new one is complete.

    Raises:
        RecordError: as `encode`, or the file cannot be written.
    """
    record.save(path)


def json_schema(schema: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a record, generated from its class, by its name such as `rnneval.run/1`."""
    generated = msgspec.json.schema(CLASSES[schema])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": schema, **generated}


def schema_names() -> tuple[str, ...]:
    """Name every schema that can be read."""
    return tuple(CLASSES)


def require_consistent(name: str, record: Record) -> None:
    """Refuse a run that contradicts itself: a part of it is missing, or from another run."""
    if isinstance(record, Run) and (problem := next(_contradictions(record), None)):
        raise RecordError(
            f"{name}: {problem}: the record does not add up: it was changed, or another version of rnneval wrote it; "
            f"make it again with rnneval {'import' if record.imported else 'evaluate'}"
        )


def _contradictions(run: Run) -> Iterator[str]:
    blocks = run.blocks
    if (run.checkpoint is None) == (run.imported is None):
        yield f"it has {'neither checkpoint nor' if run.imported is None else 'both checkpoint and'} imported"
    for name in ("vocabulary", "input", "output", "streams", "timing") if run.checkpoint else ():
        if getattr(run, name) is None:
            yield f"it has a checkpoint and no {name}"
    columns = msgspec.structs.asdict(blocks)
    columns |= {f"sums.{name}": values for name, values in columns.pop("sums").items()}
    for name, values in columns.items():
        if len(values) != len(blocks.bytes):
            yield f"blocks.{name} has {len(values)} entries, blocks.bytes has {len(blocks.bytes)}"
        if not math.isfinite(sum(values)):
            yield f"blocks.{name} adds up to more than any number"
    if list(blocks.bytes) != sorted(set(blocks.bytes)):
        yield "blocks.bytes does not rise"
    yield from _disagreements(run)
    if run.valid and run.tokens.scored and run.total_nats is None:
        yield "it is marked valid and has no total_nats"
    segment = run.streams.segment if run.streams else None
    if run.valid and run.wiring is not None and run.wiring.verdict == "fail" and breaks_runs(run.wiring, segment):
        yield "it is marked valid and its model fails the wiring check"


def _disagreements(run: Run) -> Iterator[str]:
    """Yield the counts and losses that are stated twice, and not alike."""
    blocks, text, tokens = run.blocks, run.text, run.tokens
    for what, seen, stated in (
        ("blocks.tokens and tokens.scored", sum(blocks.tokens), tokens.scored),
        ("blocks.scored_bytes and text.scored_bytes", sum(blocks.scored_bytes), text.scored_bytes),
        ("blocks.characters and text.scored_characters", sum(blocks.characters), text.scored_characters),
        ("blocks.words and text.scored_words", sum(blocks.words), text.scored_words),
        ("the end of the last block and text.bytes", blocks.bytes[-1] if blocks.bytes else 0, text.bytes),
        ("tokens.scored + tokens.unscored and tokens.total", tokens.scored + tokens.unscored, tokens.total),
    ):
        if seen != stated:
            yield f"{what} disagree ({seen} and {stated})"
    # Blocks count scored tokens; the first of a document may be unknown.
    if not 0 <= tokens.unknown - sum(blocks.unknown) <= tokens.unscored:
        yield f"blocks.unknown and tokens.unknown disagree ({sum(blocks.unknown)} and {tokens.unknown})"
    if run.total_nats is None:
        return
    nats = {"blocks.sums.nats": math.fsum(blocks.sums.get("nats", ()))}
    if (mean := run.scores.get("cross_entropy")) is not None:
        nats["scores.cross_entropy"] = mean.value * tokens.scored
    if (perplexity := run.scores.get("perplexity")) is not None:
        nats["scores.perplexity"] = math.log(max(perplexity.value, math.ulp(0))) * tokens.scored
    for name, value in nats.items():
        if not math.isclose(value, run.total_nats, rel_tol=1e-6, abs_tol=1e-9):
            yield f"{name} and total_nats disagree ({value:.9g} and {run.total_nats:.9g})"
