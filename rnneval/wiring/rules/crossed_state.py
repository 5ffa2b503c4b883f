"""A layer gets back the state of another layer.

## What it finds
The state that goes into a layer comes from another layer's state of an earlier call.

## Why it is wrong
Each layer's state belongs to its own space: what another layer remembered means nothing to this one, so it forgets
its own past at every segment and starts from numbers that training never meant for it.

## Example
```python
s1, s2 = states
x, n1 = self.gru(x, initial_state=s1)
x, n2 = self.gru_2(x, initial_state=s2)
return x, (n2, n1)                                   # exchanged
```

## What to write instead
Return one new state for each layer, in the order in which they are taken apart again.

```python
return x, (n1, n2)
```

Where layers are meant to see each other's states, say so with `--declare mixed=LAYER`.

## References
docs, wiring: the invariant S_out(l) at t − 1 → S_in(l) at t.
"""

from collections.abc import Iterator

from rnneval.records.wiring import Finding
from rnneval.wiring.evidence import Evidence, Group, each, finding
from rnneval.wiring.rules import this

NAME, SEVERITY, ORDER, CORRECTS = "crossed-state", "error", 20, True


def find(evidence: Evidence) -> Iterator[Finding]:
    """State from another unit, made in an earlier call."""
    groups = list(each(evidence.groups("crossed"), same_call=False))
    pairs = {(group.unit, group.giver) for group in groups}
    for group in groups:
        giver = group.source.name if group.source else "another cell of the same layer"
        seen = f"{group.into.name} gets back the state of {giver} ({group.flow}; {group.calls}){_more(group, pairs)}"
        yield finding(this(__name__), seen, group)


def _more(group: Group, pairs: set[tuple[int, int | None]]) -> str:
    if (group.giver, group.unit) in pairs:
        return ": the two states are exchanged, in the returned order or where they are taken apart"
    return "" if group.is_returned() else f": the new state of {group.into.name} is not among what is returned"
