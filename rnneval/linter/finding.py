"""What the linter says: one fault at one place of one file."""

from typing import Literal

import msgspec


class LintFinding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fault in one file: the keys of `rnneval lint --format json`."""

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
    """Source that may take the place of what lies between the two positions: only where it is certain."""

    @property
    def order(self) -> tuple[str, int, int, int, str]:
        """Sort by place."""
        return self.path, self.cell or 0, self.line, self.column, self.code
