"""The findings of the linter: the rules that make them, their selection by name or code, comments that silence them.

A rule is a fault (`rnneval/wiring/faults`) with a finder for source, which yields matches in the tree of a file. That
folder may import this package but not the other way round, so its modules are loaded by their dotted name.
"""

import ast
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Literal

import msgspec

from rnneval.errors import UsageError
from rnneval.registry import modules

FAULTS = "rnneval.wiring.faults"
UNREADABLE = ("invalid-source", "RNN000")
"""Name and code of the finding that a file cannot be read."""

_NOQA = re.compile(r"#\s*noqa(?P<list>\s*:\s*(?P<codes>[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+)*))?", re.IGNORECASE)
_FILE = re.compile(
    r"^\s*#\s*(?:ruff|flake8|rnneval)\s*:\s*noqa(?P<list>\s*+:\s*+(?P<codes>[\w,-][\w,\s-]*+))?\s*$", re.IGNORECASE
)
_IGNORE = re.compile(r"#\s*rnneval\s*:\s*ignore(?:\[(?P<rules>[^\]]*)\])?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A fault at a node of the tree, as a finder yields it."""

    node: ast.AST
    message: str
    suggestion: str | None = None
    """Source that may replace the node: only where it is certain."""


def line_of(node: ast.AST) -> str:
    """Refer to another place of the file in a message."""
    return f"(line {getattr(node, 'lineno', 1)})"


def within(lines: Sequence[int], node: ast.AST) -> bool:
    """Return whether one of the lines, which are in order, belongs to the node."""
    first, last = getattr(node, "lineno", 0), getattr(node, "end_lineno", 0)
    at = bisect_left(lines, first)
    return at < len(lines) and lines[at] <= last


class LintFinding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A fault in a file: the keys of `rnneval lint --format json`."""

    rule: str
    code: str
    severity: Literal["error", "warning"]
    path: str
    cell: int | None = None
    """The cell of a notebook, counted from 1; its lines count within the cell."""
    line: int
    column: int
    end_line: int
    end_column: int
    message: str
    suggestion: str | None = None
    """Source that may replace the text between the two positions: only where it is certain."""

    @property
    def order(self) -> tuple[str, int, int, int, str]:
        """Sort key: by place."""
        return self.path, self.cell or 0, self.line, self.column, self.code


@cache
def all_rules() -> tuple[ModuleType, ...]:
    """Load every rule, in the order of the codes."""
    found = [fault for fault in modules(FAULTS) if hasattr(fault, "find_in_source")]
    return tuple(sorted(found, key=lambda rule: str(rule.CODE)))


@cache
def codes() -> dict[str, str]:
    """Return the code of every name, and of every code itself."""
    pairs = {rule.NAME: rule.CODE for rule in all_rules()} | {rule.CODE: rule.CODE for rule in all_rules()}
    return {str(name): str(code) for name, code in pairs.items()}


def chosen(rules: Sequence[str], where: str) -> frozenset[str]:
    """Return the codes of rules given as codes, beginnings of codes, or names, separated by commas.

    Raises:
        UsageError: there is no such rule; the message names the place `where` it was asked for.
    """
    found: set[str] = set()
    words = [word.strip() for item in rules for word in item.split(",")]
    for word in filter(None, words):
        known = {**codes(), UNREADABLE[0]: UNREADABLE[1], UNREADABLE[1]: UNREADABLE[1]}
        begins = word.upper().startswith("RNN")
        matching = (
            {known[word]}
            if word in known
            else {code for code in known.values() if begins and code.startswith(word.upper())}
        )
        if not matching:
            names = ", ".join(sorted(name for name in known if not name.startswith("RNN")))
            raise UsageError(
                f"{where}: no rule is called {word!r}: there are RNN000 to {max(known.values())}, or {names}"
            )
        found |= matching
    return frozenset(found)


def silenced(lines: Sequence[str], first: int, last: int, code: str) -> bool:
    """Return whether a comment on line `first` or `last` (from 1) silences the code.

    Such comments are `# noqa`, `# noqa: RNN001`, `# rnneval: ignore` and `# rnneval: ignore[shared-state]`.
    """
    for line in (lines[number - 1] for number in {first, last} if 0 < number <= len(lines)):
        if found := _IGNORE.search(line):
            rules = found["rules"]
            ours = rules is None or code in {codes().get(rule.strip(), rule.strip()) for rule in rules.split(",")}
        else:
            found = _NOQA.search(line)
            ours = found is not None and (found["list"] is None or code in _listed(found["codes"]))
        if ours:
            return True
    return False


def file_silences(lines: Sequence[str]) -> frozenset[str] | None:
    """Return the codes that lines of their own (`# ruff: noqa: RNN001`) silence in the whole file; None for all."""
    found: set[str] = set()
    for line in lines:
        match = _FILE.match(line) if "noqa" in line else None
        if match is not None and match.group("list") is None:
            return None
        found |= _listed(match.group("codes")) if match is not None else set()
    return frozenset(found)


def _listed(text: str) -> set[str]:
    return {word.upper() for word in re.split(r"[,\s]+", text) if word}
