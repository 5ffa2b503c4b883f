"""A layer starts from the state that another layer made in the same call.

## What it finds
The state that goes into a layer (or a cell) comes from another layer's new state of the very same call.

## Why it is wrong
Each layer's state belongs to its own space, and the giver's new state is that of the *end* of the segment: the
receiver sees the future of the text that it is to predict, so the training loss looks fine, generation is bad, and a
perplexity computed from it is not one.

Crossed *cells* inside one step loop leak nothing (a deep-transition cell is just that), and no test of behaviour can
object to them; where that is meant, say so with `--declare mixed=LAYER`.

## Example
```python
x, states = self.gru(x, initial_state=states)
x, states = self.gru_2(x, initial_state=states)      # gru_2 starts from gru's final state
```

## What to write instead
Keep one state for each layer: give it to that layer alone, and return all of them.

```python
x, s1 = self.gru(x, initial_state=s1)
x, s2 = self.gru_2(x, initial_state=s2)
return x, (s1, s2)
```

An encoder that hands its last state to a decoder, once, is not this fault: they read different texts.

## References
Pascanu et al. 2014, How to Construct Deep Recurrent Neural Networks (deep transition and stacked states).
"""

from collections.abc import Iterator

from rnneval.records.wiring import Finding
from rnneval.wiring.evidence import Evidence, each, finding
from rnneval.wiring.rules import this

NAME, SEVERITY, ORDER, CORRECTS = "shared-state", "error", 10, True


def find(evidence: Evidence) -> Iterator[Finding]:
    """State from another unit, made in the same call."""
    for group in each(evidence.groups("crossed"), same_call=True):
        giver = group.source.name if group.source else "another unit"
        if group.into.is_layer:
            seen = f"{group.into.name} starts from the state that {giver} made in the same call"
        else:
            seen = f"cell {group.into.name} takes the state that {giver} made in the same call"
        yield finding(this(__name__), f"{seen} ({group.flow}; {group.calls})", group)
