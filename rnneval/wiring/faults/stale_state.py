"""A layer gets a state older than its last one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "stale-state"
SEVERITY = "error"
ORDER = 60


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find older states of the layer itself, and initial tensors that were made in an earlier call."""
    for group in evidence.groups("stale"):
        what = "an older state of its own" if group.items[0].arrival.sources else "the initial state of an earlier call"
        seen = f"{group.into.name} gets {what}, not its last one ({group.slots}; {group.calls})"
        yield evidence.detection(seen, group)
