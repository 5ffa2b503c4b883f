"""A layer above the first hardly moves or learns: the model works as if it were not there."""

from rnneval.metrics.diagnostics.findings import Facts, Found
from rnneval.metrics.gradient_norms import together

NAME, THRESHOLD = "unused-layer", 0.01


def find(facts: Facts, threshold: float) -> Found:
    """Yield layers above the first that hardly move, or whose gradient is almost 0."""
    run, gradients = facts.run, facts.gradients
    states = (run.states if run else None) or {}
    for layer in run.checkpoint.layers[1:] if run and run.checkpoint else ():
        state = states.get(f"{layer.name}.{layer.slots[0]}")
        if state is not None and not state.speed > threshold * state.norm_mean:
            moves = f"its state moves by {state.speed:.2g} a token at a norm of {state.norm_mean:.2g}"
            yield layer.name, f"{layer.name}: {moves}"
    if gradients is None:
        return
    layers, variables = [layer.name for layer in gradients.checkpoint.layers], gradients.variables.values()
    norms = {name: float(together([v.norm_mean for v in variables if v.layer == name])) for name in layers}
    most = max(norms.values(), default=0.0)
    for name in layers[1:]:
        if most > 0 and not norms[name] > threshold * most:
            yield name, f"{name}: its gradient is {norms[name]:.2g}, that of another layer {most:.2g}"
