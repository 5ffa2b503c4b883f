"""A layer's own state goes through random numbers on its way back, at inference.

## What it finds
With `training=False`, the state is still noised or dropped out between two calls.

## Why it is wrong
No result can be reproduced, and the model that is evaluated is not the one that would be used: dropout belongs to
training.

## Example
```python
states = tf.nn.dropout(states, 0.1)                  # also at inference
```

## What to write instead
Use a `Dropout` (or `GaussianNoise`) layer and pass it `training`: at inference it does nothing.

## References
Gal and Ghahramani 2016, A Theoretically Grounded Application of Dropout in Recurrent Neural Networks.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence, Kind

NAME = "noisy-state"
SEVERITY = "error"
ORDER = 100


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find own states that met random numbers."""
    by_unit: dict[int, list[Kind]] = {}
    for item in evidence.kinds:
        if item.arrival.noisy:
            by_unit.setdefault(evidence.facts.events[item.arrival.event].unit, []).append(item)
    for unit, items in by_unit.items():
        group = evidence.group(unit, items)
        seen = f"random numbers meet the state of {group.into.name} with training=False ({group.slots}; {group.calls})"
        yield evidence.detection(seen, group)
