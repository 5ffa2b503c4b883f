"""A layer begins anew although its state was handed on.

## What it finds
The layer's new state is among what the model returns (or the layer is `stateful`), and still the next call starts it
from constants; or a part of its state is lost on the way.

## Why it is wrong
The model seems to carry its state and does not: each segment is read as if it were the beginning of a text, so every
figure is that of a model with a short memory.

## Example
```python
def call(self, ids, states=None, return_state=False):
    x, state = self.gru(self.embedding(ids))         # `states` never reaches the layer
```

## What to write instead
Pass the incoming state to the layer: `self.gru(x, initial_state=states)`.

A layer that is meant to begin anew at every call is declared with `--declare stateless=LAYER`.

## References
Keras, RNN: the call argument `initial_state`.
"""

from collections.abc import Iterator

from rnneval.records.wiring import Finding
from rnneval.wiring.evidence import Evidence, finding
from rnneval.wiring.rules import this

NAME, SEVERITY, ORDER, CORRECTS = "ignored-state", "error", 70, False


def find(evidence: Evidence) -> Iterator[Finding]:
    """Fresh state although the layer's own was handed on."""
    for group in evidence.groups("fresh"):
        why = "is stateful" if group.into.stateful else "gave its state to the caller, who gave it back"
        seen = f"{group.into.name} {why}, and yet {group.begins()} ({group.calls})"
        yield finding(this(__name__), seen, group)
    for group in evidence.groups("partial"):
        share = max(item.arrival.missing for item in group.items)
        seen = f"{share:.0%} of the state of {group.into.name} is not carried ({group.slots}; {group.calls})"
        yield finding(this(__name__), seen, group)
