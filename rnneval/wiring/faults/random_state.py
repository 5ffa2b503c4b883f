"""A layer's state is drawn at random at every call."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "random-state"
SEVERITY = "error"
ORDER = 90


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find states that are drawn at a call after the first."""
    for group in evidence.groups("random"):
        seen = f"{group.into.name} starts from random numbers ({group.slots}; {group.calls})"
        yield evidence.detection(seen, group)
