"""Records to JSON and back: one schema number, written whole or not at all, never a NaN, never a null.

Every file that rnneval writes goes through `whole_file`: whatever happens meanwhile, the old file stays or the new one
is there.
"""

import errno
import json
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from math import isfinite
from pathlib import Path
from typing import Any

import msgspec

from rnneval.errors import RecordError
from rnneval.records import Gate, Gradients, Opened, Run, Wiring
from rnneval.records._base import Stored
from rnneval.records.adding_up import problems

Record = Run | Wiring | Gate | Opened | Gradients
_CLASSES: dict[str, type[Record]] = {
    "rnneval.run/1": Run,
    "rnneval.wiring/1": Wiring,
    "rnneval.gate/1": Gate,
    "rnneval.opened/1": Opened,
    "rnneval.gradients/1": Gradients,
}

_COMMANDS: dict[type[Stored], str] = {
    Run: "evaluate",
    Wiring: "check",
    Gate: "gate",
    Opened: "open",
    Gradients: "gradients",
}


def encode(record: Stored) -> str:
    """Give the record as JSON text that reads back to an equal record.

    Raises:
        RecordError: a number of the record is not finite.
    """
    try:
        return json_text(msgspec.to_builtins(record))
    except ValueError as error:
        raise RecordError(f"a record with a number that is not finite cannot be written: {error}") from error


def json_text(plain: Any, indent: int | None = None) -> str:
    r"""Give plain data as JSON that any terminal, log and decoder takes.

    Letters stay letters. What cannot be printed (control characters, what turns the direction of writing around, halves
    of surrogate pairs from a path that is not UTF-8) is written as JSON's own escape, so that it reads back equal.

    Raises:
        ValueError: a number is not finite.

    Example:
        >>> print(json_text({"größe": "a\u202eb\x9b"}), end="")
        {"größe": "a\u202eb\u009b"}
    """
    text = json.dumps(plain, allow_nan=False, ensure_ascii=False, indent=indent) + "\n"
    return _BEYOND_ASCII.sub(lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1], text)


