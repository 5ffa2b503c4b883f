"""Comments that silence: `# noqa`, `# noqa: RNN001`, `# rnneval: ignore`, `# rnneval: ignore[shared-state]`."""

import re
from collections.abc import Sequence

from rnneval.linter.rules import codes

_NOQA = re.compile(r"#\s*noqa(?P<list>\s*:\s*(?P<codes>[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+)*))?", re.IGNORECASE)
_FILE = re.compile(
    r"^\s*#\s*(?:ruff|flake8|rnneval)\s*:\s*noqa(?P<list>\s*+:\s*+(?P<codes>[\w,-][\w,\s-]*+))?\s*$", re.IGNORECASE
)
_IGNORE = re.compile(r"#\s*rnneval\s*:\s*ignore(?:\[(?P<rules>[^\]]*)\])?", re.IGNORECASE)


def silenced(lines: Sequence[str], first: int, last: int, code: str) -> bool:
    """Tell whether a comment on one of the lines first … last (from 1) silences the code."""
    return any(_silences(lines[number - 1], code) for number in {first, last} if 0 < number <= len(lines))


def _silences(line: str, code: str) -> bool:
    if "#" not in line:
        return False
    if found := _IGNORE.search(line):
        rules = found.group("rules")
        return rules is None or code in {codes().get(rule.strip(), rule.strip()) for rule in rules.split(",")}
    if found := _NOQA.search(line):
        return found.group("list") is None or code in _listed(found.group("codes"))
    return False


def file_silences(lines: Sequence[str]) -> frozenset[str] | None:
    """Give the codes that lines of their own (`# ruff: noqa: RNN001`) silence in the whole file; None for all."""
    found: set[str] = set()
    for line in lines:
        match = _FILE.match(line) if "noqa" in line else None
        if match is not None and match.group("list") is None:
            return None
        found |= _listed(match.group("codes")) if match is not None else set()
    return frozenset(found)


def _listed(text: str) -> set[str]:
    return {word.upper() for word in re.split(r"[,\s]+", text) if word}
