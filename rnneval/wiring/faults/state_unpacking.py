"""A layer's result is unpacked into the wrong number of names.

## What it finds
A Keras LSTM with `return_state=True` unpacked into two names (it gives three values: output, h, c), a GRU unpacked
into three, a PyTorch LSTM unpacked into three (it gives the output and a pair), a layer without `return_state=True`
unpacked at all.

## Why it is wrong
It fails when it runs, often only where the state is asked for; or, where the tensor happens to have that length,
rows of the batch are taken for states.

## Example
```python
self.lstm = tf.keras.layers.LSTM(64, return_sequences=True, return_state=True)
x, states = self.lstm(x, initial_state=states)  # RNN009: three values
```

## What to write instead
```python
x, *states = self.lstm(x, initial_state=states)
```

## When it is silent
Where the constructor does not say whether the state is returned.

## References
Keras, *LSTM layer*; PyTorch, *nn.LSTM*, outputs.
"""

import ast
from collections.abc import Iterator

from rnneval.linter.finding import Match
from rnneval.linter.flow.facts import Event, Facts, Unpacking

CODE = "RNN009"
NAME = "state-unpacking"
SEVERITY = "error"


def find_in_source(facts: Facts) -> Iterator[Match]:
    """Compare what a layer gives with the number of names it is unpacked into."""
    for unpacking in facts.unpackings:
        event = facts.events[unpacking.event]
        count = _values(event)
        if count is None or unpacking.nested or unpacking.targets == count:
            continue
        if unpacking.starred and unpacking.targets - 1 <= count and count > 1:
            continue
        yield Match(
            node=unpacking.node,
            message=f"`{event.name}` gives {'one value' if count == 1 else f'{count} values'} ({_what(event)}), "
            f"and {unpacking.targets} names take it apart",
            suggestion=_starred(unpacking, event) if count > 2 else None,
        )


def _values(event: Event) -> int | None:
    """Return how many values a call of the layer returns; None if that is not known."""
    spec = event.spec
    if spec.slots is None or spec.cell or spec.framework not in ("keras", "torch"):
        return None
    if spec.framework == "torch":
        return 2
    if spec.returns_state is None:
        return None
    return 1 + spec.slots if spec.returns_state else 1


def _what(event: Event) -> str:
    if event.spec.framework == "torch":
        return "output, (h, c)" if event.spec.kind == "lstm" else "output, h"
    if not event.spec.returns_state:
        return "the output alone: return_state is not set"
    if event.spec.bidirectional:
        return "output, then the forward and the backward states"
    return "output, h, c" if event.spec.kind == "lstm" else "output, state"


def _starred(unpacking: Unpacking, event: Event) -> str | None:
    """Write `x, *states` for `x, states`: certain where the state has several parts."""
    node = unpacking.node
    if not isinstance(node, ast.Tuple) or unpacking.targets != 2 or event.spec.framework != "keras":
        return None
    return f"{ast.unparse(node.elts[0])}, *{ast.unparse(node.elts[1])}"
