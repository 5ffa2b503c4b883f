"""A layer begins anew although its state was handed on."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "ignored-state"
SEVERITY = "error"
ORDER = 70


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find fresh states where the layer's own was handed on."""
    for group in evidence.groups("fresh"):
        why = "is stateful" if group.into.stateful else "gave its state to the caller, who gave it back"
        seen = f"{group.into.name} {why}, and yet {group.begins()} ({group.calls})"
        yield evidence.detection(seen, group)
    for group in evidence.groups("partial"):
        share = max(item.arrival.missing for item in group.items)
        seen = f"{100 * share:.0f} % of the state of {group.into.name} is not carried ({group.slots}; {group.calls})"
        yield evidence.detection(seen, group)
