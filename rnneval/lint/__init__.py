"""The linter: wrong state wiring found by reading source, without importing, running or building anything.

It needs Python's standard library alone. `statements` runs a file once by an abstract interpreter (`machine`,
`expressions`, `calls`) and gathers its `facts`; the `rules` are functions of these facts, and `check` makes their
findings.
"""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.lint.check import LintFinding

__all__ = ["lint"]


def lint(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
) -> "tuple[LintFinding, ...]":
    """Find wrong state wiring in Python files, notebooks and folders of them.

    Args:
        paths: One path or several; folders are searched, without what git ignores.
        select: Codes or names of the rules to look for; all where empty.
        ignore: Codes or names of rules to leave out.

    Returns:
        Every finding, in the order of the files and of their lines.

    Raises:
        UsageError: a path does not exist, or a rule.
    """
    from rnneval.lint.check import check_file
    from rnneval.lint.files import discover
    from rnneval.lint.rules import wanted

    several = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    codes = wanted(select, ignore)
    found = (finding for file in discover(several) for finding in check_file(file))
    return tuple(finding for finding in found if finding.code in codes)
