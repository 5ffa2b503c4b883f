"""A layer begins anew at every call, as declared or because the model carries no state."""

from rnneval.wiring.evidence import Detections, Evidence

NAME, SEVERITY, ORDER = "uncarried-state", "info", 200


def find(evidence: Evidence) -> Detections:
    """Find fresh states that are declared, and those of a model that carries nothing at all."""
    kinds = ("declared", "uncarried", *(() if evidence.hands_states_on() else ("dropped",)))
    for group in evidence.groups(*kinds) if evidence.wired_by == "author" else ():
        if not any(arrival.sources for arrival in group.arrivals):
            yield group.found(f"{group.into.name} begins anew at every call ({group.slots})")
