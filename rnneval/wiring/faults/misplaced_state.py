"""A layer gets its own state back with rows or units in other places."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "misplaced-state"
SEVERITY = "error"
ORDER = 50


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find own states whose elements are in other places."""
    for group in evidence.groups("misplaced"):
        what = f"{group.slots}; {group.calls}"
        seen = f"{group.into.name} gets its own state back with rows or units in other places ({what})"
        yield evidence.detection(seen, group)
