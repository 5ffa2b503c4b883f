"""Files that a user names: only regular ones are read, all are written completely or not at all, over no input."""

import errno
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

from rnneval.errors import RecordError, UsageError

AnyPath = str | os.PathLike[str]
Places = Mapping[str, AnyPath | Iterable[AnyPath] | None]  # files by the option or argument that names them

_PART = re.compile(r"\.(index|data-\d+-of-\d+)$")
_OPENED_BY_THE_SHELL = re.compile(r"/dev/stdin|/(dev|proc/self)/fd/\d+")
_DESCRIPTORS = {"/dev/stdout": 1, "/dev/stderr": 2, "/dev/fd/1": 1, "/dev/fd/2": 2}


def open_regular(path: AnyPath, *, stream: bool = False) -> BufferedReader:
    """Open a regular file for reading, without waiting for another process.

    With `stream`, a pipe that the shell opened is read, too: `/dev/stdin`, or `<(command)`, which is `/dev/fd/N`.

    Raises:
        OSError: the file cannot be opened, or is a folder, a named pipe, a socket or a device; `strerror` says which.
    """
    pipe = stream and _OPENED_BY_THE_SHELL.fullmatch(os.fspath(path)) is not None
    _require_regular(Path(path).stat().st_mode, path, or_pipe=pipe)  # a device is not even opened
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _require_regular(os.fstat(descriptor).st_mode, path, or_pipe=pipe)  # the path may lead elsewhere by now
        os.set_blocking(descriptor, True)
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def _require_regular(mode: int, path: AnyPath, *, or_pipe: bool) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", os.fspath(path))
    if not (stat.S_ISREG(mode) or (or_pipe and stat.S_ISFIFO(mode))):
        kind = "a named pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
        raise OSError(errno.EINVAL, f"it is {kind}: give a regular file", os.fspath(path))


