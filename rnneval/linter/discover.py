"""Discovery of the files to lint: those that are named, and those in named folders that are not ignored."""

import errno
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rnneval.errors import UsageError
from rnneval.linter.patterns import matches
from rnneval.linter.settings import Settings
from rnneval.records.paths import read_regular

_MOST_IGNORE_BYTES = 1 << 17
ENDINGS = (".py", ".pyi", ".ipynb")
_NEVER = frozenset({
    "__pycache__", ".git", ".hg", ".svn", ".venv", "venv", ".tox", ".nox", ".eggs", ".mypy_cache", ".ruff_cache",
    ".pytest_cache", ".ipynb_checkpoints", "node_modules", "__pypackages__", ".direnv", ".pixi",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Ignored:
    """The lines of one .gitignore, and the folder that they count from."""

    folder: str
    lines: tuple[str, ...]

    def says(self, path: str, is_folder: bool) -> bool | None:
        """Return True for ignored, False for explicitly kept, None if no line matches."""
        inside = os.path.relpath(path, self.folder).replace(os.sep, "/")
        verdict = None
        for line in self.lines:
            negated = line.startswith("!")
            pattern = line[1:] if negated else line
            if (not pattern.endswith("/") or is_folder) and matches(pattern, inside):
                verdict = not negated
        return verdict


def discover(paths: Iterable[str | os.PathLike[str]], settings: Settings) -> list[str]:
    """Return the files to read, each once, in a fixed order.

    Raises:
        UsageError: a path does not exist or is no regular file, or a .gitignore is larger than any real one.
    """
    found: dict[str, None] = {}
    for given in paths:
        path = os.fspath(given)
        if Path(path).is_dir():
            found |= dict.fromkeys(_walk(path, settings))
        elif Path(path).is_file():
            found[path] = None
        elif Path(path).exists():
            raise UsageError(f"{path}: is no regular file: give Python files, notebooks or folders")
        else:
            raise UsageError(
                f"{path}: no such file or folder: give Python files, notebooks or folders, or - for standard input"
            )
    return list(found)


def _walk(top: str, settings: Settings) -> Iterator[str]:
    """Yield the files below a folder in the order of their names; folders may be nested deeper than Python's stack."""
    waiting = [(top, True, _above(top))]
    while waiting:
        path, is_folder, ignored = waiting.pop()
        if not is_folder:
            yield os.path.normpath(path)
            continue
        own = _read_ignore(path)
        ignored = (*ignored, own) if own else ignored
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name, reverse=True)
        except OSError:
            yield path  # it is reported as a file that cannot be read
            continue
        waiting += [
            (entry.path, entry.is_dir(follow_symlinks=False), ignored)
            for entry in entries
            if _is_wanted(entry, ignored, settings)
        ]


def _is_wanted(entry: os.DirEntry[str], ignored: tuple[_Ignored, ...], settings: Settings) -> bool:
    """Return whether an entry of a folder is a folder to search or a file to read."""
    is_folder = entry.is_dir(follow_symlinks=False)
    if (is_folder and entry.name in _NEVER) or (not is_folder and not entry.name.endswith(ENDINGS)):
        return False
    # The nearest .gitignore that has a line for the entry decides.
    verdicts = (file.says(entry.path, is_folder) for file in reversed(ignored))
    if next((verdict for verdict in verdicts if verdict is not None), False):
        return False
    if any(settings.covers(line, entry.path) for line in settings.exclude):
        return False
    return is_folder or Path(entry).is_file()  # of a link to itself, the entry's own is_file raises an error


def _above(top: str) -> tuple[_Ignored, ...]:
    """Read the .gitignore files of the repository above a folder, outermost first."""
    found: list[_Ignored] = []
    folder = Path(top).absolute()
    if (folder / ".git").exists():
        return ()
    for parent in folder.parents:
        own = _read_ignore(str(parent))
        found += [own] if own else []
        if (parent / ".git").exists():
            return tuple(reversed(found))
    return ()


def _read_ignore(folder: str) -> _Ignored | None:
    file = Path(folder, ".gitignore")
    try:
        if not file.is_file():
            return None
        text = read_regular(file, _MOST_IGNORE_BYTES).decode("utf-8", errors="replace")
    except OSError as error:
        if error.errno != errno.EFBIG:
            return None  # what may not be read ignores nothing
        raise UsageError(f"{file}: {error.strerror}: name the files to lint, or shorten it") from error
    lines = (line.rstrip("\r\n").rstrip(" ") for line in text.split("\n"))
    kept = tuple(
        line.removeprefix("\\") if line.startswith("\\#") else line
        for line in lines
        if line and not line.startswith("#")
    )
    return _Ignored(folder, kept) if kept else None
