"""A layer's state is not handed on: it begins anew at every call.

## What it finds
The model takes or returns states, and this layer's new state, or a part of it, is not among them: the layer starts from
constants (or from an output) at every call.

## Why it is wrong
What is not handed on is forgotten at every segment, so token-by-token generation runs another model than the one that
was trained on long segments.

## Example
```python
x, s1 = self.gru(x, initial_state=states)
x = self.gru_2(x)                                    # always begins anew
return x, s1
```

## What to write instead
Take every part of the state that the layer returns (an LSTM's h and c), return it, and pass all of it as the layer's
`initial_state` at the next call.

```python
x, s2 = self.gru_2(x, initial_state=s2)
return x, (s1, s2)
```

A layer that is meant to begin anew is declared with `--declare stateless=LAYER`.

## References
docs, wiring: declarations.
"""

from collections.abc import Iterator

from rnneval.records.wiring import Finding
from rnneval.wiring.evidence import Evidence, finding
from rnneval.wiring.rules import this

NAME, SEVERITY, ORDER, CORRECTS = "dropped-state", "error", 80, True


def find(evidence: Evidence) -> Iterator[Finding]:
    """Fresh state, the layer's own not returned, in a model that hands some state on."""
    facts = evidence.facts
    if not (facts.takes_states or facts.gives_states or evidence.has("carried", "carried-transformed")):
        return
    for group in evidence.groups("dropped"):
        seen = f"{group.begins()}, and its last state is not among what is handed on ({group.calls})"
        yield finding(this(__name__), seen, group)
