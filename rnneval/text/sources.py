"""Texts from the disk or from memory: bytes → characters, strictly; a hash and a byte-order mark a file."""

import hashlib
import io
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import BinaryIO

from rnneval.errors import TextError, UsageError, is_plainly_text, named_in_message
from rnneval.options import Paths
from rnneval.records import run
from rnneval.records.paths import open_regular

CHUNK_BYTES = 1 << 20
"""Bytes read at a time."""
MOST_STREAMED_BYTES = 1 << 28
"""Most bytes of a text from a pipe, which may have no end and would fill the memory."""
_DIGITS = "[0-9]{1,18}"
_BOUND = rf"-?(?:{_DIGITS}|{_DIGITS}\.?%|(?:{_DIGITS})?\.{_DIGITS}%)"
_SPEC = re.compile(rf"(?P<start>{_BOUND})?:(?P<stop>{_BOUND})?")
_MAGICS = {
    b"version https://git-lfs": "is a Git LFS pointer, not the text itself: fetch it with git lfs pull",
    b"\xff\xfe": "is UTF-16: convert it with iconv -f UTF-16 -t UTF-8",
    b"\xfe\xff": "is UTF-16: convert it with iconv -f UTF-16 -t UTF-8",
    b"\x1f\x8b": "is compressed by gzip: unpack it first (gunzip)",
    b"PK\x03\x04": "is a zip archive (a .keras model is one): give the checkpoint first, then text files",
    b"\x89HDF": "is an HDF5 file: give the checkpoint first, then text files",
}


@dataclass(frozen=True, kw_only=True)
class Part:
    """A slice of a text of yet unknown length; each bound is characters, or per cent of them, or open (None)."""

    start: str | None
    stop: str | None

    @classmethod
    def parse(cls, spec: str, option: str = "--part") -> "Part":
        """Parse a slice such as `90%:`, the value of the option."""
        match = _SPEC.fullmatch(spec.strip())
        if match is None:
            raise UsageError(
                f"{option} {spec!r} is not a slice: give START:STOP in characters or per cent, "
                "such as 90%:, :90%, 10%:20%, 99.5%:, -10%:, 100:200 or -1000: (no step)"
            )
        return cls(start=match["start"], stop=match["stop"])

    def resolve(self, characters: int) -> range:
        """Return the range of characters in a text of so many, by Python's slice rules; per cents are rounded down.

        >>> Part.parse("90%:").resolve(1_115_394)
        range(1003854, 1115394)
        >>> Part.parse("-10%:").resolve(1_115_394) == Part.parse("90%:").resolve(1_115_394)
        True
        """
        bounds: list[int | None] = []
        for bound in (self.start, self.stop):
            if bound is not None and bound.endswith("%"):  # exactly, since 0.29 · 100 is not 29 in floating point
                bounds.append(floor(Fraction(bound[:-1]) * characters / 100))
            else:
                bounds.append(None if bound is None else int(bound))
        return range(characters)[slice(*bounds)]


@dataclass(frozen=True, kw_only=True)
class TakenFile:
    """A file of a text, and which of its characters belong to the text (all of them without `--part`)."""

    path: str
    sha256: str
    characters: range


def place_after(text: str) -> str:
    r"""Name the place after a text: the offset from 0, line and column from 1.

    >>> place_after("ab\ncd")
    'character offset 5, line 2, column 3'
    """
    line, column = text.count("\n") + 1, len(text) - text.rfind("\n")
    return f"character offset {len(text):,}, line {line:,}, column {column:,}"


@dataclass(frozen=True, kw_only=True)
class InMemory:
    """A text in memory. It is read as a file that holds its UTF-8 bytes."""

    text: str


def text_given(paths: Paths | None, string: str | None) -> Paths | InMemory:
    """Return the one text that was given: files, or a string."""
    if string is None:
        if paths is None:
            raise UsageError("no text was given: name at least one UTF-8 file, or give string=… for text in memory")
        return paths
    if paths is not None:
        raise UsageError("both files and string=… were given as the text: give one of them")
    if not isinstance(string, str):
        raise UsageError(f"string is a {type(string).__name__}, a str is needed: decode bytes, join lists")
    return InMemory(text=string)


