"""Most of a layer's state, or of a gate, is at its bound: it can hardly change any more.

## What it finds
A state whose share of saturated position × unit (|h| > 0.97; for the c of an LSTM |tanh c| > 0.97) is above the
threshold, or a gate whose share below 0.03 or above 0.97 is, and which therefore hardly moves.

**Default threshold:** 0.5 (`--threshold saturated-layer=0.5`); for gates the mean of it and 1.

## Why it matters
The derivative of tanh at 0.97 is 0.06, of a gate at 0.97 it is 0.03: learning stands still, and units act as
switches.

## What to do
A lower learning rate, smaller initial weights, layer normalisation; look at the histograms of `rnneval trace --out`.

## References
- X. Glorot, Y. Bengio: *Understanding the difficulty of training deep feedforward neural networks*. AISTATS 2010.
- A. Karpathy, J. Johnson, L. Fei-Fei: *Visualizing and understanding recurrent networks*. ICLR workshop 2016, figure 3.
"""

from rnneval.metrics.diagnostics.findings import Facts, Found

NAME, THRESHOLD = "saturated-layer", 0.5


def find(facts: Facts, threshold: float) -> Found:
    """Yield states and gates at their bounds."""
    run = facts.run
    for key, state in (run.states or {}).items() if run else ():
        if state.saturated is not None and not state.saturated <= threshold:
            yield key.rpartition(".")[0], f"{key}: {100 * state.saturated:.0f} % of the state is saturated"
    for key, gate in (run.gates or {}).items() if run else ():
        share = gate.saturated_low + gate.saturated_high
        if not share <= (1 + threshold) / 2:
            yield key.rpartition(".")[0], f"{key}: the gate is saturated at {100 * share:.0f} % of position × unit"
