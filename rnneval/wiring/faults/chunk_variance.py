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
Carry every layer's state into the same layer, unchanged, and with it whatever else looks back: the last inputs of a
convolution or a token shift, the memory of an attention, the number of tokens read.

Where each slot was seen to be carried and one of them is transformed between calls (a LayerNorm on the state, say),
or a layer is declared stateless, this is a warning: results then belong to one length of segment.

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
    facts = evidence.facts
    # It is by design where the wiring itself, seen completely, explains why cutting matters.
    explained = evidence.has("carried-transformed", "uncarried", "declared") or not facts.declared.causal
    nothing_carried = (
        bool(evidence.kinds)
        and not (facts.takes_states or facts.gives_states)
        and not evidence.has("carried", "carried-transformed", "crossed", "mixed", "swapped", "stale", "fresh")
    )
    yield evidence.failure_of_recurrence(
        "chunk",
        "One call and several carried calls over the same text differ",
        severity="warning" if (evidence.all_seen() and explained) or nothing_carried else None,
    )
