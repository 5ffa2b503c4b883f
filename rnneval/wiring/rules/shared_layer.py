"""One layer object is used as two layers of a stack.

## What it finds
A layer (or cell) runs twice in one call, and reads the second time what it gave the first time.

## Why it is wrong
Both layers of the stack have the same weights (and may share a state), although they were meant to be two: the model
is smaller than it looks, and no test of its behaviour can tell.

## Example
```python
self.layers_ = [tf.keras.layers.GRU(units)] * 3      # three names for one layer
```

## What to write instead
Make one object for each layer: `[tf.keras.layers.GRU(units) for _ in range(3)]`.

Weights shared over depth on purpose (a recurrent highway) are declared with `--declare shared=LAYER`. Loops over
tokens, which run the same layer on each token in turn, are not this fault.

## References
Zilly et al. 2017, Recurrent Highway Networks (weights shared over depth on purpose).
"""

from collections.abc import Iterator

from rnneval.records.wiring import Finding
from rnneval.wiring.evidence import Evidence, Group, finding
from rnneval.wiring.rules import this

NAME, SEVERITY, ORDER, CORRECTS = "shared-layer", "error", 35, False


def find(evidence: Evidence) -> Iterator[Finding]:
    """Layers whose second input descends from their first output, at one place or at another."""
    facts = evidence.facts
    for unit, fact in enumerate(facts.units):
        if not fact.reused or fact.place > 1 or fact.names & facts.declared.shared:
            continue
        items = [item for item in evidence.kinds if _layer(evidence, item.arrival.event) == fact.path]
        again = [item for item in items if _reads_itself(evidence, item.arrival.event)]
        group = Group(facts=facts, unit=unit, giver=None, items=tuple(again or items))
        seen = f"{fact.name} runs more than once in one call and reads what it gave itself"
        yield finding(this(__name__), f"{seen}: one object stands for several layers", group)


def _layer(evidence: Evidence, event: int) -> str:
    return evidence.facts.units[evidence.facts.events[event].unit].path


def _reads_itself(evidence: Evidence, event: int) -> bool:
    mine = _layer(evidence, event)
    return any(_layer(evidence, other) == mine for other in evidence.facts.events[event].descends)
