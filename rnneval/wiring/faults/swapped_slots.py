"""The parts of one layer's state are exchanged: h with c, forward with backward."""

from rnneval.wiring.evidence import Detections, Evidence

NAME, SEVERITY, ORDER = "swapped-slots", "error", 30


def find(evidence: Evidence) -> Detections:
    """Find states from another part of the same layer, or from its other direction."""
    for group in evidence.groups("swapped"):
        yield group.found(f"{group.into.name}: {group.flow} ({group.calls})")
