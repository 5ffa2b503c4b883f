"""The files to check: those that are named, and those in named folders.

In a work tree of git these are the files that git does not ignore, elsewhere all but those in hidden folders and
environments.
"""

import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from rnneval.errors import UsageError

_ENDINGS = (".py", ".pyi", ".ipynb")
_NAMED_ENDINGS = (*_ENDINGS, ".pyw", "")  # of files that are named; scripts may have no ending
_NEVER = frozenset({"__pycache__", "__pypackages__", "node_modules", "venv"})


def discover(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Return the files to read, each once: in the order of the paths, below a folder in the order of their names."""
    files: dict[str, None] = {}
    for given in paths:
        path = os.fspath(given)
        if Path(path).is_dir():
            listed = _known_to_git(path)
            below = sorted(_walk(path) if listed is None else listed, key=lambda file: Path(file).parts)
            files |= {os.path.normpath(file): None for file in below}
        elif Path(path).is_file() and Path(path).suffix.lower() in _NAMED_ENDINGS:
            files[path] = None
        else:
            what = "is no regular file" if Path(path).exists() else "no such file or folder"
            what = "neither Python nor a notebook" if Path(path).is_file() else what
            raise UsageError(f"{path}: {what}: give Python files, notebooks or folders, or - for standard input")
    return list(files)


def _known_to_git(folder: str) -> list[str] | None:
    """Return the files below a folder that git keeps or would keep; None outside of a work tree, or without git."""
    # A repository may name a program for git to run, the file system monitor: none is run.
    command = ["git", "-C", folder, "-c", "core.fsmonitor=false"]
    command += ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - git, and no shell
    except OSError:
        return None
    if done.returncode:
        return None
    names = map(os.fsdecode, done.stdout.split(b"\0"))
    paths = (Path(folder, name) for name in names if name.endswith(_ENDINGS))
    return [str(path) for path in paths if path.is_file()]


def _walk(top: str) -> Iterator[str]:
    """Yield the files below a folder; folders may be nested deeper than Python's stack."""
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError:
            yield folder  # it is reported as a file that cannot be read
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                hidden = entry.name.startswith(".") or entry.name in _NEVER
                waiting += [] if hidden or Path(entry, "pyvenv.cfg").exists() else [entry.path]
            elif entry.name.endswith(_ENDINGS) and Path(entry).is_file():  # of a link to itself, entry.is_file fails
                yield entry.path
