"""A prediction depends on tokens that come after it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "future-leak"
SEVERITY = "error"
ORDER = 110


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find a failed oracle *causal* or *training* where looking ahead was not declared."""
    failed = [name for name in ("causal", "training") if evidence.failed(name)]
    if failed and evidence.facts.declared.causal:
        yield evidence.failure(failed[0], "Predictions depend on later tokens")
