"""Facts about a path before its content is read: first bytes, entries of a folder, and why opening failed."""

import errno
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_BEFORE_WEIGHTS = {"config.json", "metadata.json"}
_SYSTEM = {errno.EACCES, errno.EPERM, errno.EIO, errno.ELOOP, errno.ENAMETOOLONG, errno.EMFILE, errno.ENOENT}
_PLAIN = {stat.S_IFREG, stat.S_IFDIR}
_MOST_STATE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Head:
    """First bytes of a file."""

    path: Path
    exists: bool = True
    size: int = 0
    start: bytes = b""
    """The first bytes, up to 512."""
    unfinished: tuple[str, ...] = ()
    """The members of a `.keras` file whose weights and end were never written."""


def read_head(path: Path) -> Head:
    """Read the first bytes of a file."""
    with path.open("rb") as file:
        start = file.read(512)
        size = file.seek(0, 2)
        unfinished = _unfinished(file, size) if start.startswith(b"PK\x03\x04") else ()
    return Head(path=path, size=size, start=start, unfinished=unfinished)


def _unfinished(file: BinaryIO, size: int) -> tuple[str, ...]:
    """Return the members of a zip without an end, if Keras writes all of them before the weights."""
    file.seek(max(0, size - (1 << 16) - 22))
    if b"PK\x05\x06" in file.read():
        return ()
    names: list[str] = []
    at = 0
    while at + _LOCAL_HEADER.size < size and len(names) <= len(_BEFORE_WEIGHTS):
        file.seek(at)
        mark, _, _, _, _, _, _, stored, _, name_size, extra_size = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        if mark != b"PK\x03\x04":
            break
        names.append(file.read(name_size).decode("utf-8", errors="replace"))
        at += _LOCAL_HEADER.size + name_size + extra_size + stored
    complete = at == size  # else it was cut in the middle of a member: a copy that stopped
    return tuple(names) if complete and set(names) <= _BEFORE_WEIGHTS else ()


def graph_in(head: bytes) -> str | None:
    r"""Return a sentence about a `.pb` file with a graph of TensorFlow, by its first bytes; None if it is not one.

    >>> graph_in(b"\n\x0b\n\x01a\x12\x05Const")[:14], graph_in(b"\n\na\n")
    ('a frozen graph', None)
    """
    if head.startswith((b"\x08\x01\x12", b"\x08\x00\x12")):
        return (
            "the graph of a SavedModel (saved_model.pb): give its folder, in which variables/ lies beside it, and "
            "--builder FILE.py:NAME"
        )
    # A GraphDef begins with field 1, a node; the node has its name in field 1 and its operation in field 2.
    node = _content_of_field_1(head, 0)
    name = None if node is None else _content_of_field_1(head, node)
    if name is None:
        return None
    name_end = name + head[name - 1]
    if head[name_end : name_end + 1] != b"\x12":
        return None
    return (
        "a frozen graph of TensorFlow (GraphDef): its weights are constants between operations, and it would have "
        "to be run: give the checkpoint it was frozen from (model.ckpt-… with its .index and .data files) and "
        "--builder FILE.py:NAME"
    )


def _content_of_field_1(head: bytes, place: int) -> int | None:
    """Return where the content of a field 1 of bytes begins; its length may take several bytes."""
    if head[place : place + 1] != b"\x0a":
        return None
    place += 1
    while place < len(head) and head[place] & 0x80:
        place += 1
    return place + 1 if place < len(head) else None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Reason why a file could not be opened."""

    said: str
    """A phrase for the user."""
    system: str = ""
    """The message of the operating system, if it refused; "" if the file itself is broken."""
    locked: bool = False


def failure_of(error: BaseException, kind: str) -> Failure:
    """Classify an error: the system refused, another process has the file, or it is broken; `kind` names the format."""
    words = " ".join(str(error).split())[:200]
    if isinstance(error, BlockingIOError) or "unable to lock file" in words or "already open for write" in words:
        return Failure(said=words, locked=True)
    if isinstance(error, OSError) and error.errno in _SYSTEM and error.strerror and "h5py" not in repr(type(error)):
        return Failure(said=words, system=error.strerror.split(",")[0])
    return Failure(said=f"a damaged or truncated {kind} ({words})")


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Entries of a folder, and where they lead."""

    names: tuple[str, ...]
    named_outside: tuple[str, ...] = ()
    """Paths out of the folder that its file `checkpoint` names."""
    outside: tuple[str, ...] = ()
    """Entries that are links out of the folder."""
    special: tuple[str, ...] = ()
    """Entries that are neither file nor folder."""


@dataclass(frozen=True, kw_only=True)
class SavedModelGraph:
    """Program of a SavedModel."""

    size: int
    has_builder: bool


def parts_of(folder: Path, parts: list[Path], *, named: str = "") -> Folder:
    """Return where the parts of a checkpoint lead; `named` is the checkpoint that its state file names."""
    root = folder.resolve()
    # A training writes its own path, which may be absolute: the last part must be in this folder.
    leads_out = ".." in named.split("/") or "\\" in named or "://" in named
    return Folder(
        names=tuple(sorted(part.name for part in parts)),
        named_outside=(named,) if leads_out else (),
        outside=tuple(part.name for part in parts if not part.resolve().is_relative_to(root)),
        special=tuple(part.name for part in parts if part.exists() and stat.S_IFMT(part.stat().st_mode) not in _PLAIN),
    )


def state_of(folder: Path) -> str:
    """Return the checkpoint that the folder's state file `checkpoint` names; "" if there is none."""
    state = folder / "checkpoint"
    if not state.is_file() or state.stat().st_size > _MOST_STATE:
        return ""
    for line in state.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model_checkpoint_path":
            return value.strip().strip('"')
    return ""
