"""A layer's state is drawn at random at every call.

## What it finds
After the first call, the state that goes in is made of random numbers, with none of the layer's own past in them.

## Why it is wrong
The layer forgets its past at every segment, and no result can be reproduced.

## Example
```python
state = tf.random.normal((batch, units))             # at every call
x, state = self.gru(x, initial_state=state)
```

## What to write instead
Draw the state at the first call only (where no state is given), and carry it from then on.

## References
docs, wiring: a drawn or learned state at the first call is right.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "random-state"
SEVERITY = "error"
ORDER = 90


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find states that are drawn at a call after the first."""
    for group in evidence.groups("random"):
        seen = f"{group.into.name} starts from random numbers ({group.slots}; {group.calls})"
        yield evidence.detection(seen, group)
