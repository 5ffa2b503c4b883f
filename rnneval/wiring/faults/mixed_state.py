"""A layer's state is mixed with that of another layer."""

from rnneval.wiring.evidence import Detections, Evidence

NAME, SEVERITY, ORDER = "mixed-state", "error", 40


def find(evidence: Evidence) -> Detections:
    """Find own and foreign states together."""
    for group in evidence.groups("mixed"):
        seen = f"{group.into.name} continues from its own state mixed with another ({group.flow}; {group.calls})"
        yield group.found(seen)
