"""Files, written whole or not at all: whatever happens meanwhile, the old file stays or the new one is there."""

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
        raise RecordError(f"{os.fspath(path)}: cannot be written: {reason_of(error)}") from error
    try:
        with _locked(temporary):
            yield temporary
            _settle(temporary, target)
    except OSError as error:
        raise RecordError(
            f"{os.fspath(path)}: cannot be written: {reason_of(error)}; what was there is unchanged"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


_DESCRIPTORS = {"/dev/stdout": 1, "/dev/stderr": 2, "/dev/fd/1": 1, "/dev/fd/2": 2}
_STALE_SECONDS = 60


def reason_of(error: Exception) -> str:
    """Give what the system says, without its number and path."""
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
    if number is None:
        _copy(temporary, target)
        return
    sys.stdout.flush()  # what was printed before comes before
    with suppress(BrokenPipeError):  # `--out /dev/stdout | head`: as with anything else that is printed
        _copy(temporary, os.dup(number))


def _copy(temporary: Path, target: Path | int) -> None:
    with temporary.open("rb") as source, open(target, "wb") as sink:  # noqa: PTH123
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
