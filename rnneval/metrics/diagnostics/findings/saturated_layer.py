"""Most of a layer's state, or of a gate, is at its bound: it can hardly change any more."""

from rnneval.metrics.diagnostics.findings import Facts, Found

NAME, THRESHOLD = "saturated-layer", 0.5


def find(facts: Facts, threshold: float) -> Found:
    """Yield states and gates at their bounds."""
    run = facts.run
    for key, state in (run.states or {}).items() if run else ():
        if state.saturated is not None and not state.saturated <= threshold:
            yield key.rpartition(".")[0], f"{key}: {100 * state.saturated:.0f} % of the state is saturated"
    for key, gate in (run.gates or {}).items() if run else ():
        share = gate.saturated_low + gate.saturated_high
        if not share <= (1 + threshold) / 2:
            yield key.rpartition(".")[0], f"{key}: the gate is saturated at {100 * share:.0f} % of position × unit"
