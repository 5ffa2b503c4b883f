"""A document starts from what another document left behind."""

from rnneval.wiring.evidence import Detections, Evidence

NAME, SEVERITY, ORDER = "leftover-state", "error", 65


def find(evidence: Evidence) -> Detections:
    """Find a failed oracle *fresh*."""
    if evidence.failed("fresh"):
        yield evidence.failed_test("fresh", "A new document depends on what was read before it")
