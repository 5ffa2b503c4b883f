"""A layer's state is mixed with that of another layer."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "mixed-state"
SEVERITY = "error"
ORDER = 40


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find own and foreign states together."""
    for group in evidence.groups("mixed"):
        seen = f"{group.into.name} continues from its own state mixed with another ({group.flow}; {group.calls})"
        yield evidence.detection(seen, group)
