"""The rules of the linter: which there are, how they are selected by name or code, and which comments silence them.

A rule is a fault (`rnneval/wiring/faults`) with a finder for source. That folder may import this package but not the
other way round, so its modules are loaded by their dotted name.
"""

import re
from collections.abc import Sequence
from functools import cache
from types import ModuleType

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
