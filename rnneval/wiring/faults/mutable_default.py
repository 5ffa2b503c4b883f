"""A parameter's default is a list or dict, and states are put into it.

## What it finds
`def call(self, x, states=[None] * 4)` where the body stores states in `states`.

## Why it is wrong
Python makes the default once, when the function is defined. The states of one call stay in it, and the next call
that was meant to start anew starts from them: from another text, another batch, or from tensors of a graph that is
gone.

## Example
```python
def call(self, x, states=[None] * 2):
    x, states[0] = self.gru1(x, initial_state=states[0])  # RNN008
```

## What to write instead
```python
def call(self, x, states=None):
    states = [None] * 2 if states is None else list(states)
    x, states[0] = self.gru1(x, initial_state=states[0])
```

## When it is silent
Defaults that are only read.

## References
Python FAQ, *Why are default values shared between objects?*; flake8-bugbear, B006.
"""

import ast
from collections.abc import Iterator

from rnneval.linter.finding import Match
from rnneval.linter.flow.facts import Facts, defaults_of
from rnneval.linter.flow.values import Emitted, Initial, leaves

CODE = "RNN008"
NAME = "mutable-default"
SEVERITY = "error"


def find_in_source(facts: Facts) -> Iterator[Match]:
    """Find states that are put into a default."""
    for function in facts.functions:
        for name, default in defaults_of(function.node):
            parts = (default.left, default.right) if isinstance(default, ast.BinOp) else ()
            mutable = isinstance(default, ast.List | ast.Dict | ast.ListComp)
            put = (leaf for value in function.changed.get(name, ()) for leaf in leaves(value))
            if (mutable or any(isinstance(part, ast.List) for part in parts)) and any(
                isinstance(leaf, Emitted | Initial) for leaf in put
            ):
                yield Match(
                    node=default,
                    message=f"the default of `{name}` is made once and states are put into it: the next call starts "
                    "from this call's states; take None and make a new list in the call",
                )
