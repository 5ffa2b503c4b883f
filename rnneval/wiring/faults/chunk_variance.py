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
Carry every layer's state into the same layer, unchanged, and with it whatever else looks back or goes on: the last
inputs of a convolution or a token shift, the memory of an attention, positions, a clock.

A model may depend on the cuts on purpose. Where a layer's state was seen to be transformed between two calls (a
LayerNorm or a decay, and not at each step of a call), the finding is a warning: results belong to one length of
segment. What a layer does by itself is declared with `--declare chunked=LAYER`, anything else, and what a step function
does, with `--declare chunked=true`.

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
    transformed = [unit.name for unit in evidence.transformed_between_calls()]
    seen = "One call and several carried calls over the same text differ"
    if transformed:
        seen = f"{seen}, and the state of {', '.join(transformed)} is transformed between calls"
    meant = not declared.causal or declared.chunked or evidence.has("declared") or transformed
    nothing_carried = (
        bool(evidence.kinds)
        and not (facts.takes_states or facts.gives_states)
        and not evidence.has("carried", "carried-transformed", "crossed", "mixed", "swapped", "stale", "fresh")
    )
    by_design = declared.depends_on_cuts or bool(evidence.all_seen() and meant) or nothing_carried
    if not by_design:
        units = dict.fromkeys(facts.units[facts.events[item.arrival.event].unit].name for item in evidence.kinds)
        fitting = f"chunked={next(iter(units))}" if evidence.all_seen() and len(units) == 1 else "chunked=true"
        seen = f"{seen} (declare {fitting} if that is meant)"
    yield evidence.failure_of_recurrence("chunk", seen, severity="warning" if by_design else None)
