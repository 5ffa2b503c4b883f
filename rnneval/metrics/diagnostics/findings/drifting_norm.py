"""The state's norm goes on growing or shrinking along the text: the model leaves the states that it was trained on.

## What it finds
A state whose fitted norm changes over the longest document by more than the threshold, as a share of its mean.

**Default threshold:** 0.5 (`--threshold drifting-norm=0.5`).

## Why it matters
A model that is trained on segments of a hundred tokens from a zero state has never seen the states that a long carried
stream reaches. A norm that drifts (an LSTM's c that counts, a linear unit with an eigenvalue of 1) makes the loss of
late tokens a loss in states that training never reached.

## What to do
Train with the state carried from segment to segment (`stateful=True` and batches in the order of the text); bound the
state; compare the loss early and late in the text (`rnneval evaluate --losses`).

## References
- S. Merity, N. S. Keskar, R. Socher: *Regularizing and optimizing LSTM language models*. ICLR 2018 (activation
  regularisation, temporal and not).
"""

from rnneval.metrics.diagnostics.findings import Facts, Found

NAME, THRESHOLD = "drifting-norm", 0.5


def find(facts: Facts, threshold: float) -> Found:
    """Yield states whose norm drifts."""
    for key, state in (facts.run.states or {}).items() if facts.run else ():
        if not abs(state.drift) <= threshold:
            said = f"the norm changes by {100 * state.drift:+.0f} % of its mean along the text"
            yield key.rpartition(".")[0], f"{key}: {said}"
