"""One document in, its findings out."""

from collections.abc import Iterator
from types import ModuleType

from rnneval.linter.document import Cell, Document, Trouble, read_document
from rnneval.linter.finding import LintFinding
from rnneval.linter.flow.facts import Facts
from rnneval.linter.flow.gather import gather
from rnneval.linter.flow.naming import MENTIONS
from rnneval.linter.rules import all_rules
from rnneval.linter.spot import Spot, moved
from rnneval.linter.suppress import file_silences, silenced

UNREADABLE = ("invalid-source", "RNN000")
_IN_PART = (
    "only in part: from here on it takes more steps than one file may; calls of its own functions and repeated passes "
    "of loops are left out: split the file"
)


def check_bytes(path: str, content: bytes) -> tuple[LintFinding, ...]:
    """Lint one file's bytes: every finding that no comment silences, in the order of the file."""
    return check_document(read_document(path, content))


def check_document(document: Document) -> tuple[LintFinding, ...]:
    """Lint one file that has been read."""
    found = {finding.order: finding for finding in _unreadable(document)}
    if document.tree is not None and any(MENTIONS.search(line) for cell in document.cells for line in cell.lines):
        try:
            facts = gather(document.tree)
            for finding in _judged(document, facts):
                found.setdefault(finding.order, finding)
            for line in sorted(facts.followed_in_part)[:1]:
                cell, within = document.place(line)
                unfinished = _trouble(document.path, Trouble(within, 1, _IN_PART, cell.number))
                found.setdefault(unfinished.order, unfinished)
        except RecursionError:
            found[document.path, 0, 1, 1, "RNN000"] = unreadable(document.path, "nested too deeply to be judged")
    return tuple(sorted(found.values(), key=lambda finding: finding.order))


def _judged(document: Document, facts: Facts) -> Iterator[LintFinding]:
    quiet = [file_silences(cell.lines) for cell in document.cells]
    for rule in all_rules():
        if any(codes is None or rule.CODE in codes for codes in quiet):
            continue
        for spot in rule.find(facts):
            cell, line = document.place(getattr(spot.node, "lineno", 1))
            last = line + (getattr(spot.node, "end_lineno", 0) or 0) - getattr(spot.node, "lineno", 0)
            if not silenced(cell.lines, line, last, rule.CODE):
                yield _finding(document, rule, spot, cell, line)


def _finding(document: Document, rule: ModuleType, spot: Spot, cell: Cell, line: int) -> LintFinding:
    node = spot.node
    start = getattr(node, "lineno", 1)
    return LintFinding(
        rule=rule.NAME,
        code=rule.CODE,
        severity=rule.SEVERITY,
        path=document.path,
        cell=cell.number,
        line=line,
        column=_column(cell, line, getattr(node, "col_offset", 0)),
        end_line=line + (getattr(node, "end_lineno", start) or start) - start,
        end_column=_column(
            cell, line + (getattr(node, "end_lineno", start) or start) - start, getattr(node, "end_col_offset", 0) or 0
        ),
        message=_said(document, spot, cell),
        suggestion=spot.suggestion,
    )


def _said(document: Document, spot: Spot, cell: Cell) -> str:
    if cell.number is None:
        return spot.message

    def place(line: int) -> str:
        other, within = document.place(line)
        return f"line {within}" if other is cell else f"cell {other.number}, line {within}"

    return moved(spot.message, place)


def _column(cell: Cell, line: int, offset: int) -> int:
    """Count characters from 1, where Python counts bytes from 0."""
    text = cell.lines[line - 1] if 0 < line <= len(cell.lines) else ""
    return len(text.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "replace")) + 1


def _unreadable(document: Document) -> Iterator[LintFinding]:
    for trouble in document.troubles:
        cell = next((cell for cell in document.cells if cell.number == trouble.cell), None)
        line = trouble.line
        if cell is None or not silenced(cell.lines, line, line, "RNN000"):
            yield _trouble(document.path, trouble)


def unreadable(path: str, message: str) -> LintFinding:
    """Return the finding that a whole file could not be read."""
    return _trouble(path, Trouble(1, 1, message))


def _trouble(path: str, trouble: Trouble) -> LintFinding:
    return LintFinding(
        rule=UNREADABLE[0],
        code=UNREADABLE[1],
        severity="warning",
        path=path,
        cell=trouble.cell,
        line=trouble.line,
        column=trouble.column,
        end_line=trouble.line,
        end_column=trouble.column,
        message=f"cannot be read: {trouble.message}",
    )
