"""Random numbers are drawn at every call, with training=False too."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "always-random"
SEVERITY = "error"
ORDER = 105


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find a failed oracle *repeat* that nothing else explains."""
    drawn = any(item.arrival.random or item.arrival.noisy for item in evidence.kinds)
    if evidence.failed("repeat") and not evidence.failed("fresh") and not drawn:
        yield evidence.failure("repeat", "Random numbers are drawn with training=False")
