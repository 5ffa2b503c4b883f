"""The files to check and the rules that are asked for in each: settings of a project, discovery of files.

Settings are `[tool.rnneval.lint]` of pyproject.toml, and the options that replace it. Files are those that are named,
and those in named folders: in a work tree of git what git does not ignore, elsewhere all but hidden folders and
environments.
"""

import fnmatch
import os
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rnneval.errors import UsageError
from rnneval.lint.rules import CODES

MOST_BYTES = 1 << 18
"""Bytes of a pyproject.toml."""
MOST_DOTS = 1000
"""Dots in one line: the time that `tomllib` takes for a dotted key grows with their square."""
_LISTS, _TABLE = ("select", "ignore", "exclude"), "per-file-ignores"
_ENDINGS = (".py", ".pyi", ".ipynb")
_NEVER = frozenset({"__pycache__", "__pypackages__", "node_modules", "venv"})


@dataclass(frozen=True, kw_only=True)
class LintSettings:
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
        """Return whether a pattern of the settings covers a file, by its name or path or by a folder above it.

        >>> settings = LintSettings(root=Path("/a"))
        >>> [settings.covers("b/*", path) for path in ("/a/b/c/d.py", "/a/c/b/d.py", "/a/b.py")]
        [True, False, False]
        """
        whole, top = Path(os.path.normpath(Path(path).absolute())), self.root.absolute()
        names = (whole.relative_to(top) if whole.is_relative_to(top) else whole).parts
        wanted = pattern.strip("/")
        if "/" not in pattern.rstrip("/"):
            return any(fnmatch.fnmatchcase(name, wanted) for name in names)
        # In a path, `*` stands for folders, too, and `**/` also for none.
        written = {wanted, wanted.replace("**/", "")}
        paths = ["/".join(names[:count]) for count in range(1, len(names) + 1)]
        return any(fnmatch.fnmatchcase(each, one) for one in written for each in paths)

    def replaced(self, select: tuple[str, ...], ignore: tuple[str, ...]) -> "LintSettings":
        """Return the settings with the rules that options choose: `select` replaces, `ignore` adds."""
        return replace(
            self,
            select=chosen(select, "--select") if select else self.select,
            ignore=self.ignore | chosen(ignore, "--ignore"),
        )


def chosen(rules: Iterable[str], where: str) -> frozenset[str]:
    """Return the codes of rules given as codes, beginnings of codes, or names, separated by commas.

    Raises:
        UsageError: there is no such rule; the message names the place `where` it was asked for.
    """
    found: set[str] = set()
    for word in filter(None, (word.strip() for item in rules for word in item.split(","))):
        matching = {CODES[word]} if word in CODES else set()
        if word.upper().startswith("RNN"):
            matching |= {code for code in CODES.values() if code.startswith(word.upper())}
        if not matching:
            names = ", ".join(sorted(name for name in CODES if not name.startswith("RNN")))
            raise UsageError(
                f"{where}: no rule is called {word!r}: there are RNN000 to {max(CODES.values())}, or {names}"
            )
        found |= matching
    return frozenset(found)


def read_settings(start: str | os.PathLike[str] | None = None) -> LintSettings:
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
    return LintSettings()


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


def _settings(table: dict[str, Any], file: Path) -> LintSettings:
    where = f"{file}: [tool.rnneval.lint]"
    unknown = [key for key in table if key not in (*_LISTS, _TABLE)]
    if unknown:
        raise UsageError(f"{where} has {unknown[0]!r}: known are {', '.join((*_LISTS, _TABLE))}")
    lists = {key: _strings(table.get(key, []), f"{where} {key}") for key in _LISTS}
    pairs = table.get(_TABLE, {})
    if not isinstance(pairs, dict):
        raise UsageError(f"{where} {_TABLE} is a table of patterns and lists of rules")
    per_file = [(pattern, chosen(_strings(rules, f"{where} {_TABLE}"), where)) for pattern, rules in pairs.items()]
    return LintSettings(
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


def discover(paths: Iterable[str | os.PathLike[str]], settings: LintSettings) -> list[str]:
    """Return the files to read, each once: in the order of the paths, below a folder in the order of their names.

    Raises:
        UsageError: a path does not exist or is no regular file.
    """
    found: dict[str, None] = {}
    for given in paths:
        path = os.fspath(given)
        if Path(path).is_dir():
            listed = _known_to_git(path)
            below = sorted(_walk(path) if listed is None else listed, key=lambda file: Path(file).parts)
            found |= {os.path.normpath(file): None for file in below if not _excluded(file, settings)}
        elif Path(path).is_file():
            found[path] = None
        elif Path(path).exists():
            raise UsageError(f"{path}: is no regular file: give Python files, notebooks or folders")
        else:
            raise UsageError(
                f"{path}: no such file or folder: give Python files, notebooks or folders, or - for standard input"
            )
    return list(found)


def _excluded(path: str, settings: LintSettings) -> bool:
    return any(settings.covers(pattern, path) for pattern in settings.exclude)


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
