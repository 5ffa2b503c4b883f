"""A document starts from what another document left behind."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "leftover-state"
SEVERITY = "error"
ORDER = 65


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find a failed oracle *fresh*."""
    if evidence.failed("fresh"):
        yield evidence.failure("fresh", "A new document depends on what was read before it")
