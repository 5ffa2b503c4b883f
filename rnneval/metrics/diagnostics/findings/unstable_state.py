"""A small change of a state grows along the text: the model's state is chaotic."""

from rnneval.metrics.diagnostics.findings import Facts, Found

NAME, THRESHOLD = "unstable-state", 0.0


def find(facts: Facts, threshold: float) -> Found:
    """Yield layers with a positive exponent."""
    for name, exponent in (facts.run.lyapunov or {}).items() if facts.run else ():
        if name != "stack" and not exponent.value - 2 * exponent.standard_error <= threshold:
            growth = f"{exponent.value:+.3g} ± {exponent.standard_error:.2g} nats a token"
            yield name, f"{name}: a small change grows by {growth}"
