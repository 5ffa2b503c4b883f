"""Units with the same state: a smaller layer could hold the same information.

## What it finds
A state in which the share of units that have a twin (|r| > 0.999 over the text) is above the threshold.

**Default threshold:** 0.05 (`--threshold duplicated-units=0.05`).

## Why it matters
Two units whose states are linear functions of each other add nothing for the layers that read them. They come from
symmetric initial weights (constants) or from a layer that is larger than its task.

## What to do
Random initial weights; fewer units; compare a smaller layer with `rnneval gate`.

## References
- J. Li, Y. Yosinski, J. Clune, H. Lipson, J. Hopcroft: *Convergent learning: do different neural networks learn the
  same representations?* ICLR 2016.
"""

from rnneval.metrics.diagnostics.findings import Facts, Found

NAME, THRESHOLD = "duplicated-units", 0.05


def find(facts: Facts, threshold: float) -> Found:
    """Yield states with too many twins."""
    for key, state in (facts.run.states or {}).items() if facts.run else ():
        if not state.duplicated <= threshold:
            said = f"{100 * state.duplicated:.0f} % of the units have a twin (|r| > 0.999)"
            yield key.rpartition(".")[0], f"{key}: {said}"
