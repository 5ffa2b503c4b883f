"""A layer starts from the state that another layer made in the same call."""

from rnneval.wiring.evidence import Detections, Evidence

NAME, SEVERITY, ORDER = "shared-state", "error", 10
CORRECTS = True


def find(evidence: Evidence) -> Detections:
    """Find states from another layer, made in the same call."""
    for group in evidence.crossed(same_call=True):
        giver = group.source.name if group.source else "another unit"
        if group.into.is_layer:
            seen, meant = f"{group.into.name} starts from the state that {giver} made in the same call", ""
        else:
            seen = f"cell {group.into.name} takes the state that {giver} made in the same call"
            meant = f"; if that is meant, give --declare mixed={group.into.name}"
        yield group.found(f"{seen} ({group.flow}; {group.calls}){meant}")
