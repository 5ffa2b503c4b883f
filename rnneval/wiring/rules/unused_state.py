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

from rnneval.records.wiring import Finding
from rnneval.wiring.evidence import Evidence, finding
from rnneval.wiring.rules import this

NAME, SEVERITY, ORDER, CORRECTS = "unused-state", "error", 140, False


def find(evidence: Evidence) -> Iterator[Finding]:
    """The oracle *used* failed in a model that hands some state on."""
    facts = evidence.facts
    oracle = facts.oracles.get("used")
    hands_on = facts.takes_states or facts.gives_states or any(unit.stateful for unit in facts.units)
    if oracle is not None and oracle.verdict == "fail" and hands_on:
        seen = f"The past has no effect on the predictions: {oracle.detail}; {evidence.only_place()}"
        yield finding(this(__name__), seen, at=evidence.only_unit())
