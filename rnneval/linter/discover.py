"""The files to lint and the rules asked for in each: settings of a project, discovery of files, patterns of paths.

Settings are `[tool.rnneval.lint]` of pyproject.toml, and the options that replace it. Files are those that are named,
and those in named folders that are not ignored.

Patterns of paths are written as in .gitignore: `*`, `?`, `[…]`, `**`, slashes that anchor or mean folders. A pattern
and a path are compared in time proportional to the product of their lengths, whatever the pattern is: Python's
`fnmatch` does that within one name, by atomic groups; names are compared one after the other.
"""

import errno
import fnmatch
import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from rnneval.errors import UsageError
from rnneval.linter.finding import chosen
from rnneval.records.paths import read_regular

MOST_BYTES = 1 << 18
"""Bytes of a pyproject.toml."""
MOST_DOTS = 1000
"""Dots in one line: the time that `tomllib` takes for a dotted key grows with their square."""
_LISTS, _TABLE = ("select", "ignore", "exclude"), "per-file-ignores"
_MOST_IGNORE_BYTES = 1 << 17
ENDINGS = (".py", ".pyi", ".ipynb")
_NEVER = frozenset({
    "__pycache__", ".git", ".hg", ".svn", ".venv", "venv", ".tox", ".nox", ".eggs", ".mypy_cache", ".ruff_cache",
    ".pytest_cache", ".ipynb_checkpoints", "node_modules", "__pypackages__", ".direnv", ".pixi",
})  # fmt: skip
_SET = re.compile(r"\\(?P<escaped>.)|\[(?P<set>[!^]?\]?[^]]*)\]", re.DOTALL)
_OPEN = re.compile(r"\\(?P<escaped>.)|(?P<other>\[)", re.DOTALL)


# Patterns


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> tuple[re.Pattern[str] | None, ...]:
    """Translate a pattern to one expression for each name of a path; None for `**`, once where it is repeated."""
    body = pattern.strip("/") if pattern != "/" else ""
    anchored = "/" in pattern.rstrip("/")
    names = body.split("/")
    if names[-1] == "**":
        names[-1] = "*"  # at the end, all that is in the folder: at least one name
    if not anchored:
        names.insert(0, "**")
    several = [name for name, before in zip(names, ["", *names], strict=False) if not name == before == "**"]
    return tuple(None if name == "**" else re.compile(fnmatch.translate(_plain(name))) for name in several)


def matches(pattern: str, path: str) -> bool:
    """Return whether the pattern covers the path, or a folder above it.

    >>> matches("build/", "a/build/b.py"), matches("/build", "a/build/b.py")
    (True, False)
    """
    parts = compiled(pattern)
    reached = _with_skips({0}, parts)  # how many parts the names up to here may have used up
    for name in path.split("/"):
        after = {at if part is None else at + 1 for at in reached if (part := parts[at]) is None or part.match(name)}
        reached = _with_skips(after, parts)
        if len(parts) in reached:
            return True
        if not reached:
            return False
    return False


def _with_skips(reached: set[int], parts: tuple[re.Pattern[str] | None, ...]) -> set[int]:
    """Add what is reached where `**` stands for no folder."""
    return reached | {at + 1 for at in reached if at < len(parts) and parts[at] is None}


def _plain(name: str) -> str:
    r"""Write a name as `fnmatch` reads it, which has no `\` and no `[^…]`, and is slow where a `[` has no end."""
    closed = name.rfind("]") + 1
    return _SET.sub(_as_fnmatch, name[:closed]) + _OPEN.sub(_as_fnmatch, name[closed:])


def _as_fnmatch(token: re.Match[str]) -> str:
    found = {key: text for key, text in token.groupdict().items() if text is not None}
    if "set" in found:
        return f"[!{found['set'][1:]}]" if found["set"].startswith("^") else token[0]
    escaped = found.get("escaped") or found["other"]
    return f"[{escaped}]" if escaped in "*?[" else escaped


