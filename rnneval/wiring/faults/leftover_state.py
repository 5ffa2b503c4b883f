"""A document starts from what another document left behind.

## What it finds
A document was read, and another begun by a call without a state (or after the model's own reset): its logits depend on
what was read before (oracle *fresh*).

## Why it is wrong
The first tokens of each document are predicted from another document, so that every number depends on the order in
which documents are read, and on what was done with the model before.

## Example
```python
def call(self, ids, states=None):
    x, self.last = self.gru(self.embedding(ids), initial_state=states or self.last)
```

## What to write instead
Begin anew where `states` is None: `states = self.initial_states(ids) if states is None else states`.

A list or dict as a default, `states=[]`, is made once: take None, and make a new list in the call.

A model that goes on by itself on purpose is known by one of two things: its layers have `stateful=True`, or it has a
method such as `reset_state`, `reset_states` or `clear_memory` that needs no argument. A document is begun by that
reset, which must clear everything. Without either, two calls without a state are two documents.

## References
docs, wiring: the oracles.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "leftover-state"
SEVERITY = "error"
ORDER = 65


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find a failed oracle *fresh*."""
    if evidence.failed("fresh"):
        yield evidence.failure("fresh", "A new document depends on what was read before it")
