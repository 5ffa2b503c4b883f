"""Paths that a user names: only regular files are read, and no output replaces an input."""

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from rnneval.errors import UsageError

AnyPath = str | os.PathLike[str]

_KINDS = {
    stat.S_IFIFO: "it is a named pipe",
    stat.S_IFSOCK: "it is a socket",
    stat.S_IFCHR: "it is a device",
    stat.S_IFBLK: "it is a device",
}
_PART = re.compile(r"\.(index|data-\d+-of-\d+)$")
_OPENED_BY_THE_SHELL = re.compile(r"/dev/stdin|/(dev|proc/self)/fd/\d+")


def open_regular(path: AnyPath, *, stream: bool = False) -> BufferedReader:
    """Open a regular file for reading, without waiting for another process.

    Args:
        path: The file.
        stream: Whether a pipe that the shell opened is read, too: `/dev/stdin`, or `<(command)`, which is `/dev/fd/N`.

    Raises:
        OSError: the file cannot be opened, or is a folder, a named pipe, a socket or a device; `strerror` says which.
    """
    allowed = {stat.S_IFREG}
    if stream and _OPENED_BY_THE_SHELL.fullmatch(os.fspath(path)):
        allowed.add(stat.S_IFIFO)
    _require_kind(Path(path).stat().st_mode, allowed, path)  # a device is not even opened
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _require_kind(os.fstat(descriptor).st_mode, allowed, path)  # the path may lead elsewhere by now
        os.set_blocking(descriptor, True)
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_regular(path: AnyPath, most: int) -> bytes:
    """Read a regular file of at most `most` bytes.

    Raises:
        OSError: as `open_regular`, or the file is larger.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        raw = b"" if size > most else file.read(most + 1)
    if max(size, len(raw)) > most:
        raise OSError(errno.EFBIG, f"it has {max(size, len(raw)):,} bytes, at most {most:,} are read", os.fspath(path))
    return raw


def _require_kind(mode: int, allowed: set[int], path: AnyPath) -> None:
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, "it is a folder", os.fspath(path))
    if kind not in allowed:
        raise OSError(
            errno.EINVAL, f"{_KINDS.get(kind, 'it is no regular file')}: give a regular file", os.fspath(path)
        )


@dataclass(frozen=True, kw_only=True)
class Named:
    """A path, and the option or argument that named it."""

    option: str
    path: str


def named(option: str, *paths: AnyPath | Iterable[AnyPath] | None) -> list[Named]:
    """Return the paths of one option; None has none.

    >>> [each.path for each in named("TEXT", ("a.txt", "b.txt"), None)]
    ['a.txt', 'b.txt']
    """
    found: list[Named] = []
    for given in paths:
        several = [given] if isinstance(given, str | os.PathLike) else given or ()
        found += [Named(option=option, path=os.fspath(path)) for path in several]
    return found


def named_checkpoint(option: str, path: AnyPath) -> list[Named]:
    """Return a checkpoint's path and its files: all in a SavedModel's folder, the parts of a TensorFlow checkpoint."""
    place = Path(path)
    prefix = place.with_name(_PART.sub("", place.name)) if place.name else place
    parts = [prefix]
    with suppress(OSError, ValueError):  # a folder that cannot be listed is refused where it is opened
        parts += [each for each in prefix.parent.iterdir() if _PART.sub("", each.name) == prefix.name]
        if (place / "saved_model.pb").exists():
            parts += place.rglob("*")
        elif place.is_dir():
            parts += [each for each in place.iterdir() if each.name == "checkpoint" or _PART.search(each.name)]
    return named(option, path, parts)


def named_records(option: str, paths: Iterable[str]) -> list[Named]:
    """Return records and tables; a folder of them, of a sweep or of a history stands for the files in it."""
    found = named(option, paths)
    for path in (Path(path) for path in paths):
        if path.is_dir():
            inside = [*path.glob("*.*"), *path.glob("*/*.*")]  # a sweep keeps its records, a history its parts, in one
            found += named(option, [each for each in inside if each.suffix in {".json", ".parquet"}])
    return found


def require_apart(outputs: Iterable[Named], inputs: Iterable[Named] = ()) -> None:
    """Refuse an output that is the same file as an input or as another output, under any name.

    Files are compared by device and inode, so that hard and symbolic links are seen through. A file that does not exist
    yet is its folder and its name. Devices and pipes are compared with nothing.

    Raises:
        UsageError: names both options and both paths.
    """
    read = {key: each for each in inputs for key in _keys(each.path)}
    written: dict[tuple[int, int, str], Named] = {}
    for output in outputs:
        for key in _keys(output.path):
            if (other := read.get(key)) is not None:
                raise UsageError(
                    f"{output.option} {output.path}: is the same file as {other.option} {other.path}, which is read "
                    "and would be replaced: give another path"
                )
            if (other := written.get(key)) is not None:
                raise UsageError(
                    f"{output.option} {output.path}: is the same file as {other.option} {other.path}, and only one of "
                    "them would be left: give another path"
                )
            written[key] = output


def _keys(path: str) -> Iterator[tuple[int, int, str]]:
    """Yield the identity of a file: device, inode, and the part of its path that does not exist yet."""
    place, rest = Path(path), ""
    try:
        if not place.exists():
            place = Path(os.path.realpath(path))
        while not place.exists() and place != place.parent:
            place, rest = place.parent, f"{place.name}/{rest}"
        status = place.stat()
    except (OSError, ValueError):  # an impossible path is refused where it is opened
        return
    if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
        yield status.st_dev, status.st_ino, rest
