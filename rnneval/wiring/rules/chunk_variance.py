"""The predictions depend on how the text is cut into segments.

## What it finds
One call over a text, and several calls over its pieces with the state carried, give different logits (oracle *chunk*).

## Why it is wrong
What is measured on long segments is not the model that generates token by token: something of the state is lost,
exchanged or made anew at every cut.

## Example
```python
x, h, c = self.lstm(x, initial_state=[h, c])
return x, (c, h)                                     # wrong at each cut only
```

## What to write instead
Carry every layer's state into the same layer, unchanged.

Where each slot was seen to be carried and one of them is transformed between calls (a LayerNorm on the state, say),
or a layer is declared stateless, this is a warning: figures then belong to one length of segment.

## References
docs, wiring: the oracles.
"""

from collections.abc import Iterator

from rnneval.records.wiring import Finding
from rnneval.wiring.evidence import Evidence, Severity, finding
from rnneval.wiring.rules import this

NAME, SEVERITY, ORDER, CORRECTS = "chunk-variance", "error", 130, False


def find(evidence: Evidence) -> Iterator[Finding]:
    """The oracle *chunk* failed."""
    facts = evidence.facts
    oracle = facts.oracles.get("chunk")
    if oracle is None or oracle.verdict != "fail":
        return
    seen = f"One call and several carried calls over the same text differ: {oracle.detail}; {evidence.only_place()}"
    severity: Severity | None = "warning" if _by_design(evidence) else None
    yield finding(this(__name__), seen, severity=severity, at=evidence.only_unit())


def _by_design(evidence: Evidence) -> bool:
    """Whether the wiring itself, seen whole, says why cutting matters."""
    declared = evidence.facts.declared
    explained = evidence.has("carried-transformed", "uncarried", "declared") or not declared.causal
    return (evidence.all_seen() and explained) or _nothing_carried(evidence)


def _nothing_carried(evidence: Evidence) -> bool:
    facts = evidence.facts
    return (
        bool(evidence.kinds)
        and not (facts.takes_states or facts.gives_states)
        and not evidence.has("carried", "carried-transformed", "crossed", "mixed", "swapped", "stale", "fresh")
    )
