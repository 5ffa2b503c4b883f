"""A layer's own state goes through random numbers on its way back, at inference.

## What it finds
With `training=False`, the state is still noised or dropped out between two calls.

## Why it is wrong
No figure can be had twice, and the model that is evaluated is not the one that would be used: dropout belongs to
training.

## Example
```python
states = tf.nn.dropout(states, 0.1)                  # also at inference
```

## What to write instead
Use a `Dropout` (or `GaussianNoise`) layer and hand it `training`: at inference it does nothing.

## References
Gal and Ghahramani 2016, A Theoretically Grounded Application of Dropout in Recurrent Neural Networks.
"""

from collections.abc import Iterator

from rnneval.records.wiring import Finding
from rnneval.wiring.evidence import Evidence, Group, finding
from rnneval.wiring.rules import this

NAME, SEVERITY, ORDER, CORRECTS = "noisy-state", "error", 100, False


def find(evidence: Evidence) -> Iterator[Finding]:
    """Own state that met random numbers."""
    by_unit: dict[int, Group] = {}
    noisy = [item for item in evidence.kinds if item.arrival.noisy]
    for item in noisy:
        unit = evidence.facts.events[item.arrival.event].unit
        items = (*by_unit[unit].items, item) if unit in by_unit else (item,)
        by_unit[unit] = Group(facts=evidence.facts, unit=unit, giver=None, items=items)
    for group in by_unit.values():
        seen = f"random numbers meet the state of {group.into.name} with training=False ({group.slots}; {group.calls})"
        yield finding(this(__name__), seen, group)