# Settings


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The rules that are asked for, and the files in which they are."""

    select: frozenset[str] | None = None
    """Codes; None for all."""
    ignore: frozenset[str] = frozenset()
    per_file: tuple[tuple[str, frozenset[str]], ...] = ()
    """Patterns with the codes that are not asked for in files that match."""
    exclude: tuple[str, ...] = ()
    root: Path = field(default_factory=Path.cwd)
    """Patterns are relative to this folder."""

    def wants(self, code: str, path: str) -> bool:
        """Return whether a finding of this code in this file is asked for."""
        if code in self.ignore or (self.select is not None and code not in self.select):
            return False
        return not any(code in ignored and self.covers(pattern, path) for pattern, ignored in self.per_file)

    def covers(self, pattern: str, path: str) -> bool:
        """Return whether a pattern of the settings covers a file."""
        whole, top = Path(os.path.normpath(Path(path).absolute())), self.root.absolute()
        return matches(pattern, (whole.relative_to(top) if whole.is_relative_to(top) else whole).as_posix())

    def replaced(self, select: tuple[str, ...], ignore: tuple[str, ...]) -> "Settings":
        """Return the settings with the rules that options choose: `select` replaces, `ignore` adds."""
        return replace(
            self,
            select=chosen(select, "--select") if select else self.select,
            ignore=self.ignore | chosen(ignore, "--ignore"),
        )


def read_settings(start: str | os.PathLike[str] | None = None) -> Settings:
    """Read the nearest pyproject.toml above a folder that has `[tool.rnneval.lint]`; without one, ask for all rules.

    Raises:
        UsageError: the table has a key or a rule that does not exist, or the file is not TOML.
    """
    folder = Path(start or ".").absolute()
    for place in (folder, *folder.parents):
        file = place / "pyproject.toml"
        table: Any = _toml(file) if file.is_file() else None
        for key in ("tool", "rnneval", "lint"):
            table = table.get(key) if isinstance(table, dict) else None
        if isinstance(table, dict):
            return _settings(table, file)
    return Settings()


def _toml(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES or any(line.count(b".") > MOST_DOTS for line in content.split(b"\n")):
            raise UsageError(
                f"{file}: more than {MOST_BYTES:,} bytes, or {MOST_DOTS:,} dots in one line: make it smaller, or run "
                "rnneval lint in another folder"
            )
        return tomllib.loads(content.decode("utf-8"))
    except RecursionError as error:
        raise UsageError(f"{file}: cannot be read as TOML: it is nested too deeply") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: cannot be read as TOML: {error}") from error


def _settings(table: dict[str, Any], file: Path) -> Settings:
    where = f"{file}: [tool.rnneval.lint]"
    unknown = [key for key in table if key not in (*_LISTS, _TABLE)]
    if unknown:
        raise UsageError(f"{where} has {unknown[0]!r}: known are {', '.join((*_LISTS, _TABLE))}")
    lists = {key: _strings(table.get(key, []), f"{where} {key}") for key in _LISTS}
    pairs = table.get(_TABLE, {})
    if not isinstance(pairs, dict):
        raise UsageError(f"{where} {_TABLE} is a table of patterns and lists of rules")
    per_file = [(pattern, chosen(_strings(rules, f"{where} {_TABLE}"), where)) for pattern, rules in pairs.items()]
    return Settings(
        select=chosen(lists["select"], where) if "select" in table else None,
        ignore=chosen(lists["ignore"], where),
        per_file=tuple(per_file),
        exclude=lists["exclude"],
        root=file.parent,
    )


def _strings(value: object, where: str) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise UsageError(f'{where} is a list of strings, such as ["RNN001"]; it is {value!r}')


# Discovery


_Ignored = tuple[str, tuple[str, ...]]
"""The lines of one .gitignore, and the folder that they count from."""


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
        for entry in entries:
            is_folder = entry.is_dir(follow_symlinks=False)
            known = entry.name not in _NEVER if is_folder else entry.name.endswith(ENDINGS)
            if not known or _is_ignored(entry.path, is_folder, ignored):
                continue
            if any(settings.covers(line, entry.path) for line in settings.exclude):
                continue
            if is_folder or Path(entry).is_file():  # of a link to itself, the entry's own is_file raises an error
                waiting.append((entry.path, is_folder, ignored))


def _is_ignored(path: str, is_folder: bool, ignored: tuple[_Ignored, ...]) -> bool:
    """Return whether a path is ignored: the last line for it of the nearest .gitignore that has one decides."""
    for folder, lines in reversed(ignored):
        inside = os.path.relpath(path, folder).replace(os.sep, "/")
        for line in reversed(lines):
            pattern = line.removeprefix("!")
            if (is_folder or not pattern.endswith("/")) and matches(pattern, inside):
                return pattern == line
    return False


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
    return (folder, kept) if kept else None
