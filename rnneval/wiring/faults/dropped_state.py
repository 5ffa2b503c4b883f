"""A layer's state is not handed on: it begins anew at every call."""

from rnneval.wiring.evidence import Detections, Evidence

NAME, SEVERITY, ORDER = "dropped-state", "error", 80
CORRECTS = True


def find(evidence: Evidence) -> Detections:
    """Find fresh states, the layer's own not returned, in a model that hands some state on."""
    for group in evidence.groups("dropped") if evidence.hands_states_on() else ():
        yield group.found(f"{group.begins()}, and its last state is not among what is handed on ({group.calls})")
