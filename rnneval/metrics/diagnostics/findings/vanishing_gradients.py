"""The gradient vanishes after a few tokens: the model cannot learn from tokens further back.

## What it finds
In `rnneval gradients`: a state in which 99 % of the gradient of a token's loss is gone (the median over anchors stays
under 0.01 of its size at the first lag) after fewer tokens than the threshold.

**Default threshold:** 5 tokens (`--threshold vanishing-gradients=5`).

## Why it matters
Truncated back-propagation over longer segments costs time and teaches nothing that lies beyond. In a trained model it
may also mean that nothing further back is useful for this text: see `rnneval trace --context`.

## What to do
A gated cell; a forget gate that begins near 1 (`unit_forget_bias`); an orthogonal recurrent kernel; shorter segments if
the context curve is flat as well.

## References
- S. Hochreiter: *Untersuchungen zu dynamischen neuronalen Netzen*. Diploma thesis, TU München 1991.
- Y. Bengio, P. Simard, P. Frasconi: *Learning long-term dependencies with gradient descent is difficult*. IEEE
  Transactions on Neural Networks 5, 1994.
"""

from rnneval.metrics.diagnostics.findings import Facts, Found

NAME, THRESHOLD = "vanishing-gradients", 5.0


def find(facts: Facts, threshold: float) -> Found:
    """Yield states whose gradient vanishes too soon."""
    for key, course in facts.gradients.through_time.items() if facts.gradients else ():
        if course.gone is not None and not course.gone >= threshold:
            yield key.rpartition(".")[0], f"{key}: 99 % of the gradient is gone after {course.gone} tokens"
