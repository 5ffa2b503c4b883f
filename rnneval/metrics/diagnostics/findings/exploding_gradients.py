"""The gradient grows back through time: one step of training can undo what was learnt.

## What it finds
In `rnneval gradients`: a state in which the median of ‖∂loss_T/∂s_{T−k}‖, as a multiple of that at the first lag, is
above the threshold at some lag k.

Jumps during training are seen in a history of `GradientNorms`: plot it with `rnneval plot`, or set a limit with
`rnneval gate --require`.

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
    """Yield states whose gradient grows back through time."""
    for key, course in facts.gradients.through_time.items() if facts.gradients else ():
        most = max(course.median)
        if not most <= threshold:
            said = f"the gradient grows to {most:.3g} times its size over {course.median.index(most)} tokens back"
            yield key.rpartition(".")[0], f"{key}: {said}"
