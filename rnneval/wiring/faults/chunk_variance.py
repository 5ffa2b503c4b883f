"""The predictions depend on how the text is cut into segments."""

from rnneval.wiring.evidence import Detections, Evidence

NAME, SEVERITY, ORDER = "chunk-variance", "error", 130
SEEN = "One call and several carried calls over the same text differ"


def find(evidence: Evidence) -> Detections:
    """Find a failed oracle *chunk*: an error, or a warning where the dependence is declared or seen to be meant."""
    if not evidence.failed("chunk"):
        return
    declared = evidence.declared
    transformed = [unit.name for unit in evidence.transformed_between_calls()]
    seen = SEEN
    if transformed:
        seen = f"{seen}, and the state of {', '.join(transformed)} is transformed between calls"
    meant = not declared.causal or declared.chunked or evidence.has("declared") or transformed
    nothing_carried = (
        bool(evidence.arrivals)
        and not (evidence.takes_states or evidence.gives_states)
        and not evidence.has("carried", "carried-transformed", "crossed", "mixed", "swapped", "stale", "fresh")
    )
    by_design = declared.depends_on_cuts or bool(evidence.all_seen() and meant) or nothing_carried
    if not by_design:
        units = dict.fromkeys(evidence.units[evidence.unit_of(arrival)].name for arrival in evidence.arrivals)
        layer = next(iter(units)) if len(units) == 1 else "LAYER"
        fitting = f"chunked={layer} or chunked=true" if evidence.all_seen() else "chunked=true"
        seen = f"{seen} (declare {fitting} if that is meant)"
    yield evidence.failed_recurrence("chunk", seen, severity="warning" if by_design else None)
