"""A prediction depends on another text of the batch.

## What it finds
One row of the batch was altered, and the predictions of another row changed (oracle *batch*); or the row was read
without the others, and its own predictions changed (oracle *alone*).

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
from rnneval.wiring.evidence import evidence as evidence_of
from rnneval.wiring.facts import Facts
from rnneval.wiring.rules import this

NAME, SEVERITY, ORDER, CORRECTS = "batch-leak", "error", 120, False


def find(evidence: Evidence) -> Iterator[Finding]:
    """The oracle *batch* failed; or *alone* did, and no state that is wired otherwise for one row says why."""
    facts = evidence.facts
    if evidence.failed("batch"):
        seen = f"Predictions depend on other rows of the batch: {facts.oracles['batch'].detail}"
        yield finding(this(__name__), f"{seen}; {evidence.place_of('batch')}", at=facts.spots.get("batch"))
    elif evidence.failed("alone") and not any(evidence_of(run).has_faults() for run in _of_one_row(facts)):
        detail = facts.oracles["alone"].detail
        yield finding(this(__name__), f"Predictions depend on whether there are other rows: {detail}")


def _of_one_row(facts: Facts) -> Iterator[Facts]:
    for variant in facts.variants:
        if "one row" in variant.when:
            yield from variant.runs
