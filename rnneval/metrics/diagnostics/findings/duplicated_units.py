"""Units with the same state: a smaller layer could hold the same information."""

from rnneval.metrics.diagnostics.findings import Facts, Found

NAME, THRESHOLD = "duplicated-units", 0.05


def find(facts: Facts, threshold: float) -> Found:
    """Yield states with too many twins."""
    for key, state in (facts.run.states or {}).items() if facts.run else ():
        if not state.duplicated <= threshold:
            said = f"{100 * state.duplicated:.0f} % of the units have a twin (|r| > 0.999)"
            yield key.rpartition(".")[0], f"{key}: {said}"
