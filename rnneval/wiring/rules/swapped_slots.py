"""The parts of one layer's state are exchanged.

## What it finds
An LSTM's h gets what was its c (or the other way round), both get the same part, or the two directions of one
Bidirectional get each other's state.

## Why it is wrong
The parts of a state mean different things (an LSTM's h lies in (−1, 1), its c does not) and have the same shape, so
nothing fails while the layer continues from numbers that it never produced as that part.

## Example
```python
x, h, c = self.lstm(x, initial_state=[h, c])
return x, (c, h)                                     # taken apart as h, c at the next call
```

## What to write instead
Keep h and c in the layer's own order, as it returns them: `x, *state = self.lstm(x, initial_state=state)`.

## References
Keras, LSTM: returns output, h, c.
"""

from collections.abc import Iterator

from rnneval.records.wiring import Finding
from rnneval.wiring.evidence import Evidence, finding
from rnneval.wiring.rules import this

NAME, SEVERITY, ORDER, CORRECTS = "swapped-slots", "error", 30, False


def find(evidence: Evidence) -> Iterator[Finding]:
    """State from another slot of the same unit, or from the other direction."""
    for group in evidence.groups("swapped"):
        yield finding(this(__name__), f"{group.into.name}: {group.flow} ({group.calls})", group)
