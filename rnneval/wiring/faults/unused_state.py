"""Another past gives the same predictions."""

from rnneval.wiring.evidence import Detections, Evidence

NAME, SEVERITY, ORDER = "unused-state", "error", 140


def find(evidence: Evidence) -> Detections:
    """Find a failed oracle *used* in a model that hands some state on."""
    hands_on = evidence.takes_states or evidence.gives_states or any(unit.stateful for unit in evidence.units)
    if evidence.failed("used") and hands_on:
        yield evidence.failed_recurrence("used", "The past has no effect on the predictions")
