"""Check one file: its bytes in, its findings out, without those that a comment silences."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnneval.lint.document import MOST_NOTEBOOK_BYTES, CodeCell, SourceFile, Trouble, read_document
from rnneval.lint.machine import MOST_NODES, TooManyNodesError
from rnneval.lint.names import MENTIONS
from rnneval.lint.rules import CODES, RULES, UNREADABLE, LintSeverity, Match, Rule
from rnneval.lint.statements import gather
from rnneval.processes import collector_paused

_NOQA = re.compile(r"#\s*noqa(?P<list>\s*:\s*(?P<codes>[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+)*))?", re.IGNORECASE)
_IGNORE = re.compile(r"#\s*rnneval\s*:\s*ignore(?:\[(?P<rules>[^\]]*)\])?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LintFinding:
    """A fault in a file: the keys of `rnneval lint --format json`."""

    rule: str
    code: str
    severity: LintSeverity
    path: str
    cell: int | None = None  # the cell of a notebook, counted from 1; its lines count within the cell
    line: int
    column: int
    end_line: int
    end_column: int
    message: str

    @property
    def order(self) -> tuple[str, int, int, int, str]:
        """Sort key: by place."""
        return self.path, self.cell or 0, self.line, self.column, self.code


def check_file(path: str) -> tuple[LintFinding, ...]:
    """Check one file; that it cannot be read is a finding like any other."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(MOST_NOTEBOOK_BYTES + 1)
    except OSError as error:
        return (_unreadable(path, Trouble(1, 1, error.strerror or str(error))),)
    return check_bytes(path, content)


def check_bytes(path: str, content: bytes) -> tuple[LintFinding, ...]:
    """Check one file's bytes and return its findings in the order of the file."""
    with collector_paused():
        document = read_document(path, content)
        findings = [_unreadable(path, trouble) for trouble in document.troubles]
        try:
            if any(MENTIONS.search(line) for cell in document.cells for line in cell.lines):
                facts = gather(document.tree)
                matched = (_finding(document, rule, match) for rule in RULES for match in rule.find(facts))
                findings += (finding for finding in matched if not _silenced(document, finding))
        except RecursionError:
            findings.append(_unreadable(path, Trouble(1, 1, "nested too deeply to be judged")))
        except TooManyNodesError:
            findings.append(_unreadable(path, Trouble(1, 1, f"takes more than {MOST_NODES:,} steps: split the file")))
    at_one_place = {finding.order: finding for finding in reversed(findings)}  # the first of them stays
    return tuple(sorted(at_one_place.values(), key=lambda finding: finding.order))


def _unreadable(path: str, trouble: Trouble) -> LintFinding:
    place = {"line": trouble.line, "column": trouble.column, "end_line": trouble.line, "end_column": trouble.column}
    return _of_rule(UNREADABLE, path=path, cell=trouble.cell, **place, message=f"cannot be read: {trouble.message}")


def _of_rule(rule: Rule, **where: Any) -> LintFinding:
    return LintFinding(rule=rule.name, code=rule.code, severity=rule.severity, **where)


def _finding(document: SourceFile, rule: Rule, match: Match) -> LintFinding:
    node: Any = match.node
    cell, line = document.place(node.lineno)
    last = line + node.end_lineno - node.lineno

    def place(match: re.Match[str]) -> str:
        other, within = document.place(int(match[1]))
        return f"(line {within})" if other is cell else f"(cell {other.number}, line {within})"

    return _of_rule(
        rule,
        path=document.path,
        cell=cell.number,
        line=line,
        column=_column(cell, line, node.col_offset),
        end_line=last,
        end_column=_column(cell, last, node.end_col_offset),
        # In a notebook, the lines that a message refers to count within cells.
        message=match.message if cell.number is None else re.sub(r"\(line (\d+)\)", place, match.message),
    )


def _column(cell: CodeCell, line: int, offset: int) -> int:
    """Count characters from 1, where Python counts bytes from 0."""
    text = cell.lines[line - 1] if 0 < line <= len(cell.lines) else ""
    return len(text.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "replace")) + 1


def _silenced(document: SourceFile, finding: LintFinding) -> bool:
    """Return whether a comment `# noqa` or `# rnneval: ignore` on its first or last line silences a finding."""
    lines = next((cell.lines for cell in document.cells if cell.number == finding.cell), ())
    for line in (lines[number - 1] for number in {finding.line, finding.end_line} if 0 < number <= len(lines)):
        if comment := _IGNORE.search(line):
            rules = comment["rules"]
            ours = rules is None or finding.code in {CODES.get(rule.strip(), rule.strip()) for rule in rules.split(",")}
        else:
            comment = _NOQA.search(line)
            codes = "" if comment is None else comment["codes"] or finding.code
            ours = finding.code in re.split(r"[,\s]+", codes.upper())
        if ours:
            return True
    return False
