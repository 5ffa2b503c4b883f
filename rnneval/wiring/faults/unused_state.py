"""Another past gives the same predictions."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "unused-state"
SEVERITY = "error"
ORDER = 140


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find a failed oracle *used* in a model that hands some state on."""
    facts = evidence.facts
    hands_on = facts.takes_states or facts.gives_states or any(unit.stateful for unit in facts.units)
    if evidence.failed("used") and hands_on:
        yield evidence.failure_of_recurrence("used", "The past has no effect on the predictions")
