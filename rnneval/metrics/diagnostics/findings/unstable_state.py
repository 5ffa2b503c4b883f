"""A small change of a state grows along the text: the model's state is chaotic.

## What it finds
In `rnneval trace --lyapunov`: a layer whose largest (conditional) Lyapunov exponent is above the threshold by more than
two standard errors.

**Default threshold:** 0 nats a token (`--threshold unstable-state=0`).

## Why it matters
Rounding errors grow too: the loss of one carried stream then depends on the arithmetic, and the model does not forget
its start. A slightly negative exponent is a long memory; a positive one is none.

## What to do
Smaller recurrent weights, more training; look at `forgets in` of `rnneval evaluate`.

## References
- R. Engelken, F. Wolf, L. F. Abbott: *Lyapunov spectra of chaotic recurrent neural networks*. Physical Review Research
  5, 2023.
- T. Laurent, J. von Brecht: *A recurrent neural network without chaos*. ICLR 2017.
"""

from rnneval.metrics.diagnostics.findings import Facts, Found

NAME, THRESHOLD = "unstable-state", 0.0


def find(facts: Facts, threshold: float) -> Found:
    """Yield layers with a positive exponent."""
    for name, exponent in (facts.run.lyapunov or {}).items() if facts.run else ():
        if name != "stack" and not exponent.value - 2 * exponent.standard_error <= threshold:
            growth = f"{exponent.value:+.3g} ± {exponent.standard_error:.2g} nats a token"
            yield name, f"{name}: a small change grows by {growth}"