def read_regular(path: AnyPath, most: int) -> bytes:
    """Read a regular file of at most `most` bytes, or raise an OSError."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        raw = b"" if size > most else file.read(most + 1)
    if max(size, len(raw)) > most:
        raise OSError(errno.EFBIG, f"it has {max(size, len(raw)):,} bytes, at most {most:,} are read", os.fspath(path))
    return raw


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object for `json.loads`; a key that stands twice is read otherwise by every program."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def checkpoint_files(path: AnyPath) -> list[Path]:
    """Return a checkpoint's path and its files: all in a SavedModel's folder, the parts of a TensorFlow checkpoint."""
    place = Path(path)
    prefix = place.with_name(_PART.sub("", place.name)) if place.name else place
    files = [place, prefix]
    with suppress(OSError, ValueError):  # a folder that cannot be listed is refused where it is opened
        files += [file for file in prefix.parent.iterdir() if _PART.sub("", file.name) == prefix.name]
        if (place / "saved_model.pb").exists():
            files += place.rglob("*")
        elif place.is_dir():
            files += [file for file in place.iterdir() if file.name == "checkpoint" or _PART.search(file.name)]
    return files


def record_files(paths: Iterable[str]) -> list[Path]:
    """Return records and tables; a folder of them, of a sweep or of a history stands for the files in it."""
    places = [Path(path) for path in paths]
    inside = [file for place in places if place.is_dir() for file in (*place.glob("*.*"), *place.glob("*/*.*"))]
    return [*places, *(file for file in inside if file.suffix in {".json", ".parquet"})]


def require_apart(outputs: Places, inputs: Places) -> None:
    """Refuse an output that is the same file as an input or as another output, under any name.

    Files are compared by device and inode, one that does not exist yet by its folder and name.
    """
    taken = {
        _identity(path): (f"{option} {path}", "is read and would be replaced") for option, path in each_place(inputs)
    }
    for option, path in each_place(outputs):
        file = _identity(path)
        if file is not None and file in taken:
            other, loss = taken[file]
            raise UsageError(f"{option} {path}: is the same file as {other}, which {loss}: give another path")
        taken[file] = f"{option} {path}", "is written as well"


def each_place(places: Places) -> Iterator[tuple[str, str]]:
    """Yield the option and the path of each file."""
    for option, given in places.items():
        for path in [given] if isinstance(given, str | os.PathLike) else given or ():
            yield option, os.fspath(path)


def _identity(path: str) -> tuple[int, int, str] | None:
    """Return device, inode, and the part of a path that does not exist yet; None for a device, a pipe, an error."""
    place, rest = Path(path), ""
    try:
        if not place.exists():
            place = Path(os.path.realpath(path))
        while not place.exists() and place != place.parent:
            place, rest = place.parent, f"{place.name}/{rest}"
        status = place.stat()
    except (OSError, ValueError):  # an impossible path is refused where it is opened
        return None
    known = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
    return (status.st_dev, status.st_ino, rest) if known else None


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, unless they are there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError(f"{folder}: cannot be made: {error.strerror or error}") from error


def write_text(text: str, path: AnyPath) -> None:
    """Write a text to a file in UTF-8, completely or not at all, or raise a RecordError."""
    write_texts({os.fspath(path): text})


def write_texts(texts: Mapping[str, str]) -> None:
    """Write several files, by path: every one is complete before the first takes its place, or raise a RecordError."""
    with ExitStack() as stack:
        for path, text in texts.items():
            temporary = stack.enter_context(whole_file(path))
            # A lone surrogate, which UTF-8 cannot encode, comes only from a file name in the text that is not UTF-8.
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


@contextmanager
def whole_file(path: AnyPath) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on leaving without an error it is synced and takes `path`'s place.

    The old file's permissions are kept, and a file without write permission is not replaced. A symbolic link stays, and
    its target is replaced. Into a pipe, a device, /dev/stdout or /dev/stderr the finished content is copied.

    Raises:
        RecordError: the file cannot be written, or the block raised an OSError; the old file is untouched.
    """
    try:
        target = Path(path)
        special = os.fspath(path) in _DESCRIPTORS or (target.exists() and not target.is_file() and not target.is_dir())
        target = target if special else Path(os.path.realpath(path))  # a symbolic link stays
        temporary = _create_beside(target, Path(tempfile.gettempdir()) if special else target.parent)
    except (OSError, ValueError) as error:
        raise RecordError(f"{os.fspath(path)}: cannot be written: {reason_of(error)}") from error
    try:
        yield temporary
        if special:
            _copy_into(temporary, target)
        else:
            _settle(temporary, target)
    except OSError as error:
        kept = "" if special else "; what was there is unchanged"
        raise RecordError(f"{os.fspath(path)}: cannot be written: {reason_of(error)}{kept}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def reason_of(error: Exception) -> str:
    """Return the system's message of an error, without its number and path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _create_beside(target: Path, folder: Path) -> Path:
    """Create an empty file in a folder that no other writer has; the kernel applies the umask, as for any file."""
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    temporary = folder / f".{target.name[:32]}.{secrets.token_hex(8)}.part"
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    return temporary


def _settle(temporary: Path, target: Path) -> None:
    """Sync the data to the disk and put it in its place, with the permissions of the old file."""
    with temporary.open("rb+") as file:
        with suppress(FileNotFoundError):
            os.fchmod(file.fileno(), target.stat().st_mode & 0o777)
        os.fsync(file.fileno())
    temporary.replace(target)


def _copy_into(temporary: Path, target: Path) -> None:
    """Copy the finished content into a device, a pipe, a socket, or standard output or error."""
    number = _DESCRIPTORS.get(os.fspath(target))
    sys.stdout.flush()  # what was printed before comes before
    with (
        suppress(BrokenPipeError),  # `--out /dev/stdout | head`: as with anything else that is printed
        temporary.open("rb") as source,
        target.open("wb") if number is None else os.fdopen(os.dup(number), "wb") as sink,
    ):
        shutil.copyfileobj(source, sink)


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """Return a key that sorts numbers by their value.

    >>> sorted(["ckpt_10", "ckpt_9", "a"], key=natural)
    ['a', 'ckpt_9', 'ckpt_10']
    """
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part)) if part.isdecimal() and part.isascii() else (1, part) for part in parts if part)
