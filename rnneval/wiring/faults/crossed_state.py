"""A layer gets back the state of another layer."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "crossed-state"
SEVERITY = "error"
ORDER = 20
CORRECTS = True


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find states from another layer, made in an earlier call."""
    groups = evidence.groups_within("crossed", same_call=False)
    pairs = {(group.unit, group.giver) for group in groups}
    for group in groups:
        giver = group.source.name if group.source else "another cell of the same layer"
        more = "" if group.is_returned() else f": the new state of {group.into.name} is not among what is returned"
        if (group.giver, group.unit) in pairs:
            more = ": the two states are exchanged, in the returned order or where they are taken apart"
        seen = f"{group.into.name} gets back the state of {giver} ({group.flow}; {group.calls}){more}"
        yield evidence.detection(seen, group)
