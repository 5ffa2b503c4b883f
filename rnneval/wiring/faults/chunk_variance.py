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
Carry every layer's state into the same layer, unchanged, and with it whatever else goes on: positions, a clock, the
last inputs of a convolution.

A model may depend on the cuts on purpose. Where a layer's state is transformed between two calls (a LayerNorm or a
decay, and not at each step of a call), declare `--declare chunked=LAYER`; elsewhere, and for a step function,
`--declare chunked=true`. The finding is then a warning: results belong to one length of segment.

## References
docs, wiring: the oracles.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "chunk-variance"
SEVERITY = "error"
ORDER = 130


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find a failed oracle *chunk*."""
    if not evidence.failed("chunk"):
        return
    facts, declared = evidence.facts, evidence.facts.declared
    transformed = evidence.transformed_between_calls()
    names = ", ".join(unit.name for unit in transformed)
    seen = "One call and several carried calls over the same text differ"
    if names:
        seen = f"{seen}, and the state of {names} is transformed between calls"
    meant = (
        not declared.causal
        or evidence.has("declared")
        or (bool(transformed) and all(unit.names & declared.chunked for unit in transformed))
    )
    nothing_carried = (
        bool(evidence.kinds)
        and not (facts.takes_states or facts.gives_states)
        and not evidence.has("carried", "carried-transformed", "crossed", "mixed", "swapped", "stale", "fresh")
    )
    by_design = declared.depends_on_cuts or (evidence.all_seen() and meant) or nothing_carried
    if not by_design:
        fitting = [f"chunked={unit.name}" for unit in transformed if not unit.names & declared.chunked]
        seen = f"{seen} (declare {', '.join(fitting) or 'chunked=true'} if that is meant)"
    yield evidence.failure_of_recurrence("chunk", seen, severity="warning" if by_design else None)
