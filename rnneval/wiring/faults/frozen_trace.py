"""A `tf.function` keeps the weights, or the Python values, that it had when it was traced."""

from rnneval.wiring.evidence import Detection, Detections, Evidence

NAME, SEVERITY, ORDER = "frozen-trace", "error", 150
TOLERANCE = 1e-4


def find(evidence: Evidence) -> Detections:
    """Find traced logits that differ from eager ones, or would."""
    trace = evidence.trace
    if trace.difference is not None and not trace.difference <= TOLERANCE:
        seen = (
            f"Traced and eager logits differ by {trace.difference:.2g} of the largest logit after the weights changed; "
            "no layer is named, since the trace is of the whole call"
        )
        yield Detection(seen=seen)
    if trace.as_called:
        yield Detection(seen=trace.as_called, at=trace.spot)
    elif trace.trap:
        seen = f"{trace.trap} is a tf.function on a model that was not built when it was handed over"
        yield Detection(seen=seen, severity="warning")
