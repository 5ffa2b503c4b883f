"""Base classes of records, and their JSON text: never a NaN, never a null."""

import json
import os
import re
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

import rnneval
from rnneval.errors import RecordError
from rnneval.paths import write_text

MOST_BYTES = 1 << 26  # Bytes of a record's file: about 370,000 blocks, so as many documents.
_MOST_QUOTES, _MOST_CONTAINERS = 1 << 20, 1 << 17
_BEYOND_ASCII = re.compile(r"[^\x00-\x7e]")
_LONGEST = 100
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Value(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A frozen, keyword-only value of plain data; a field whose default is `None` may be absent from the file."""

    # No field has another default, and `null` is never written. (Type checkers do not see that msgspec hands `frozen`
    # and `kw_only` down, so each class says them again.)


class Stored(Value, frozen=True, kw_only=True):
    """A value that is a file of its own; `print` and notebooks show the table of the terminal, `repr` is one line."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._in_one_line()}>"

    def _in_one_line(self) -> str:
        raise NotImplementedError

    def __str__(self) -> str:
        return rnneval.as_text(self)

    def _repr_html_(self) -> str:
        return rnneval.as_html(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the record to a JSON file, completely or not at all; see `rnneval.records.write`."""
        write_text(encode(self), path)


def encode(record: Stored) -> str:
    """Return the record as JSON text that `read` reads back as an equal record.

    Raises:
        RecordError: a number of the record is not finite, or the text is larger than what `read` takes.
    """
    try:
        text = json_text(msgspec.to_builtins(record))
    except ValueError as error:
        raise RecordError(f"a record with a number that is not finite cannot be written: {error}") from error
    require_small(text.encode("utf-8", "surrogatepass"), "this record cannot be written")
    return text


def json_text(plain: Any, indent: int | None = None) -> str:
    r"""Return plain data as JSON that any terminal, log and decoder takes.

    Letters stay letters. What cannot be printed (control characters, marks that turn the direction of writing, halves
    of surrogate pairs from a path that is not UTF-8) is written as JSON's own escape, so that it reads back equal.

    Raises:
        ValueError: a number is not finite.

    Example:
        >>> print(json_text({"größe": "a\u202eb\x9b"}), end="")
        {"größe": "a\u202eb\u009b"}
    """
    text = json.dumps(plain, allow_nan=False, ensure_ascii=False, indent=indent) + "\n"
    return _BEYOND_ASCII.sub(lambda match: match[0] if match[0].isprintable() else json.dumps(match[0])[1:-1], text)


def require_small(text: bytes, where: str) -> None:
    """Refuse a text that would take much memory as Python objects: by its size, its strings, its lists and objects."""
    for what, count, allowed in (
        ("bytes", len(text), MOST_BYTES),
        ("quotation marks", text.count(b'"'), _MOST_QUOTES),
        ("lists and objects", text.count(b"[") + text.count(b"{"), _MOST_CONTAINERS),
    ):
        if count > allowed:
            said = f"{count:,} {what}, a record may have {allowed:,}"
            raise RecordError(f"{where}: {said}: evaluate fewer documents or a --part of the text")


def quoted(paths: Sequence[str]) -> str:
    """Return the first path in quotes, with escapes for what cannot be printed, and the number of the others."""
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{shortened(paths[0])!r}{more}" if paths else "nothing"


def shortened(text: str) -> str:
    """Return the beginning of a text that is longer than 100 characters."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
