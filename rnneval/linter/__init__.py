"""The same invariant, found by reading source: nothing is imported, run or built.

`lint` is the way in from Python; `rnneval lint` the one from the command line. `flow` gathers the facts of a file
once, `rules` are pure functions of facts, one file each.
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
    """Look for wrong state wiring in Python files, notebooks and folders of them.

    Args:
        paths: One path or several; folders are searched, and .gitignore is honoured.
        select: Codes or names of the rules to look for; all where empty. Replaces what pyproject.toml selects.
        ignore: Codes or names of rules to leave out, beside those that pyproject.toml leaves out.
        jobs: How many processes to use.

    Returns:
        Every finding, in the order of the files and of their lines.

    Raises:
        UsageError: a path does not exist, or a rule.
    """
    from rnneval.linter.discover import discover
    from rnneval.linter.run import lint_files
    from rnneval.linter.settings import read_settings

    several = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    settings = read_settings().replaced(tuple(select), tuple(ignore))
    return lint_files(discover(several, settings), settings, jobs)
