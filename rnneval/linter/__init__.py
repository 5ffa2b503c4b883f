"""The linter: faults of state wiring found by reading source, without importing, running or building anything.

`lint` is its Python function and `rnneval lint` its command. `flow` interprets a file once and gathers its facts; the
finders in `rnneval/wiring/faults` are pure functions of these facts.
"""

import os
from collections.abc import Iterable

from rnneval.linter.finding import LintFinding

__all__ = ["LintFinding", "lint"]


def lint(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    jobs: int = 1,
) -> tuple[LintFinding, ...]:
    """Find wrong state wiring in Python files, notebooks and folders of them.

    Args:
        paths: One path or several; folders are searched, and .gitignore is honoured.
        select: Codes or names of the rules to look for; all where empty. Replaces what pyproject.toml selects.
        ignore: Codes or names of rules to leave out, beside those that pyproject.toml leaves out.
        jobs: Number of processes.

    Returns:
        Every finding, in the order of the files and of their lines.

    Raises:
        UsageError: a path does not exist, or a rule.
    """
    from rnneval.linter.check import lint_files
    from rnneval.linter.discover import discover, read_settings

    several = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    settings = read_settings().replaced(tuple(select), tuple(ignore))
    return lint_files(discover(several, settings), settings, jobs)
