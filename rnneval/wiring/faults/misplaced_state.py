"""A layer gets its own state back with rows or units in other places."""

from rnneval.wiring.evidence import Detections, Evidence

NAME, SEVERITY, ORDER = "misplaced-state", "error", 50


def find(evidence: Evidence) -> Detections:
    """Find own states whose elements are in other places."""
    for group in evidence.groups("misplaced"):
        what = f"{group.slots}; {group.calls}"
        seen = f"{group.into.name} gets its own state back with rows or units in other places ({what})"
        yield group.found(seen)
