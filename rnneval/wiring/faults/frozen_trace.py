"""A `tf.function` keeps the weights, or the Python values, that it had when it was traced."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "frozen-trace"
SEVERITY = "error"
ORDER = 150
TOLERANCE = 1e-4


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find traced logits that differ from eager ones, or would."""
    trace = evidence.facts.trace
    if trace.difference is not None and not trace.difference <= TOLERANCE:
        seen = (
            f"Traced and eager logits differ by {trace.difference:.2g} of the largest logit after the weights changed; "
            "no layer is named, since the trace is of the whole call"
        )
        yield evidence.detection(seen)
    if trace.as_called:
        yield evidence.detection(trace.as_called, at=trace.spot)
    elif trace.trap:
        seen = f"{trace.trap} is a tf.function on a model that was not built when it was handed over"
        yield evidence.detection(seen, severity="warning")
