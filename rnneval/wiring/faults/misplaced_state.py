"""A layer gets its own state back with rows or units in other places.

## What it finds
Every number comes from the layer's own last state, but not from its own place: rows (texts of the batch) or units are
permuted, rolled or transposed.

## Why it is wrong
Where rows move, a text continues from the memory of another text, which also leaks it; where units move, each unit
continues from a number that another one made.

## Example
```python
states = tf.reshape(tf.transpose(states), (batch, units))   # right shape, other places
```

## What to write instead
Give the state back as it was returned, without reshaping, rolling or transposing it; reorder rows only together with
the texts they belong to.

## References
docs, wiring: the kinds of flow.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "misplaced-state"
SEVERITY = "error"
ORDER = 50


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find own states whose elements are in other places."""
    for group in evidence.groups("misplaced"):
        what = f"{group.slots}; {group.calls}"
        seen = f"{group.into.name} gets its own state back with rows or units in other places ({what})"
        yield evidence.detection(seen, group)
