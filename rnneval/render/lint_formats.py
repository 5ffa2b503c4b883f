"""Findings of `lint` as editors, GitHub and code scanning services read them.

Text is ruff's `path:line:column: CODE message`, GitHub's workflow commands become annotations of files, SARIF 2.1.0 is
for code scanning services, JSON for programs.
"""

import inspect
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any
from urllib.parse import quote

import msgspec

from rnneval._version import __version__
from rnneval.linter.finding import LintFinding, all_rules
from rnneval.records import json_text
from rnneval.render.phrasing import annotation, counted, not_a_command, visible

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
ROOT = "%SRCROOT%"


# Text and JSON


def lint_text(findings: Sequence[LintFinding]) -> str:
    """Write one line for each finding, whatever the names of files and layers contain."""
    lines = []
    for each in findings:
        cell = f"cell {each.cell}:" if each.cell is not None else ""
        place = f"{each.path}:{cell}{each.line}:{each.column}"
        lines.append(not_a_command(visible(f"{place}: {each.code} {each.message}")))
    return "".join(f"{line}\n" for line in lines)


def lint_json(findings: Sequence[LintFinding]) -> str:
    """Write all findings as one JSON list."""
    return json_text(msgspec.to_builtins(list(findings)), indent=2)


def lint_summary(findings: Sequence[LintFinding], files: int) -> str:
    """Say how many findings there are, in how many files."""
    errors = sum(finding.severity == "error" for finding in findings)
    numbers = {"error": errors, "warning": len(findings) - errors}
    found = " and ".join(counted(number, noun) for noun, number in numbers.items() if number)
    return f"{found or 'nothing found'} in {counted(files, 'file')}"


# GitHub


def lint_github(findings: Iterable[LintFinding]) -> str:
    """Write an annotation for each finding; in a notebook it names the cell, since lines count within the cell."""
    return "".join(f"{_annotated(finding)}\n" for finding in findings)


def _annotated(finding: LintFinding) -> str:
    where = f" (cell {finding.cell}, line {finding.line})" if finding.cell is not None else ""
    lines: dict[str, object] = {} if finding.cell is not None else _lines(finding)
    title = f"{finding.code} {finding.rule}"
    return annotation(finding.severity, finding.message + where, file=finding.path, **lines, title=title)


def _lines(finding: LintFinding) -> dict[str, object]:
    region: dict[str, object] = {"line": finding.line, "endLine": finding.end_line, "col": finding.column}
    if finding.end_line == finding.line:
        region["endColumn"] = finding.end_column
    return region


# SARIF


def lint_sarif(findings: Sequence[LintFinding]) -> str:
    """Write the log of one run: every rule with its text, every finding with its place."""
    rules = [_rule(rule) for rule in all_rules()]
    numbers = {rule["id"]: number for number, rule in enumerate([_UNREADABLE, *rules])}
    log = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "rnneval",
                        "semanticVersion": _semantic(__version__),
                        "rules": [_UNREADABLE, *rules],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "originalUriBaseIds": {ROOT: {"description": {"text": "The folder that rnneval was run in."}}},
                "results": [_result(finding, numbers[finding.code]) for finding in findings],
            }
        ],
    }
    return json_text(log, indent=2)


_UNREADABLE = {
    "id": "RNN000",
    "name": "invalid-source",
    "shortDescription": {"text": "A file cannot be read as Python 3 or as a notebook."},
    "defaultConfiguration": {"level": "warning"},
}


def _semantic(version: str) -> str:
    """Write a Python version as a semantic one: three numbers, and the rest behind a hyphen."""
    numbers = [part for part in version.split(".") if part.isdigit()][:3]
    rest = version.removeprefix(".".join(numbers)).lstrip(".")
    core = ".".join([*numbers, "0", "0", "0"][:3])
    return f"{core}-{rest.replace('+', '.')}" if rest else core


def _rule(rule: ModuleType) -> dict[str, Any]:
    text = inspect.cleandoc(rule.__doc__ or "")
    summary = text.partition("\n")[0]
    return {
        "id": rule.CODE,
        "name": rule.NAME,
        "shortDescription": {"text": summary},
        "fullDescription": {"text": summary},
        "help": {"text": text, "markdown": text},
        "defaultConfiguration": {"level": rule.SEVERITY},
    }


def _result(finding: LintFinding, number: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": number,
        "level": finding.severity,
        "message": {"text": visible(finding.message)},
        "locations": [_location(finding)],
    }
    if finding.suggestion is not None:
        result["fixes"] = [_fix(finding, finding.suggestion)]
    return result


def _location(finding: LintFinding) -> dict[str, Any]:
    place: dict[str, Any] = {"physicalLocation": {"artifactLocation": _artifact(finding), "region": _region(finding)}}
    if finding.cell is not None:
        # Lines count within the cell: SARIF has no word for cells but a logical place.
        place["logicalLocations"] = [{"name": f"cell {finding.cell}", "kind": "element"}]
    return place


def _artifact(finding: LintFinding) -> dict[str, Any]:
    path = finding.path.replace("\\", "/").removeprefix("./")
    uri = quote(_bytes(path))
    return {"uri": "file://" + uri} if path.startswith("/") else {"uri": uri, "uriBaseId": ROOT}


def _bytes(path: str) -> bytes:
    """Return the bytes of a name on the disk; a name need not be UTF-8."""
    try:
        return path.encode("utf-8", errors="surrogateescape")
    except UnicodeEncodeError:  # half of a surrogate pair that no file system gave
        return visible(path).encode()


def _region(finding: LintFinding) -> dict[str, int]:
    return {
        "startLine": finding.line,
        "startColumn": finding.column,
        "endLine": finding.end_line,
        "endColumn": finding.end_column,
    }


def _fix(finding: LintFinding, text: str) -> dict[str, Any]:
    replacement = {"deletedRegion": _region(finding), "insertedContent": {"text": text}}
    return {
        "description": {"text": visible(f"Write {text}")},
        "artifactChanges": [{"artifactLocation": _artifact(finding), "replacements": [replacement]}],
    }
