"""Linting: one document, one file or many files in, their findings out."""

import ast
import os
import re
from collections.abc import Iterator, Sequence
from types import ModuleType

from rnneval import collector_paused
from rnneval.errors import UsageError
from rnneval.linter import scores
from rnneval.linter.discover import Settings
from rnneval.linter.document import MOST_NOTEBOOK_BYTES, Cell, Document, Trouble, read_document
from rnneval.linter.finding import UNREADABLE, LintFinding, Match, all_rules, file_silences, silenced
from rnneval.linter.flow.facts import Facts, Survey
from rnneval.linter.flow.names import MENTIONS
from rnneval.linter.flow.statements import gather
from rnneval.records.paths import open_regular

BATCH = 24
"""Files handed to a process at once; fewer than two batches are not worth a second process."""
_IN_PART = (
    "only in part: from here on it takes more steps than one file may; calls of its own functions and repeated passes "
    "of loops are left out: split the file"
)


def lint_files(files: Sequence[str], settings: Settings, jobs: int = 1) -> tuple[LintFinding, ...]:
    """Lint files in several processes; findings come in the order of the files, whatever the number of processes.

    Raises:
        UsageError: a process dies.
    """
    batches = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
    if jobs > 1 and len(batches) > 1 and hasattr(os, "fork"):
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor
        from concurrent.futures.process import BrokenProcessPool

        # Its processes end by themselves; multiprocessing.Pool kills its own, and waits for one that does not die.
        with ProcessPoolExecutor(min(jobs, len(batches)), mp_context=multiprocessing.get_context("fork")) as pool:
            try:
                found = [finding for batch in pool.map(_batch, batches) for finding in batch]
            except BrokenProcessPool as error:
                raise UsageError(
                    "a process that was linting files died: is there enough memory? --jobs 1 uses one process"
                ) from error
    else:
        found = [finding for batch in batches for finding in _batch(batch)]
    return wanted(found, settings)


def wanted(found: Sequence[LintFinding], settings: Settings) -> tuple[LintFinding, ...]:
    """Keep the findings that the settings ask for."""
    return tuple(finding for finding in found if settings.wants(finding.code, finding.path))


def _batch(files: Sequence[str]) -> list[LintFinding]:
    with collector_paused():
        return [finding for file in files for finding in _lint_file(file)]


def _lint_file(path: str) -> tuple[LintFinding, ...]:
    """Lint one file; that it cannot be read is a finding like any other."""
    try:
        with open_regular(path) as file:
            content = file.read(MOST_NOTEBOOK_BYTES + 1)
    except OSError as error:
        return (_unreadable(path, Trouble(1, 1, error.strerror or str(error))),)
    return check_bytes(path, content)


def check_bytes(path: str, content: bytes) -> tuple[LintFinding, ...]:
    """Lint one file's bytes: return every finding that no comment silences, in the order of the file."""
    document = read_document(path, content)
    found: dict[tuple[str, int, int, int, str], LintFinding] = {}
    for trouble in document.troubles:
        lines = next((cell.lines for cell in document.cells if cell.number == trouble.cell), ())
        if not silenced(lines, trouble.line, trouble.line, UNREADABLE[1]):
            finding = _unreadable(path, trouble)
            found[finding.order] = finding
    text = "\n".join(line for cell in document.cells for line in cell.lines)
    recurrent, scored = bool(MENTIONS.search(text)), scores.mentions(text)
    if document.tree is not None and (recurrent or scored):
        try:
            facts = gather(document.tree) if recurrent else Facts(document.tree, Survey())
            facts.scores = scores.score_faults(document.tree, text) if scored else ()
            for finding in _matches(document, facts):
                found.setdefault(finding.order, finding)
            for line in sorted(facts.followed_in_part)[:1]:
                cell, within = document.place(line)
                unfinished = _unreadable(path, Trouble(within, 1, _IN_PART, cell.number))
                found.setdefault(unfinished.order, unfinished)
        except RecursionError:
            trouble = Trouble(1, 1, "nested too deeply to be judged")
            found[path, 0, 1, 1, UNREADABLE[1]] = _unreadable(path, trouble)
    return tuple(sorted(found.values(), key=lambda finding: finding.order))


def _unreadable(path: str, trouble: Trouble) -> LintFinding:
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


def _matches(document: Document, facts: Facts) -> Iterator[LintFinding]:
    """Run every rule and yield what no comment silences."""
    quiet = [file_silences(cell.lines) for cell in document.cells]
    for rule in all_rules():
        if any(codes is None or rule.CODE in codes for codes in quiet):
            continue
        for match in rule.find_in_source(facts):
            cell, line = document.place(getattr(match.node, "lineno", 1))
            finding = _finding(document, rule, match)
            if not silenced(cell.lines, line, finding.end_line, rule.CODE):
                yield finding


def _finding(document: Document, rule: ModuleType, match: Match) -> LintFinding:
    node: ast.AST = match.node
    start = getattr(node, "lineno", 1)
    cell, line = document.place(start)
    last = line + (getattr(node, "end_lineno", start) or start) - start

    def place(found: re.Match[str]) -> str:
        other, within = document.place(int(found[1]))
        return f"(line {within})" if other is cell else f"(cell {other.number}, line {within})"

    return LintFinding(
        rule=rule.NAME,
        code=rule.CODE,
        severity=rule.SEVERITY,
        path=document.path,
        cell=cell.number,
        line=line,
        column=_column(cell, line, getattr(node, "col_offset", 0)),
        end_line=last,
        end_column=_column(cell, last, getattr(node, "end_col_offset", 0) or 0),
        # In a notebook, the lines that a message refers to count within cells.
        message=match.message if cell.number is None else re.sub(r"\(line (\d+)\)", place, match.message),
        suggestion=match.suggestion,
    )


def _column(cell: Cell, line: int, offset: int) -> int:
    """Count characters from 1, where Python counts bytes from 0."""
    text = cell.lines[line - 1] if 0 < line <= len(cell.lines) else ""
    return len(text.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "replace")) + 1
