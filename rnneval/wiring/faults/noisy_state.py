"""A layer's own state goes through random numbers on its way back, at inference."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence, Kind

NAME = "noisy-state"
SEVERITY = "error"
ORDER = 100


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find own states that met random numbers."""
    by_unit: dict[int, list[Kind]] = {}
    for item in evidence.kinds:
        if item.arrival.noisy:
            by_unit.setdefault(evidence.facts.events[item.arrival.event].unit, []).append(item)
    for unit, items in by_unit.items():
        group = evidence.group(unit, items)
        seen = f"random numbers meet the state of {group.into.name} with training=False ({group.slots}; {group.calls})"
        yield evidence.detection(seen, group)
