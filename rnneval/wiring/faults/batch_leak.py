"""A prediction depends on another text of the batch."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "batch-leak"
SEVERITY = "error"
ORDER = 120


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find a failed oracle *batch*, or a failed *alone* that no other wiring for one row explains."""
    if evidence.failed("batch"):
        yield evidence.failure("batch", "Predictions depend on other rows of the batch")
    elif evidence.failed("alone") and not any(run.has_faults() for run in evidence.variants("one row")):
        detail = evidence.facts.oracles["alone"].detail
        yield evidence.detection(f"Predictions depend on whether there are other rows: {detail}")
