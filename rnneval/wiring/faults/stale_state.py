"""A layer gets a state older than its last one."""

from rnneval.wiring.evidence import Detections, Evidence

NAME, SEVERITY, ORDER = "stale-state", "error", 60


def find(evidence: Evidence) -> Detections:
    """Find older states of the layer itself, and initial tensors that were made in an earlier call."""
    for group in evidence.groups("stale"):
        own = group.arrivals[0].sources
        what = "an older state of its own" if own else "the initial state of an earlier call"
        yield group.found(f"{group.into.name} gets {what}, not its last one ({group.slots}; {group.calls})")
