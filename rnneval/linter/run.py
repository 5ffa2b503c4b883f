"""Many files, on as many processes as there are cores: files do not depend on each other."""

import gc
import os
from collections.abc import Sequence

from rnneval.linter.check import check_bytes, unreadable
from rnneval.linter.document import MOST_NOTEBOOK_BYTES
from rnneval.linter.finding import LintFinding
from rnneval.linter.settings import Settings
from rnneval.records.paths import open_regular

BATCH = 24
"""Files handed to a process at once; fewer than two batches are not worth a second process."""


def lint_files(files: Sequence[str], settings: Settings, jobs: int = 1) -> tuple[LintFinding, ...]:
    """Lint files; findings in the order of the files, whatever the number of processes."""
    batches = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
    if jobs > 1 and len(batches) > 1 and hasattr(os, "fork"):
        import multiprocessing

        with multiprocessing.get_context("fork").Pool(min(jobs, len(batches))) as pool:
            found = [finding for batch in pool.imap(_batch, batches) for finding in batch]
    else:
        found = [finding for batch in batches for finding in _batch(batch)]
    return wanted(found, settings)


def wanted(found: Sequence[LintFinding], settings: Settings) -> tuple[LintFinding, ...]:
    """Keep the findings that the settings ask for."""
    return tuple(finding for finding in found if settings.wants(finding.code, finding.path))


def _batch(files: Sequence[str]) -> list[LintFinding]:
    # Trees are large and hold no cycles: looking for cycles in them takes a quarter of the time.
    running = gc.isenabled()
    gc.disable()
    try:
        return [finding for file in files for finding in lint_file(file)]
    finally:
        if running:
            gc.enable()


def lint_file(path: str) -> tuple[LintFinding, ...]:
    """Lint one file; one that cannot be read is a finding like any other."""
    try:
        with open_regular(path) as file:
            content = file.read(MOST_NOTEBOOK_BYTES + 1)
    except OSError as error:
        return (unreadable(path, error.strerror or str(error)),)
    return check_bytes(path, content)


def cores() -> int:
    """Count the cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