class Sources:
    """The files of one text; `files` and `warnings` are complete once they are read."""

    def __init__(self, text: Paths | InMemory) -> None:
        self._sources: list[InMemory | str] = []
        if isinstance(text, InMemory):
            self._sources = [text]
        else:
            self._sources += [os.fspath(path) for path in ([text] if isinstance(text, str | os.PathLike) else text)]
        if not self._sources:
            raise UsageError("no text was given: name at least one UTF-8 file")
        self.files: list[run.TextFile] = []
        """One entry per file that was read to its end, with the hash of its raw bytes."""
        self.warnings: list[run.Warning] = []
        self.texts: list[str] = []
        """The characters of each file that was read."""

    @property
    def name(self) -> str:
        """Name of the text in messages."""
        first, more = _name(self._sources[0]), len(self._sources) - 1
        return f"{first} and {more} more" if more else first

    def read(self) -> Iterator[str]:
        """Decode every file, each on its own, without its byte-order mark."""
        for source in self._sources:
            name, raw = _name(source), b"".join(_raw_chunks(source))
            text = _decoded(raw, name)
            if text.startswith("\ufeff"):
                text = text[1:]
                self.warnings.append(run.Warning(code="bom", message=f"{name}: a byte-order mark was dropped"))
            path = "" if isinstance(source, InMemory) else source
            self.files.append(run.TextFile(path=path, sha256=hashlib.sha256(raw).hexdigest()))
            self.texts.append(text)
            yield text

    def found_at(self, character: int) -> str:
        """Name the place of a character of the joined files."""
        for source, text in zip(self._sources, self.texts, strict=True):
            if character < len(text):
                of = f" of {_name(source)}" if len(self._sources) > 1 else ""
                return f"{place_after(text[:character])}{of}"
            character -= len(text)
        raise IndexError(character)

    def wanted(self, part: Part | None) -> range:
        """Return the characters of the joined files that lie in the part."""
        total = sum(map(len, self.texts))
        return range(total) if part is None else part.resolve(total)

    def taken(self, part: Part | None) -> tuple[TakenFile, ...]:
        """Return the files that were read, each with the characters of it that lie in the part."""
        wanted, place, found = self.wanted(part), 0, []
        for file, text in zip(self.files, self.texts, strict=True):
            inside = range(len(text))[max(wanted.start - place, 0) : max(wanted.stop - place, 0)]
            found.append(TakenFile(path=file.path, sha256=file.sha256, characters=inside))
            place += len(text)
        return tuple(found)


def refuse_overlap(fitted: Iterable[TakenFile], scored: Sequence[TakenFile]) -> None:
    """Refuse a baseline that is fitted on characters that are scored, in the same file or a copy of it."""
    for file in fitted:
        for other in scored:
            start = max(file.characters.start, other.characters.start)
            stop = min(file.characters.stop, other.characters.stop)
            if file.sha256 == other.sha256 and start < stop:
                raise UsageError(
                    f"--fit-on {file.path}: characters {start:,} to {stop - 1:,} are scored too, so the baseline would "
                    "know the held-out text: give another text, or another part of it (--fit-part, such as :90%)"
                )


def _name(source: InMemory | str) -> str:
    return "the text in memory" if isinstance(source, InMemory) else source


def _status(path: str) -> os.stat_result:
    try:
        status = Path(path).stat()
    except (OSError, ValueError) as error:
        raise TextError(_unreadable(path, error)) from error
    if stat.S_ISDIR(status.st_mode):
        raise TextError(f"{path}: is a folder, a text file is needed: name its files, such as {Path(path) / '*.txt'}")
    return status


def _unreadable(path: str, error: Exception) -> str:
    if is_plainly_text(path) and not os.path.lexists(path):
        said = "no such file; it looks like the text itself: give a file's path, or in Python string=… for a text"
        return f"{named_in_message(path)}: {said}"
    if isinstance(error, FileNotFoundError):
        return f"{path}: no such file: give the path of a UTF-8 text, from {Path.cwd()} or absolute"
    why = error.strerror if isinstance(error, OSError) else str(error)
    return f"{path}: cannot be read: {why}: a readable UTF-8 text file is needed"


def _opened(source: InMemory | str) -> BinaryIO:
    """Open a file, a pipe that the shell opened, or a text in memory as its bytes."""
    if isinstance(source, str):
        _status(source)
        try:
            return open_regular(source, stream=True)
        except OSError as error:
            raise TextError(_unreadable(source, error)) from error
    try:
        return io.BytesIO(source.text.encode())
    except UnicodeEncodeError as error:
        raise TextError(
            f"{_name(source)}: character {source.text[error.start]!r} at position {error.start:,} has no UTF-8 bytes "
            f"({error.reason}): decode the text without surrogateescape"
        ) from error


def _raw_chunks(source: InMemory | str) -> Iterator[bytes]:
    """Read a text in chunks, unless its first bytes say that it is something else."""
    with _opened(source) as file:
        streamed = isinstance(source, str) and not stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        place = 0
        try:
            while raw := file.read(CHUNK_BYTES):
                magic = next((magic for magic in _MAGICS if raw.startswith(magic)), None) if place == 0 else None
                if magic is not None:
                    raise TextError(f"{_name(source)}: {_MAGICS[magic]}; a UTF-8 text is needed")
                place += len(raw)
                if streamed and place > MOST_STREAMED_BYTES:
                    raise TextError(
                        f"{source}: more than {MOST_STREAMED_BYTES:,} bytes from a pipe, whose end is not known: "
                        "write the text to a file first"
                    )
                yield raw
        except OSError as error:
            raise TextError(_unreadable(_name(source), error)) from error


def _decoded(raw: bytes, name: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        seen = f"0x{raw[error.start]:02X}"
        raise TextError(
            f"{name}: not UTF-8: byte {seen} at offset {error.start:,} ({error.reason}): "
            "convert it, such as with iconv -f WINDOWS-1252 -t UTF-8"
        ) from error
