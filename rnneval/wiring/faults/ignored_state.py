"""A layer begins anew although its state was handed on."""

from rnneval.wiring.evidence import Detections, Evidence

NAME, SEVERITY, ORDER = "ignored-state", "error", 70


def find(evidence: Evidence) -> Detections:
    """Find fresh states where the layer's own was handed on."""
    for group in evidence.groups("fresh"):
        why = "is stateful" if group.into.stateful else "gave its state to the caller, who gave it back"
        yield group.found(f"{group.into.name} {why}, and yet {group.begins()} ({group.calls})")
    for group in evidence.groups("partial"):
        share = f"{100 * max(arrival.missing for arrival in group.arrivals):.0f} %"
        yield group.found(f"{share} of the state of {group.into.name} is not carried ({group.slots}; {group.calls})")
