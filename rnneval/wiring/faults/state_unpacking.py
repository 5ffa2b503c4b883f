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
from rnneval.linter.flow.facts import Facts
from rnneval.linter.flow.values import Spec

CODE = "RNN009"
NAME = "state-unpacking"
SEVERITY = "error"


def find_in_source(facts: Facts) -> Iterator[Match]:
    """Compare what a layer gives with the number of names it is unpacked into."""
    for unpacking in facts.unpackings:
        event, names = facts.events[unpacking.event], unpacking.node.elts
        spec = event.spec
        if spec.slots is None or spec.cell or spec.framework not in ("keras", "torch") or unpacking.nested:
            continue
        if spec.framework == "keras" and spec.returns_state is None:
            continue
        count = 2 if spec.framework == "torch" else 1 + spec.slots if spec.returns_state else 1
        starred = any(isinstance(name, ast.Starred) for name in names)
        if len(names) == count or (starred and len(names) - 1 <= count and count > 1):
            continue
        # `x, *states` for `x, states` is certain where the state has several parts.
        certain = count > 2 and isinstance(unpacking.node, ast.Tuple) and len(names) == 2
        yield Match(
            node=unpacking.node,
            message=f"`{event.name}` gives {'one value' if count == 1 else f'{count} values'} ({_what(spec)}), "
            f"and {len(names)} names take it apart",
            suggestion=f"{ast.unparse(names[0])}, *{ast.unparse(names[1])}" if certain else None,
        )


def _what(spec: Spec) -> str:
    if spec.framework == "torch":
        return "output, (h, c)" if spec.kind == "lstm" else "output, h"
    if not spec.returns_state:
        return "the output alone: return_state is not set"
    if spec.bidirectional:
        return "output, then the forward and the backward states"
    return "output, h, c" if spec.kind == "lstm" else "output, state"
