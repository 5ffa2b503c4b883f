"""Records from JSON, by their schema numbers: only what is whole, finite, known and consistent."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from math import inf, isfinite
from typing import Any, TypeVar

import msgspec

from rnneval.errors import RecordError, named_in_message
from rnneval.records._base import MOST_BYTES, Stored, require_small
from rnneval.records.atomic import reason_of
from rnneval.records.consistency import require_consistent
from rnneval.records.gate import Gate
from rnneval.records.gradients import Gradients
from rnneval.records.opened import Opened
from rnneval.records.paths import open_regular
from rnneval.records.run import Run
from rnneval.records.wiring import Wiring

T = TypeVar("T")
Record = Run | Wiring | Gate | Opened | Gradients
CLASSES: dict[str, type[Record]] = {
    "rnneval.run/1": Run,
    "rnneval.wiring/1": Wiring,
    "rnneval.gate/1": Gate,
    "rnneval.opened/1": Opened,
    "rnneval.gradients/1": Gradients,
}


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
            numbers that contradict each other (`rnneval.records.consistency`).
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
        raise RecordError(f"{where}: {_about_schema(schema)}")
    try:
        return msgspec.convert(plain, known[schema])
    except msgspec.ValidationError as error:
        raise RecordError(
            f"{where}: not a valid {schema} record: {error}; a record is written by rnneval alone: make it again"
        ) from error


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
    if isinstance(schema, dict):
        schema = {
            key: _without_null(value) for key, value in schema.items() if not (key == "default" and value is None)
        }
        if "anyOf" in schema:
            choices = [choice for choice in schema["anyOf"] if choice != {"type": "null"}]
            if len(choices) == 1:
                return {**{key: value for key, value in schema.items() if key != "anyOf"}, **choices[0]}
            schema["anyOf"] = choices
        return schema
    return [_without_null(value) for value in schema] if isinstance(schema, list) else schema


def _plain(text: str | bytes, where: str) -> dict[str, Any]:
    """Parse JSON of a bounded size, in which no key stands twice, no value is null and every number is finite."""
    require_small(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text, where)
    try:
        plain = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse_constant)
        place, unfit = next(_unfit(plain, ""), ("", 0.0))
        if unfit:
            json.loads(text, parse_float=_finite)  # again, and slower, to name the number as it is written
    except _TwiceError as error:
        raise RecordError(f"{where}: {error}: a record says each thing once; make it again") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{where}: not a whole JSON file ({error}): a record is one JSON object") from error
    if not isinstance(plain, dict):
        raise RecordError(f"{where}: holds a JSON {type(plain).__name__}, a record is one JSON object")
    if unfit is None:
        raise RecordError(f"{where}: null at {place}: what cannot be had is absent from a record, never null")
    return plain


class _TwiceError(ValueError):
    """A key stands twice in one JSON object."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise _TwiceError(f"the key {twice!r} stands twice in one object")
    return found


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number that a record may hold")


def _finite(digits: str) -> float:
    number = float(digits)
    return number if isfinite(number) else _refuse_constant(digits)


def _unfit(value: Any, place: str) -> Iterator[tuple[str, float | None]]:
    """Yield the place of each null or infinite number, and its value."""
    if value is None or (isinstance(value, float) and not isfinite(value)):
        yield place.lstrip("."), value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _unfit(inner, f"{place}.{key}")
    elif isinstance(value, list) and not _all_finite(value):
        for index, inner in enumerate(value):
            yield from _unfit(inner, f"{place}[{index}]")


def _all_finite(values: list[Any]) -> bool:
    """Return whether a list holds finite numbers alone; no Python loop, since blocks are many."""
    kinds = set(map(type, values))
    return kinds <= {int, float} and (float not in kinds or (inf not in values and -inf not in values))


def _about_schema(schema: object) -> str:
    family, _, number = str(schema).partition("/")
    if any(known.startswith(f"{family}/") for known in CLASSES) and number.isdigit():
        return (
            f"schema {schema} is of another version of rnneval; this one reads {family}/1: "
            "install the version that wrote it, or make the record again"
        )
    return f"schema {schema!r} is not one of {', '.join(CLASSES)}: is this a record of rnneval?"
