"""Units that never move: their part of the layer costs time and does nothing.

## What it finds
A state in which the share of units with a variance below 1e-6 over the whole text is above the threshold.

**Default threshold:** 0.05 (`--threshold dead-units=0.05`).

## Why it matters
A dead unit is a constant, which the bias of the next layer has already. Many of them mean that the layer is larger than
its task needs, or that it died in training (a learning rate too high, a bound reached).

## What to do
Fewer units; or, if they died in training, a lower learning rate and clipping: see the history of `GradientNorms`.

## References
- L. Lu, Y. Shin, Y. Su, G. E. Karniadakis: *Dying ReLU and initialization: theory and numerical examples*.
  Communications in Computational Physics 28, 2020.
"""

from rnneval.metrics.diagnostics.findings import Facts, Found

NAME, THRESHOLD = "dead-units", 0.05


def find(facts: Facts, threshold: float) -> Found:
    """Yield states with too many units that do not move."""
    for key, state in (facts.run.states or {}).items() if facts.run else ():
        if not state.dead <= threshold:
            yield key.rpartition(".")[0], f"{key}: {100 * state.dead:.0f} % of the units never move"
