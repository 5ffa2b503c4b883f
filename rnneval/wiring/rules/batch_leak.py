"""A prediction depends on another text of the batch.

## What it finds
One row of the batch was altered, and the predictions of another row changed (oracle *batch*).

## Why it is wrong
Texts that have nothing to do with each other are mixed, so every figure depends on what happens to stand beside a
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

from rnneval.records.wiring import Finding
from rnneval.wiring.evidence import Evidence, finding
from rnneval.wiring.rules import this

NAME, SEVERITY, ORDER, CORRECTS = "batch-leak", "error", 120, False


def find(evidence: Evidence) -> Iterator[Finding]:
    """The oracle *batch* failed."""
    oracle = evidence.facts.oracles.get("batch")
    if oracle is not None and oracle.verdict == "fail":
        yield finding(this(__name__), f"Predictions depend on other rows of the batch: {oracle.detail}")
