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
from rnneval.linter.flow.facts import Facts, models
from rnneval.linter.flow.values import Key

CODE = "RNN012"
NAME = "stateful-partly-reset"
SEVERITY = "warning"


def find_in_source(facts: Facts) -> Iterator[Match]:
    """Find stateful layers that no reset reaches."""
    yield from _in_classes(facts)
    yield from _by_index(facts)


def _in_classes(facts: Facts) -> Iterator[Match]:
    """Find classes that reset one stateful layer, while another one is reset nowhere."""
    if not any(function.resets for function in facts.functions):
        return
    done = {key for function in facts.functions for _, key in function.resets}
    singly = [node for function in facts.functions for node, _ in function.resets]
    if len(facts.survey.resets) > len({(node.lineno, node.col_offset) for node in singly}):
        return
    for function in facts.functions:
        used = _stateful_of(facts, function.owner) if function.owner else {}
        for node, key in function.resets:
            left = [name for other, name in used.items() if other not in done]
            if key in used and left:
                yield Match(
                    node=node,
                    message=f"`{used[key]}` is reset, and `{left[0]}`, stateful too, never is: reset all of them "
                    "together",
                )
                break


def _stateful_of(facts: Facts, owner: str) -> dict[Key, str]:
    """Return the names of the stateful layers that the methods of a class call."""
    numbers = {function.number for function in facts.functions if function.owner == owner}
    return {
        event.layer: event.name
        for event in facts.events
        if event.function in numbers and event.spec.stateful is True and event.name.startswith("self.")
    }


def _by_index(facts: Facts) -> Iterator[Match]:
    """Find files in which only one layer of a model with several stateful ones is reset, by a constant index."""
    found = facts.survey.resets
    single = [node for node in found if _is_layer_by_index(node)]
    if single and len(single) == len(found) and any(len(model.layers) > 1 for model in models(facts)):
        yield Match(
            node=single[0],
            message="only one of several stateful layers is reset: reset them all, with the model's own reset or in a "
            "loop",
        )


def _is_layer_by_index(node: ast.Attribute) -> bool:
    """Return whether this resets a layer that is chosen by a constant index, such as `model.layers[-1]`."""
    owner = node.value
    return (
        isinstance(owner, ast.Subscript)
        and isinstance(owner.value, ast.Attribute)
        and owner.value.attr == "layers"
        and (isinstance(owner.slice, ast.Constant | ast.UnaryOp))
    )
