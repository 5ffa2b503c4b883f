"""A layer gets a state older than its last one.

## What it finds
The state that goes in is the layer's own, but not the newest: the *incoming* state was returned instead of the new
one, or the first call's initial tensor is used again.

## Why it is wrong
The layer never moves on from that point of the text: what it read in between is lost to it.

## Example
```python
x, new = self.gru(x, initial_state=states)
return x, states                                     # the incoming state, not `new`
```

## What to write instead
Return the state that the layer gave in this call.

```python
x, states = self.gru(x, initial_state=states)
return x, states
```

## References
docs, wiring: the invariant S_out(l) at t − 1 → S_in(l) at t.
"""

from collections.abc import Iterator

from rnneval.records.wiring import Finding
from rnneval.wiring.evidence import Evidence, finding
from rnneval.wiring.rules import this

NAME, SEVERITY, ORDER, CORRECTS = "stale-state", "error", 60, False


def find(evidence: Evidence) -> Iterator[Finding]:
    """Own older state, or an initial tensor that was made in an earlier call."""
    for group in evidence.groups("stale"):
        what = "an older state of its own" if group.items[0].arrival.sources else "the initial state of an earlier call"
        seen = f"{group.into.name} gets {what}, not its last one ({group.slots}; {group.calls})"
        yield finding(this(__name__), seen, group)
