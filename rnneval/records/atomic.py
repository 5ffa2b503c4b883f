"""Atomic writing of files: whatever happens meanwhile, the old file stays or the new one is complete."""

import errno
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from rnneval.errors import RecordError


def write_text(text: str, path: str | os.PathLike[str]) -> None:
    """Write a text to a file in UTF-8, completely or not at all.

    Raises:
        RecordError: the file cannot be written (the old file, if any, is untouched).
    """
    write_texts({os.fspath(path): text})


def write_texts(texts: Mapping[str, str]) -> None:
    """Write several files, by path: every one is complete before the first takes its place.

    The set is not atomic: if a file cannot take its place then, those that already have theirs stay new.

    Raises:
        RecordError: one of them cannot be written.
    """
    with ExitStack() as stack:
        for path, text in texts.items():
            temporary = stack.enter_context(whole_file(path))
            # A lone surrogate, which UTF-8 cannot encode, comes only from a file name in the text that is not UTF-8.
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on leaving without an error it is synced and takes `path`'s place.

    The temporary file lies in the same folder, so that the rename is atomic. It is removed if the block ends early, by
    an interrupt too; after a kill, the next process that writes the same file more than a minute later removes it. The
    old file's permissions and owner are kept, and a file without write permission is not replaced. A symbolic link
    stays, and its target is replaced. A path that is neither a file nor a folder, such as a pipe, /dev/null, or
    /dev/stdout even if that is a file, is not replaced: the temporary file lies in the system's folder for them, and
    the finished content is copied.

    Raises:
        RecordError: the folder does not exist, the disk is full, or the file cannot be written for another reason. Any
            `OSError` of the block itself becomes one, too. The old file is then untouched; a pipe or a device may have
            got a part of the content.
    """
    try:
        target = _behind_link(Path(path))
        temporary = _create_beside(target)
        kept = "" if _is_special(target) else "; what was there is unchanged"
    except (OSError, ValueError) as error:
        raise RecordError(f"{os.fspath(path)}: cannot be written: {reason_of(error)}") from error
    try:
        with _locked(temporary):
            yield temporary
            _settle(temporary, target)
    except OSError as error:
        raise RecordError(f"{os.fspath(path)}: cannot be written: {reason_of(error)}{kept}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


_DESCRIPTORS = {"/dev/stdout": 1, "/dev/stderr": 2, "/dev/fd/1": 1, "/dev/fd/2": 2}
_STALE_SECONDS = 60
"""Age from which an unlocked temporary file counts as left over: a younger one may be about to be locked."""


def reason_of(error: Exception) -> str:
    """Return the system's message of an error, without its number and path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _behind_link(path: Path) -> Path:
    """Return the target of a symbolic link, whether it exists or not, else the path itself."""
    if not path.is_symlink() or _is_special(path):
        return path
    target = Path(os.path.realpath(path))
    if target.is_symlink():  # links that lead to each other
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return target


def _create_beside(target: Path) -> Path:
    """Create an empty file that no other writer has, beside the target; for a device or pipe, in the temporary folder.

    With the mode 0o666 the kernel applies the umask, as for an ordinary file. Python can read the umask only by setting
    it, which would affect other threads.
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
    """Try to hold a lock on the file while the block runs; the kernel releases it even if the process is killed."""
    with temporary.open("rb") as file:
        _lock(file.fileno())
        yield


def _lock(descriptor: int) -> bool:
    """Try to lock an open file, without waiting; return whether it is locked now."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):  # another system, another file system, or another process has it
        return False
    return True


def _remove_stale(folder: Path, start: str) -> None:
    """Remove temporary files of killed writers: their lock is free, and they have not just been made."""
    with suppress(OSError):
        for left in folder.iterdir():
            if left.name.startswith(start) and left.suffix == ".part" and _is_stale(left):
                left.unlink(missing_ok=True)


def _is_stale(left: Path) -> bool:
    with suppress(OSError), left.open("rb") as file:
        return time.time() - os.fstat(file.fileno()).st_mtime > _STALE_SECONDS and _lock(file.fileno())
    return False


def _settle(temporary: Path, target: Path) -> None:
    """Sync the data to the disk and put it in its place."""
    if _is_special(target):
        _copy_into(temporary, target)
        return
    with temporary.open("rb+") as file:
        _copy_permissions(file.fileno(), target)
        os.fsync(file.fileno())
    temporary.replace(target)
    with suppress(OSError):  # not every file system can promise that the new name survives a loss of power
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _copy_into(temporary: Path, target: Path) -> None:
    """Copy the finished content into a device, a pipe, a socket, or standard output or error."""
    number = _DESCRIPTORS.get(os.fspath(target))
    if number is None:
        _copy(temporary, target)
        return
    sys.stdout.flush()  # what was printed before comes before
    with suppress(BrokenPipeError):  # `--out /dev/stdout | head`: as with anything else that is printed
        _copy(temporary, os.dup(number))


def _copy(temporary: Path, target: Path | int) -> None:
    with temporary.open("rb") as source, open(target, "wb") as sink:  # noqa: PTH123
        shutil.copyfileobj(source, sink)


def _copy_permissions(descriptor: int, target: Path) -> None:
    """Set the permissions of the file that is replaced, and its owner if that is allowed."""
    with suppress(FileNotFoundError):
        old = target.stat()
        with suppress(OSError):
            os.fchown(descriptor, old.st_uid, old.st_gid)
        os.fchmod(descriptor, old.st_mode & 0o777)


def _is_special(target: Path) -> bool:
    """Return whether this is a device, a pipe, a socket, or one of /dev/stdout, /dev/stderr, /dev/fd/1, /dev/fd/2."""
    return os.fspath(target) in _DESCRIPTORS or (target.exists() and not target.is_file() and not target.is_dir())
