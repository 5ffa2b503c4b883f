"""The settings of a project: `[tool.rnneval.lint]` of pyproject.toml, and the options that replace it."""

import os
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rnneval.errors import UsageError
from rnneval.linter.patterns import matches
from rnneval.linter.rules import chosen

_LISTS = ("select", "ignore", "exclude")
_TABLE = "per-file-ignores"
MOST_BYTES = 1 << 18
"""Bytes of a pyproject.toml."""
MOST_DOTS = 1000
"""Dots in one line: the time that `tomllib` takes for a dotted key grows with their square."""


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
        if file.is_file() and (table := _table(file)) is not None:
            return _settings(table, file)
    return Settings()


def _table(file: Path) -> dict[str, Any] | None:
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES or any(line.count(b".") > MOST_DOTS for line in content.split(b"\n")):
            raise UsageError(
                f"{file}: more than {MOST_BYTES:,} bytes, or {MOST_DOTS:,} dots in one line: make it smaller, or run "
                "rnneval lint in another folder"
            )
        found = tomllib.loads(content.decode("utf-8"))
    except RecursionError as error:
        raise UsageError(f"{file}: cannot be read as TOML: it is nested too deeply") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: cannot be read as TOML: {error}") from error
    table: Any = found
    for key in ("tool", "rnneval", "lint"):
        table = table.get(key) if isinstance(table, dict) else None
    return table if isinstance(table, dict) else None


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
