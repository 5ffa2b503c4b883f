"""A prediction depends on another text of the batch."""

from rnneval.wiring.evidence import Detection, Detections, Evidence
from rnneval.wiring.evidence import evidence as evidence_of
from rnneval.wiring.facts import ONE_ROW

NAME, SEVERITY, ORDER = "batch-leak", "error", 120


def find(evidence: Evidence) -> Detections:
    """Find a failed oracle *batch*, or a failed *alone* that no other wiring for one row explains."""
    if evidence.failed("batch"):
        yield evidence.failed_test("batch", "Predictions depend on other rows of the batch")
    elif evidence.failed("alone") and not any(
        evidence_of(run).has_faults() for run in evidence.variants.get(ONE_ROW, ())
    ):
        detail = evidence.oracles["alone"].detail
        yield Detection(seen=f"Predictions depend on whether there are other rows: {detail}")
