"""Findings of `lint` as editors, GitHub and code scanning services read them.

Text is ruff's `path:line:column: CODE message`, GitHub's workflow commands become annotations of files, SARIF 2.1.0 is
for code scanning services, JSON for programs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from rnneval._version import __version__
from rnneval.lint.check import LintFinding
from rnneval.lint.rules import RULES, UNREADABLE
from rnneval.pages import page
from rnneval.render.phrasing import annotation, counted, not_a_command, visible

_ROOT = "%SRCROOT%"


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
    from rnneval.records import json_text

    found = ({key: value for key, value in asdict(finding).items() if value is not None} for finding in findings)
    return json_text(list(found), indent=2)


def lint_summary(findings: Sequence[LintFinding], files: int) -> str:
    """Say how many findings there are, in how many files."""
    errors = sum(finding.severity == "error" for finding in findings)
    numbers = {"error": errors, "warning": len(findings) - errors}
    found = " and ".join(counted(number, noun) for noun, number in numbers.items() if number)
    return f"{found or 'nothing found'} in {counted(files, 'file')}"


def lint_github(findings: Iterable[LintFinding]) -> str:
    """Write an annotation for each finding; in a notebook it names the cell, since lines count within the cell."""
    lines = []
    for each in findings:
        message, end = each.message, each.end_column if each.end_line == each.line else None
        place = {"line": each.line, "endLine": each.end_line, "col": each.column, "endColumn": end}
        if each.cell is not None:
            message, place = f"{message} (cell {each.cell}, line {each.line})", {}
        lines.append(annotation(each.severity, message, file=each.path, **place, title=f"{each.code} {each.rule}"))
    return "".join(f"{line}\n" for line in lines)


def lint_sarif(findings: Sequence[LintFinding]) -> str:
    """Write the log of one run: every rule with its text, every finding with its place."""
    from rnneval.records import json_text

    rules = []
    for rule in (UNREADABLE, *RULES):
        about = page(rule.name)
        summary, help_text = {"text": about.summary}, {"text": about.text, "markdown": about.text}
        names = {"id": rule.code, "name": rule.name, "shortDescription": summary, "fullDescription": summary}
        rules.append({**names, "help": help_text, "defaultConfiguration": {"level": rule.severity}})
    numbers = {rule["id"]: number for number, rule in enumerate(rules)}
    run = {
        "tool": {"driver": {"name": "rnneval", "version": __version__, "rules": rules}},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {_ROOT: {"description": {"text": "The folder that rnneval was run in."}}},
        "results": [_result(finding, numbers[finding.code]) for finding in findings],
    }
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return json_text({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=2)


def _result(finding: LintFinding, number: int) -> dict[str, Any]:
    path = finding.path.replace("\\", "/").removeprefix("./")
    name = quote(path.encode("utf-8", errors="surrogatepass"))  # a name on the disk need not be UTF-8
    artifact = {"uri": f"file://{name}"} if path.startswith("/") else {"uri": name, "uriBaseId": _ROOT}
    region = {"startLine": finding.line, "startColumn": finding.column}
    region |= {"endLine": finding.end_line, "endColumn": finding.end_column}
    place: dict[str, Any] = {"physicalLocation": {"artifactLocation": artifact, "region": region}}
    if finding.cell is not None:
        # Lines count within the cell, and a region is one of the notebook's JSON: the cell is a logical place.
        place["physicalLocation"]["region"] = {"startLine": 1}  # GitHub wants one
        place["logicalLocations"] = [{"name": f"cell {finding.cell}, line {finding.line}", "kind": "element"}]
    rule = {"ruleId": finding.code, "ruleIndex": number, "level": finding.severity}
    return {**rule, "message": {"text": visible(finding.message)}, "locations": [place]}
