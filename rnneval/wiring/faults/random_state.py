"""A layer's state is drawn at random at every call."""

from rnneval.wiring.evidence import Detections, Evidence

NAME, SEVERITY, ORDER = "random-state", "error", 90


def find(evidence: Evidence) -> Detections:
    """Find states that are drawn at a call after the first."""
    for group in evidence.groups("random"):
        seen = f"{group.into.name} starts from random numbers ({group.slots}; {group.calls})"
        yield group.found(seen)
