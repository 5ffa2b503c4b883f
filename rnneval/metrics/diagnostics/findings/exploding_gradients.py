"""The gradient grows back through time, or jumped in training: one step can undo what was learnt.

## What it finds
In `rnneval gradients`: a state in which the median of ‖∂loss_T/∂s_{T−k}‖, as a multiple of that at the first lag, is
above the threshold at some lag k. In a training history: a step whose gradient norm is above the threshold as a
multiple of the median of the hundred steps before it, or a gradient that is not finite.

**Default threshold:** 100 (`--threshold exploding-gradients=100`).

## Why it matters
A product of Jacobians with a spectral norm above 1 grows exponentially with the lag. An update along such a gradient is
far longer than the region in which the gradient holds.

## What to do
Clip the norm of the whole gradient (`clipnorm` clips each variable alone, `global_clipnorm` all together); a lower
learning rate; an orthogonal initialisation of the recurrent kernel.

## References
- R. Pascanu, T. Mikolov, Y. Bengio: *On the difficulty of training recurrent neural networks*. ICML 2013, section 2.
"""

from rnneval.metrics.diagnostics.findings import Facts, Found

NAME, THRESHOLD = "exploding-gradients", 100.0


def find(facts: Facts, threshold: float) -> Found:
    """Yield growth back through time, jumps in training, and gradients that are not finite."""
    for key, course in facts.gradients.through_time.items() if facts.gradients else ():
        most = max(course.median)
        if not most <= threshold:
            said = f"the gradient grows to {most:.3g} times its size over {course.median.index(most)} tokens back"
            yield key.rpartition(".")[0], f"{key}: {said}"
    history = facts.history
    if history is None:
        return
    if history.first_not_finite is not None:
        yield None, f"the gradient of {history.variable} is not finite at step {history.first_not_finite}"
    if not history.largest_ratio <= threshold:
        jump = f"{history.largest_ratio:.3g} times the median of the hundred steps before"
        yield None, f"at step {history.largest_step} the gradient's norm is {jump}"
