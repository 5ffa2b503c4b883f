"""A prediction depends on another text of the batch.

## What it finds
One row of the batch was altered, and the predictions of another row changed (oracle *batch*); or the row was read
without the others, and its own predictions changed (oracle *alone*).

## Why it is wrong
Texts that have nothing to do with each other are mixed, so every number depends on what happens to stand beside a
text in its batch.

## Example
```python
x = tf.reshape(x, (time, batch, units))              # a transpose was meant
```

## What to write instead
Keep the batch axis apart: transpose where a time-major order is needed, and take means over time or units only.

## References
docs, wiring: the oracles.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "batch-leak"
SEVERITY = "error"
ORDER = 120


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find a failed oracle *batch*, or a failed *alone* that no other wiring for one row explains."""
    if evidence.failed("batch"):
        yield evidence.failure("batch", "Predictions depend on other rows of the batch")
    elif evidence.failed("alone") and not any(run.has_faults() for run in evidence.variants("one row")):
        detail = evidence.facts.oracles["alone"].detail
        yield evidence.detection(f"Predictions depend on whether there are other rows: {detail}")
