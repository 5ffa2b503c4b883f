"""A prediction depends on tokens that come after it."""

from rnneval.wiring.evidence import Detections, Evidence

NAME, SEVERITY, ORDER = "future-leak", "error", 110


def find(evidence: Evidence) -> Detections:
    """Find a failed oracle *causal* or *training* where looking ahead was not declared."""
    failed = [name for name in ("causal", "training") if evidence.failed(name)]
    if failed and evidence.declared.causal:
        yield evidence.failed_test(failed[0], "Predictions depend on later tokens")
