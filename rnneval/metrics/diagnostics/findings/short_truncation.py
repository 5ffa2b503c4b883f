"""The model was trained through fewer tokens than its memory is long: it cannot learn what it could use.

## What it finds
If the truncation of training is known (`--truncation N`): in `rnneval gradients`, a state whose gradient reaches
further back than that (99 % is gone later, or not at all within the lags that were measured); in `rnneval trace
--context`, a context of the truncation's length whose loss is more than the threshold above that of the whole context.

**Default threshold:** 0.01 nats a token (`--threshold short-truncation=0.01`).

## Why it matters
Truncated back-propagation gives no gradient beyond the segment: the model learns longer dependencies
by chance alone, although the state does carry them.

## What to do
Longer segments in training, at the same number of tokens a batch; carry the state from one segment to the next.

## References
- R. J. Williams, J. Peng: *An efficient gradient-based algorithm for on-line training of recurrent network
  trajectories*. Neural Computation 2, 1990.
- C. Tallec, Y. Ollivier: *Unbiasing truncated backpropagation through time*. arXiv:1705.08209, 2017.
"""

from rnneval.metrics.diagnostics.findings import Facts, Found

NAME, THRESHOLD = "short-truncation", 0.01


def find(facts: Facts, threshold: float) -> Found:
    """Yield gradients and contexts that reach further than training did."""
    length = facts.truncation
    if length is None:
        return
    for key, course in facts.gradients.through_time.items() if facts.gradients else ():
        reach = len(course.median) - 1 if course.gone is None else course.gone
        if reach > length:
            said = f"the gradient reaches {reach} tokens back, training went through {length}"
            yield key.rpartition(".")[0], f"{key}: {said}"
    curve = facts.run.context if facts.run else None
    if curve is None:
        return
    for k, nats in zip(curve.lengths, curve.nats, strict=True):
        more = nats - curve.whole
        if k >= length and not more <= threshold:
            yield None, f"{k} tokens of context cost {more:.3g} nats a token more than all of it"
