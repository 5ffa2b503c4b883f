"""Another past gives the same predictions."""

from rnneval.wiring.evidence import Detections, Evidence

NAME, SEVERITY, ORDER = "unused-state", "error", 140


def find(evidence: Evidence) -> Detections:
    """Find a failed oracle *used* in a model that hands some state on."""
    facts = evidence.facts
    hands_on = facts.takes_states or facts.gives_states or any(unit.stateful for unit in facts.units)
    if evidence.failed("used") and hands_on:
        yield evidence.failure_of_recurrence("used", "The past has no effect on the predictions")
