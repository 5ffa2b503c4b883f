"""A layer gets back the state of another layer."""

from rnneval.wiring.evidence import Detections, Evidence

NAME, SEVERITY, ORDER = "crossed-state", "error", 20
CORRECTS = True


def find(evidence: Evidence) -> Detections:
    """Find states from another layer, made in an earlier call."""
    groups = evidence.crossed(same_call=False)
    pairs = {(group.unit, group.giver) for group in groups}
    for group in groups:
        giver = group.source.name if group.source else "another cell of the same layer"
        more = "" if group.is_returned() else f": the new state of {group.into.name} is not among what is returned"
        if (group.giver, group.unit) in pairs:
            more = ": the two states are exchanged where they are returned or taken apart, and this call may be right"
        yield group.found(f"{group.into.name} gets back the state of {giver} ({group.flow}; {group.calls}){more}")
