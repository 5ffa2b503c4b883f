"""A layer's own state goes through random numbers on its way back, at inference."""

from rnneval.wiring.evidence import Detections, Evidence

NAME, SEVERITY, ORDER = "noisy-state", "error", 100


def find(evidence: Evidence) -> Detections:
    """Find own states that met random numbers."""
    noisy = [arrival for arrival in evidence.arrivals if arrival.noisy]
    for unit in dict.fromkeys(map(evidence.unit_of, noisy)):
        group = evidence.group(unit, (arrival for arrival in noisy if evidence.unit_of(arrival) == unit))
        what = f"{group.slots}; {group.calls}"
        yield group.found(f"random numbers meet the state of {group.into.name} with training=False ({what})")
