"""Rules by which a checkpoint is refused.

A rule is a page of the kind `loading rule` in `rnneval/pages`, and a check beside the reader of its format that yields
the rule's name and a sentence on what was seen. The message ends with the first paragraph of the page's "What to do".
"""

from collections.abc import Iterator
from pathlib import Path

from rnneval.errors import CheckpointError
from rnneval.pages import page

Faults = Iterator[tuple[str, str]]  # broken rules, the gravest first: the name of each, and what was seen


def require_none(path: Path, faults: Faults) -> None:
    """Raise the first of these faults, if there is one."""
    for name, seen in faults:
        raise refused(name, path, seen)


def refused(name: str, path: Path, detail: str) -> CheckpointError:
    """Return the error of a broken rule: the file, the rule, what was seen, and what to do."""
    advice = page(name).paragraph("What to do").removesuffix(".")
    advice = advice[0].lower() + advice[1:]
    return CheckpointError(f"{path}: refused by rule {name}: {detail}: {advice}", rule=name)
