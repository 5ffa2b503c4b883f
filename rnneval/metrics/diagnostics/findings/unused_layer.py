"""A layer above the first hardly moves or learns: the model works as if it were not there.

## What it finds
A layer that is not the first, in which the state moves by less than the threshold a token (mean ‖h_t − h_{t−1}‖ as a
share of mean ‖h‖), or whose gradient on held-out text (root of the sum of squares over its variables) is less than the
threshold times that of the recurrent layer with the largest one.

**Default threshold:** 0.01 (`--threshold unused-layer=0.01`).

## Why it matters
It costs as much as a layer that works. A state that does not move is a constant for the layers that read it.

## What to do
Leave it out and compare with `rnneval gate`; look whether it is fed its own state (`rnneval check`).

## References
- M. Hermans, B. Schrauwen: *Training and analysing deep recurrent neural networks*. NeurIPS 2013 (what each layer of a
  stack is used for, found by leaving it out).
"""

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
