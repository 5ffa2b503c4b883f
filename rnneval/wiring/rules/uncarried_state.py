"""A layer begins anew at every call, as declared or for want of any state in the model.

## What it finds
The layer was declared stateless, reads a text of its own at every call (an encoder), or belongs to a model that
neither takes nor returns states.

## Why it is wrong
It need not be wrong: it is said because figures of such a model depend on how the text is cut into segments.

## Example
```python
def call(self, ids):
    return self.dense(self.gru(self.embedding(ids)))
```

## What to write instead
Nothing where it is meant; else take the state as an argument, give it to the layer and return it.

## References
docs, wiring: declarations.
"""

from collections.abc import Iterator

from rnneval.records.wiring import Finding
from rnneval.wiring.evidence import Evidence, finding
from rnneval.wiring.rules import this

NAME, SEVERITY, ORDER, CORRECTS = "uncarried-state", "info", 200, False


def find(evidence: Evidence) -> Iterator[Finding]:
    """Fresh by declaration, or because nothing is carried at all."""
    facts = evidence.facts
    nothing = not (facts.takes_states or facts.gives_states or evidence.has("carried", "carried-transformed"))
    kinds = ("declared", "uncarried", "dropped") if nothing else ("declared", "uncarried")
    if facts.wired_by == "rnneval":
        return
    for group in evidence.groups(*kinds):
        if not any(item.arrival.sources for item in group.items):
            yield finding(this(__name__), f"{group.into.name} begins anew at every call ({group.slots})", group)
