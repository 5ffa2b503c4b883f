"""Units that never move: their part of the layer costs time and does nothing."""

from rnneval.metrics.diagnostics.findings import Facts, Found

NAME, THRESHOLD = "dead-units", 0.05


def find(facts: Facts, threshold: float) -> Found:
    """Yield states with too many units that do not move."""
    for key, state in (facts.run.states or {}).items() if facts.run else ():
        if not state.dead <= threshold:
            yield key.rpartition(".")[0], f"{key}: {100 * state.dead:.0f} % of the units never move"
