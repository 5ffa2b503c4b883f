"""What is known of a file before anything is made of it: its first bytes, and what opening it said."""

import errno
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_LOCAL = struct.Struct("<4s5H3L2H")
_PARTS = {"config.json", "metadata.json"}
_SYSTEM = {errno.EACCES, errno.EPERM, errno.EIO, errno.ELOOP, errno.ENAMETOOLONG, errno.EMFILE, errno.ENOENT}


@dataclass(frozen=True, kw_only=True)
class Head:
    """The first bytes of a file."""

    path: Path
    exists: bool = True
    size: int = 0
    start: bytes = b""
    """Up to 512."""
    unfinished: tuple[str, ...] = ()
    """The members of a `.keras` file whose weights and end were never written."""


def read_head(path: Path) -> Head:
    """Read the first bytes.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(512)
        size = file.seek(0, 2)
        unfinished = _unfinished(file, size) if start.startswith(b"PK\x03\x04") else ()
    return Head(path=path, size=size, start=start, unfinished=unfinished)


def _unfinished(file: BinaryIO, size: int) -> tuple[str, ...]:
    """The members of a zip without an end, where they are those that Keras writes before the weights."""
    file.seek(max(0, size - (1 << 16) - 22))
    if b"PK\x05\x06" in file.read():
        return ()
    names: list[str] = []
    at = 0
    while at + _LOCAL.size < size and len(names) <= len(_PARTS):
        file.seek(at)
        mark, _, _, _, _, _, _, stored, _, name_size, extra_size = _LOCAL.unpack(file.read(_LOCAL.size))
        if mark != b"PK\x03\x04":
            break
        names.append(file.read(name_size).decode("utf-8", errors="replace"))
        at += _LOCAL.size + name_size + extra_size + stored
    whole = at == size  # else it was cut in the middle of a member: a copy that stopped
    return tuple(names) if whole and set(names) <= _PARTS else ()


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a file could not be opened."""

    said: str
    """In words for a person."""
    system: str = ""
    """The system's words, where it said no; "" where the file itself is broken."""
    locked: bool = False


def failure_of(error: BaseException, kind: str) -> Failure:
    """Tell the three apart: the system said no, another process has it, or it is broken; `kind` names the format."""
    words = " ".join(str(error).split())[:200]
    if isinstance(error, BlockingIOError) or "unable to lock file" in words or "already open for write" in words:
        return Failure(said=words, locked=True)
    if isinstance(error, OSError) and error.errno in _SYSTEM and error.strerror and "h5py" not in repr(type(error)):
        return Failure(said=words, system=error.strerror.split(",")[0])
    return Failure(said=f"a damaged or truncated {kind} ({words})")
