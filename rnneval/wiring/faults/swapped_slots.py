"""The parts of one layer's state are exchanged: h with c, forward with backward."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "swapped-slots"
SEVERITY = "error"
ORDER = 30


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find states from another part of the same layer, or from its other direction."""
    for group in evidence.groups("swapped"):
        yield evidence.detection(f"{group.into.name}: {group.flow} ({group.calls})", group)
