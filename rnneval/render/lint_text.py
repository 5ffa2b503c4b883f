"""Findings as lines that editors and people know: `path:line:column: CODE message`, as ruff writes them."""

from collections.abc import Sequence

import msgspec

from rnneval.linter.finding import LintFinding
from rnneval.records import json_text
from rnneval.render.words import not_a_command, visible


def lint_text(findings: Sequence[LintFinding]) -> str:
    """Give a line a finding."""
    return "".join(f"{_line(finding)}\n" for finding in findings)


def _line(finding: LintFinding) -> str:
    """Give one line, whatever stands in the names of files and layers."""
    return not_a_command(visible(f"{_place(finding)}: {finding.code} {finding.message}"))


def _place(finding: LintFinding) -> str:
    cell = f"cell {finding.cell}:" if finding.cell is not None else ""
    return f"{finding.path}:{cell}{finding.line}:{finding.column}"


def lint_json(findings: Sequence[LintFinding]) -> str:
    """Give all findings as one JSON list."""
    return json_text(msgspec.to_builtins(list(findings)), indent=2)


def lint_summary(findings: Sequence[LintFinding], files: int) -> str:
    """Say how many were found, in how many files."""
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = len(findings) - errors
    read = _count(files, "file")
    if not findings:
        return f"nothing found in {read}"
    parts = [_count(errors, "error")] if errors else []
    parts += [_count(warnings, "warning")] if warnings else []
    return f"{' and '.join(parts)} in {read}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
