"""A state is accepted and never given to the layer.

## What it finds
A parameter that is written over with a layer's new state before anyone has looked at it, a state made anew in every
call although one came in, and a stateful layer that is reset inside of the model's own call.

## Why it is wrong
The caller carries the state with care, and the model forgets it: every call begins with an empty memory. Generation
one token at a time has then no context at all.

## Example
```python
def call(self, x, states=None):
    x, states = self.gru(x)  # RNN005: `states` never goes in
    return x, states
```

## What to write instead
```python
def call(self, x, states=None):
    x, states = self.gru(x, initial_state=states)
    return x, states
```

## When it is silent
Where the parameter is read in any way; where the function does not return the new state; where the layer is
`stateful`.

## References
The invariant: S_out(l) at t−1 is S_in(l) at t.
"""

from collections.abc import Iterator

from rnneval.linter.flow.facts import Event, Facts, Function
from rnneval.linter.flow.relations import judged, sources
from rnneval.linter.flow.values import Emitted, Initial, Value, emissions, leaves
from rnneval.linter.spot import Spot

CODE = "RNN005"
NAME = "ignored-state"
SEVERITY = "error"


def find(facts: Facts) -> Iterator[Spot]:
    """Look for parameters that are only written, and for resets on the way."""
    for function in facts.functions:
        events = [event for event in facts.of(function) if judged(event)]
        for name, values in function.overwritten.items():
            if name not in function.reads:
                event = _ignoring(function, events, values)
                if event is not None:
                    yield Spot(
                        node=event.node,
                        message=f"`{name}` comes in and is never given to `{event.name}`, which starts "
                        "anew at every call: "
                        "pass it as the layer's initial state",
                    )
        yield from _resets(function, events)


def _ignoring(function: Function, events: list[Event], values: list[Value]) -> Event | None:
    """Give the layer whose new state takes the parameter's name and which began with nothing, or with a new state."""
    given = {number for value in values for number in emissions(value)}
    returned = {number for _, value in function.returns for number in emissions(value)}
    for event in events:
        replaced = event.number in given or any(value == event.state for value in values)
        if replaced and event.number in returned and not event.spec.stateful and _starts_anew(event):
            return event
    return None


def _starts_anew(event: Event) -> bool:
    if event.state is None:
        return True
    return all(isinstance(leaf, Initial) for leaf in leaves(event.state)) and not any(
        isinstance(value, Emitted) for _, value in sources(event)
    )


def _resets(function: Function, events: list[Event]) -> Iterator[Spot]:
    if function.name not in ("call", "forward", "__call__"):
        return
    for node, key in function.resets:
        event = next((event for event in events if event.layer == key and event.node.lineno > node.lineno), None)
        if event is not None and event.spec.stateful:
            yield Spot(
                node=node,
                message=f"`{event.name}` is stateful and is reset in every call of the model: reset it "
                "where a new text begins",
            )
