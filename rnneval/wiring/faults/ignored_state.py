"""A layer begins anew although its state was handed on.

## What it finds
The layer's new state is among what the model returns (or the layer is `stateful`), and still the next call starts it
from constants; or a part of its state is lost on the way. The linter finds a parameter that is written over with a
layer's new state before anything reads it, a state made anew in every call although one came in, a layer of a stack
that is never given a state although its new one is returned beside that of another layer, and a stateful layer that is
reset inside the model's own call.

## Why it is wrong
The model seems to carry its state and does not: each segment is read as if it were the beginning of a text, so every
result is that of a model with a short memory.

Generation one token at a time has then no context at all.

## Example
```python
def call(self, x, states=None):
    x, states = self.gru(x)  # RNN005: `states` never reaches the layer
    return x, states
```

## What to write instead
Pass the incoming state to the layer: `self.gru(x, initial_state=states)`.

```python
def call(self, x, states=None):
    x, states = self.gru(x, initial_state=states)
    return x, states
```

A layer that is meant to begin anew at every call is declared with `--declare stateless=LAYER`.

## When it is silent
The linter is silent where the parameter is read in any way, where the function does not return the new state, and where
the layer is `stateful` and not reset.

## References
Keras, RNN: the call argument `initial_state`. docs, wiring: the state that a layer returns at call t − 1 is the one it
starts from at call t.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rnneval.linter.finding import Match, line_of
from rnneval.linter.flow.facts import Event, Facts, Function, arrivals, judged, neighbour, one_way, sources
from rnneval.linter.flow.names import MODEL_CALLS
from rnneval.linter.flow.values import Emitted, Initial, Value, emissions, leaves

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

CODE = "RNN005"
NAME = "ignored-state"
SEVERITY = "error"
ORDER = 70


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find fresh states where the layer's own was handed on."""
    for group in evidence.groups("fresh"):
        why = "is stateful" if group.into.stateful else "gave its state to the caller, who gave it back"
        seen = f"{group.into.name} {why}, and yet {group.begins()} ({group.calls})"
        yield evidence.detection(seen, group)
    for group in evidence.groups("partial"):
        share = max(item.arrival.missing for item in group.items)
        seen = f"{100 * share:.0f} % of the state of {group.into.name} is not carried ({group.slots}; {group.calls})"
        yield evidence.detection(seen, group)


def find_in_source(facts: Facts) -> Iterator[Match]:
    """Find parameters that are only written, and resets inside the model's call."""
    for function in facts.functions:
        events = [event for event in facts.of(function) if judged(event)]
        for name, values in function.overwritten.items():
            event = _ignoring(function, events, values) if name not in function.reads else None
            if event is not None:
                yield Match(
                    node=event.node,
                    message=f"`{name}` comes in and is never given to `{event.name}`, which starts anew at every "
                    "call: pass it as the layer's initial state",
                )
        for node, key in function.resets if function.name in MODEL_CALLS else ():
            event = next((event for event in events if event.layer == key and event.node.lineno > node.lineno), None)
            if event is not None and event.spec.stateful:
                yield Match(
                    node=node,
                    message=f"`{event.name}` is stateful and is reset in every call of the model: reset it where a new "
                    "text begins",
                )
    yield from _beside_carried(facts)


def _beside_carried(facts: Facts) -> Iterator[Match]:
    """Find layers of a stack whose states come back in one structure, one of which never gets its own."""
    fed = {(event.function, event.layer) for event in facts.events if not _starts_anew(event)}
    found: dict[int, tuple[Event, Event]] = {}
    for arrival in arrivals(facts):
        if not arrival.is_own(facts):
            continue
        beside, function = arrival.event, facts.functions[arrival.event.function]
        # What comes back in one structure with this layer's state, or where a parameter waits that is not read.
        waiting = (carried.left for carried in function.carried if carried.carrier in function.unread)
        for number in sorted(emissions(arrival.carried.left).union(*map(emissions, waiting))):
            event = facts.events[number]
            if one_way(event) and (event.function, event.layer) not in fed and neighbour(event, [beside]):
                found.setdefault(number, (event, beside))
    for _, (event, beside) in sorted(found.items()):
        yield Match(
            node=event.node,
            message=f"`{event.name}` starts anew at every call although its state comes back beside that of "
            f"`{beside.name}` {line_of(beside.node)}: pass it as the layer's initial state",
        )


def _ignoring(function: Function, events: list[Event], values: list[Value]) -> Event | None:
    """Return the layer that began with nothing, or a new state, and whose new state takes the parameter's name."""
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
