"""The reports of finders and of the linter: a match in the tree of a file, a finding with file, line and column."""

import ast
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec


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
