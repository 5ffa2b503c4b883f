"""Random numbers are drawn at every call, with training=False too."""

from rnneval.wiring.evidence import Detections, Evidence

NAME, SEVERITY, ORDER = "always-random", "error", 105


def find(evidence: Evidence) -> Detections:
    """Find a failed oracle *repeat* that nothing else explains."""
    drawn = any(arrival.random or arrival.noisy for arrival in evidence.arrivals)
    if evidence.failed("repeat") and not evidence.failed("fresh") and not drawn:
        yield evidence.failed_test("repeat", "Random numbers are drawn with training=False")
