"""The state's norm goes on growing or shrinking along the text: the model leaves the states that it was trained on."""

from rnneval.metrics.diagnostics.findings import Facts, Found

NAME, THRESHOLD = "drifting-norm", 0.5


def find(facts: Facts, threshold: float) -> Found:
    """Yield states whose norm drifts."""
    for key, state in (facts.run.states or {}).items() if facts.run else ():
        if not abs(state.drift) <= threshold:
            said = f"the norm changes by {100 * state.drift:+.0f} % of its mean along the text"
            yield key.rpartition(".")[0], f"{key}: {said}"
