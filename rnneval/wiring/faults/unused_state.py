"""Another past gives the same predictions.

## What it finds
Two different texts were read, then the same segment twice: the logits of that segment are equal (oracle *used*),
although the model takes a state.

## Why it is wrong
The state has no effect: the model remembers nothing from one call to the next, so generating token by token is
guessing from one token.

## Example
```python
x, state = self.gru(x)                               # `states` was accepted and never used
```

## What to write instead
Pass the incoming state to each layer as its `initial_state`, and return the new ones.

## References
docs, wiring: the oracles.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "unused-state"
SEVERITY = "error"
ORDER = 140


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find a failed oracle *used* in a model that hands some state on."""
    facts = evidence.facts
    hands_on = facts.takes_states or facts.gives_states or any(unit.stateful for unit in facts.units)
    if evidence.failed("used") and hands_on:
        yield evidence.failure_of_recurrence("used", "The past has no effect on the predictions")
