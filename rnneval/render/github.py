"""GitHub's workflow commands: a line on standard output that becomes an annotation of a file."""

from collections.abc import Iterable
from typing import Literal

from rnneval.linter.finding import LintFinding
from rnneval.render.words import visible

Level = Literal["error", "warning", "notice"]


def annotation(level: Level, message: str, **properties: object) -> str:
    r"""Give one annotation; properties such as `file`, `line` and `title` that are None are left out.

    >>> annotation("warning", "50 % of it", file="a,b.py", line=3)
    '::warning file=a%2Cb.py,line=3::50 %25 of it'
    """
    given = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items() if value is not None)
    return f"::{level}{' ' if given else ''}{given}::{_data(message)}"


def lint_github(findings: Iterable[LintFinding]) -> str:
    """Give an annotation a finding; a notebook's says its cell, since its lines count within the cell."""
    return "".join(f"{_finding(finding)}\n" for finding in findings)


def _finding(finding: LintFinding) -> str:
    where = f" (cell {finding.cell}, line {finding.line})" if finding.cell is not None else ""
    lines: dict[str, object] = {} if finding.cell is not None else _region(finding)
    title = f"{finding.code} {finding.rule}"
    return annotation(finding.severity, finding.message + where, file=finding.path, **lines, title=title)


def _region(finding: LintFinding) -> dict[str, object]:
    region: dict[str, object] = {"line": finding.line, "endLine": finding.end_line, "col": finding.column}
    if finding.end_line == finding.line:
        region["endColumn"] = finding.end_column
    return region


def _data(text: str) -> str:
    return "%0A".join(visible(line).replace("%", "%25") for line in text.split("\n"))


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