_BEYOND_ASCII = re.compile(r"[^\x00-\x7e]")


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
        RecordError: the file is missing, unreadable, truncated, not a record of a known schema, or holds numbers that
            contradict each other (`rnneval.records.adding_up`).
    """
    where = os.fspath(path)
    try:
        text = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise RecordError(f"{where}: cannot be read: {_reason(error)}") from error
    record = decode(text, where)
    for problem in problems(record):
        raise RecordError(
            f"{where}: {problem}: the record does not add up, so it was changed after rnneval wrote it; "
            f"make it again with rnneval {_COMMANDS[type(record)]}"
        )
    return record


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
    write_text(encode(record), path)


def write_text(text: str, path: str | os.PathLike[str]) -> None:
    """Write a text to a file in UTF-8, whole or not at all.

    Raises:
        RecordError: the file cannot be written (the old file, if any, is untouched).
    """
    write_texts({os.fspath(path): text})


def write_texts(texts: Mapping[str, str]) -> None:
    """Write several files, by path: every one is complete before the first takes its place.

    Raises:
        RecordError: one of them cannot be written.
    """
    with ExitStack() as stack:
        for path, text in texts.items():
            temporary = stack.enter_context(whole_file(path))
            # Of what rnneval writes, only a path in a text of somebody else's could hold half of a surrogate pair.
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; on leaving without an error it is synced and takes `path`'s place.

    The temporary file lies in the same folder, so that the rename is atomic; whatever ends the block early, an
    interrupt included, removes it, and where the process was killed, the next one that writes the same file does. The
    old file's permissions and owner are kept, and one that may not be written is not replaced. A symbolic link stays,
    and what it points to is replaced. What is neither a file nor a folder, such as a pipe, /dev/null, or /dev/stdout
    even where that is a file, is not replaced but gets the finished content.

    Raises:
        RecordError: the folder does not exist, the disk is full, or the file cannot be written for another reason.
    """
    try:
        target = _behind_link(Path(path))
        temporary = _create_beside(target)
    except (OSError, ValueError) as error:
        raise RecordError(f"{os.fspath(path)}: cannot be written: {_reason(error)}") from error
    try:
        with _locked(temporary):
            yield temporary
            _settle(temporary, target)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _descriptor(target) == 1:
            raise  # `--out /dev/stdout | head`: as with anything else that is printed
        raise RecordError(
            f"{os.fspath(path)}: cannot be written: {_reason(error)}; what was there is unchanged"
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


_DESCRIPTORS = {"/dev/stdout": 1, "/dev/stderr": 2, "/dev/fd/1": 1, "/dev/fd/2": 2}
_STALE_SECONDS = 60


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _descriptor(target: Path) -> int | None:
    """Give the number of the open file that the path stands for, if it stands for one."""
    return _DESCRIPTORS.get(os.fspath(target))


def _behind_link(path: Path) -> Path:
    """Give the file, there already or not, that a symbolic link stands for, else the path itself."""
    if not path.is_symlink() or _is_special(path):
        return path
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return target


def _create_beside(target: Path) -> Path:
    """Create an empty file that no other writer has, with the permissions of the old file, or of an ordinary one.

    The kernel applies the umask: asking for it from Python means changing it for all threads.
    """
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    folder = Path(tempfile.gettempdir()) if _is_special(target) else target.parent
    start = f".{target.name[:32]}."
    _remove_stale(folder, start)
    temporary = folder / f"{start}{secrets.token_hex(8)}.part"
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    return temporary


@contextmanager
def _locked(temporary: Path) -> Iterator[None]:
    """Hold a lock on the file, which the kernel gives back even where the process is killed."""
    with temporary.open("rb") as file:
        _lock(file.fileno())
        yield


def _lock(descriptor: int) -> bool:
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):  # another system, another file system, or somebody has it
        return False
    return True


def _remove_stale(folder: Path, start: str) -> None:
    """Remove what killed writers of this file left behind: nobody holds its lock, and it has not just been made."""
    with suppress(OSError):
        for left in folder.iterdir():
            if left.name.startswith(start) and left.suffix == ".part" and _is_stale(left):
                left.unlink(missing_ok=True)


def _is_stale(left: Path) -> bool:
    with suppress(OSError), left.open("rb") as file:
        return time.time() - os.fstat(file.fileno()).st_mtime > _STALE_SECONDS and _lock(file.fileno())
    return False


def _settle(temporary: Path, target: Path) -> None:
    """Bring the data to the disk and put it in its place."""
    if _is_special(target):
        _pour(temporary, target)
        return
    with temporary.open("rb+") as file:
        _like_the_old(file.fileno(), target)
        os.fsync(file.fileno())
    temporary.replace(target)
    with suppress(OSError):  # it is there; that it will be after a loss of power, not every file system can promise
        _sync_folder(target.parent)


def _pour(temporary: Path, target: Path) -> None:
    number = _descriptor(target)
    if number is not None:
        sys.stdout.flush()  # what was printed before comes before
    with temporary.open("rb") as source, open(target if number is None else os.dup(number), "wb") as sink:  # noqa: PTH123
        shutil.copyfileobj(source, sink)


def _like_the_old(descriptor: int, target: Path) -> None:
    """Give the new file the permissions of the one that it replaces, and its owner where we may."""
    with suppress(FileNotFoundError):
        old = target.stat()
        with suppress(OSError):
            os.fchown(descriptor, old.st_uid, old.st_gid)
        os.fchmod(descriptor, old.st_mode & 0o777)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_special(target: Path) -> bool:
    """Whether this is a device, a pipe, a socket or a file that is open already."""
    return _descriptor(target) is not None or (target.exists() and not target.is_file() and not target.is_dir())


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
