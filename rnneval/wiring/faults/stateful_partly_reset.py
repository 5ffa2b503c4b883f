"""Only some of several stateful layers are ever reset.

## What it finds
A class or model with two or more stateful layers, of which one is reset by itself (`self.gru2.reset_states()`,
`model.layers[-1].reset_states()`) and another never.

## Why it is wrong
The new text starts with one layer's memory empty and the other's full of the old text.

## Example
```python
def reset(self):
    self.gru2.reset_states()  # RNN012: gru1 keeps its state
```

## What to write instead
```python
def reset(self):
    self.gru1.reset_states()
    self.gru2.reset_states()
```

## When it is silent
Where the whole model is reset anywhere, or each layer somewhere.

## References
Keras, `RNN.reset_state`.
"""

import ast
from collections.abc import Iterator

from rnneval.linter.finding import Match
from rnneval.linter.flow.facts import Facts, Function, models
from rnneval.linter.flow.values import Key

CODE = "RNN012"
NAME = "stateful-partly-reset"
SEVERITY = "warning"


def find_in_source(facts: Facts) -> Iterator[Match]:
    """Find stateful layers that no reset reaches."""
    singly = [reset for function in facts.functions for reset in function.resets]
    done = {key for _, key in singly}
    every = facts.survey.resets
    if len(every) <= len({(node.lineno, node.col_offset) for node, _ in singly}):  # no other reset in the file
        for function in facts.functions:
            yield from _beside(facts, function, done)
    # Only one layer of a model with several stateful ones is reset, by a constant index.
    by_index = [node for node in every if _is_layer_by_index(node)]
    if by_index and len(by_index) == len(every) and any(len(model.layers) > 1 for model in models(facts)):
        yield Match(
            node=by_index[0],
            message="only one of several stateful layers is reset: reset them all, with the model's own reset or in a "
            "loop",
        )


def _beside(facts: Facts, function: Function, done: set[Key]) -> Iterator[Match]:
    """Find the first stateful layer that a method resets while another one of its class is reset nowhere."""
    methods = [other for other in facts.functions if function.owner and other.owner == function.owner]
    numbers = {method.number for method in methods}
    used = {
        event.layer: event.name
        for event in facts.events
        if event.function in numbers and event.spec.stateful is True and event.name.startswith("self.")
    }
    left = [name for key, name in used.items() if key not in done]
    for node, key in function.resets if left else ():
        if key in used:
            yield Match(
                node=node,
                message=f"`{used[key]}` is reset, and `{left[0]}`, stateful too, never is: reset all of them together",
            )
            return


def _is_layer_by_index(node: ast.Attribute) -> bool:
    """Return whether this resets a layer that is chosen by a constant index, such as `model.layers[-1]`."""
    match node.value:
        case ast.Subscript(value=ast.Attribute(attr="layers"), slice=ast.Constant() | ast.UnaryOp()):
            return True
    return False
