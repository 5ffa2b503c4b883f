"""Records to JSON and back: one schema number, written whole or not at all, never a NaN, never a null.

Parquet tables carry their schema, signature and hashes in the file's own metadata (`table_metadata`).
"""

import errno
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import isfinite
from pathlib import Path
from typing import Any

import msgspec

from rnneval.errors import RecordError
from rnneval.records import Gate, Gradients, Opened, Run, Wiring
from rnneval.records._base import Stored

Record = Run | Wiring | Gate | Opened | Gradients
_CLASSES: dict[str, type[Record]] = {
    "rnneval.run/1": Run,
    "rnneval.wiring/1": Wiring,
    "rnneval.gate/1": Gate,
    "rnneval.opened/1": Opened,
    "rnneval.gradients/1": Gradients,
}


def encode(record: Stored) -> str:
    """Give the record as JSON text that reads back to an equal record.

    Raises:
        RecordError: a number of the record is not finite.
    """
    try:
        return json.dumps(msgspec.to_builtins(record), allow_nan=False, ensure_ascii=False) + "\n"
    except ValueError as error:
        raise RecordError(f"a record with a number that is not finite cannot be written: {error}") from error


def decode(text: str | bytes, where: str = "the record") -> Record:
    """Read a record from JSON text.

    Args:
        text: The JSON object.
        where: What to call it in an error, such as its path.

    Raises:
        RecordError: not JSON, another schema, or keys and values that the schema does not allow.
    """
    plain = _plain(text, where)
    schema = plain.get("schema")
    if not isinstance(schema, str) or schema not in _CLASSES:
        raise RecordError(f"{where}: {_about_schema(schema)}")
    try:
        return msgspec.convert(plain, _CLASSES[schema])
    except msgspec.ValidationError as error:
        raise RecordError(
            f"{where}: not a valid {schema} record: {error}; a record is written by rnneval alone: make it again"
        ) from error


def read(path: str | os.PathLike[str]) -> Record:
    """Read a record from a JSON file.

    Raises:
        RecordError: the file is missing, unreadable, truncated, or not a record of a known schema.
    """
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise RecordError(f"{os.fspath(path)}: cannot be read: {error.strerror or error}") from error
    return decode(text, os.fspath(path))


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
    """Write the record to a JSON file, whole or not at all: an older file stays until the new one is complete.

    Raises:
        RecordError: the file cannot be written (the old file, if any, is untouched).
    """
    text = encode(record)
    with whole_file(path) as temporary:
        # Paths that are not UTF-8 hold lone surrogates: "backslashreplace" writes these as JSON's own escapes.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; on leaving without an error it is synced and takes `path`'s place.

    The temporary file lies in the same folder, so that the rename is atomic; whatever ends the block early, an
    interrupt included, removes it. A symbolic link stays, and what it points to is replaced. What is neither a file nor
    a folder, such as /dev/stdout, a pipe or /dev/null, is not replaced but gets the finished content.

    Raises:
        RecordError: the folder does not exist, the disk is full, or the file cannot be written for another reason.
    """
    try:
        target = _behind_link(Path(path))
        temporary = _create_beside(target)
    except OSError as error:
        raise RecordError(f"{os.fspath(path)}: cannot be written: {error.strerror or error}") from error
    try:
        yield temporary
        _settle(temporary, target)
    except OSError as error:
        raise RecordError(
            f"{os.fspath(path)}: cannot be written: {error.strerror or error}; what was there is unchanged"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def json_schema(schema: str) -> dict[str, Any]:
    """Give the JSON Schema (2020-12) of a record, by its schema name such as `rnneval.run/1`."""
    generated = msgspec.json.schema(_CLASSES[schema])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": schema, **_without_null(generated)}


def schema_names() -> tuple[str, ...]:
    """Name every schema that can be read."""
    return tuple(_CLASSES)


def _behind_link(path: Path) -> Path:
    """Give the file, there already or not, that a symbolic link stands for, else the path itself."""
    return Path(os.path.realpath(path)) if path.is_symlink() and not _is_special(path) else path


def _create_beside(target: Path) -> Path:
    """Create an empty file that no other writer has, with the permissions of an ordinary file.

    The kernel applies the umask: asking for it from Python means changing it for all threads.
    """
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    folder = Path(tempfile.gettempdir()) if _is_special(target) else target.parent
    temporary = folder / f".{target.name[:32]}.{secrets.token_hex(8)}.part"
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    return temporary


def _settle(temporary: Path, target: Path) -> None:
    """Bring the data to the disk and put it in its place."""
    if _is_special(target):
        with temporary.open("rb") as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink)
        return
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(target)


def _is_special(target: Path) -> bool:
    """Whether this is a device, a pipe or a socket."""
    return target.exists() and not target.is_file() and not target.is_dir()


def _plain(text: str | bytes, where: str) -> dict[str, Any]:
    try:
        plain = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
        absent = next(_nulls(plain, ""), None)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{where}: not a whole JSON file ({error}): a record is one JSON object") from error
    if not isinstance(plain, dict):
        raise RecordError(f"{where}: holds a JSON {type(plain).__name__}, a record is one JSON object")
    if absent is not None:
        raise RecordError(f"{where}: null at {absent}: what cannot be had is absent from a record, never null")
    return plain


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number that a record may hold")


def _finite(digits: str) -> float:
    number = float(digits)
    return number if isfinite(number) else _refuse_constant(digits)


def _nulls(value: Any, place: str) -> Iterator[str]:
    if value is None:
        yield place.lstrip(".")
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _nulls(inner, f"{place}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _nulls(inner, f"{place}[{index}]")


def _about_schema(schema: object) -> str:
    family, _, number = str(schema).partition("/")
    if any(known.startswith(f"{family}/") for known in _CLASSES) and number.isdigit():
        return (
            f"schema {schema} is of another version of rnneval; this one reads {family}/1: "
            "install the version that wrote it, or make the record again"
        )
    return f"schema {schema!r} is not one of {', '.join(_CLASSES)}: is this a record of rnneval?"


def _without_null(schema: Any) -> Any:
    """Drop what msgspec allows and a record does not: null for a key that may be absent."""
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
