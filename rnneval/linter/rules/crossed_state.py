"""A layer gets, at the next call, a state that another layer of the stack gave back at this one.

## What it finds
States that change places between calls: returned in another order than they are taken in, kept in an attribute that
another layer writes, one incoming state given to all layers while one comes back, layers of a step loop that read
each other's state of the step before.

## Why it is wrong
What layer *l* gives back at time t−1 must be what layer *l* starts from at time t. A state of another layer has
another meaning, even where the widths happen to agree, so that nothing fails but the text.

## Example
```python
x, s1 = self.gru1(x, initial_state=states[0])  # RNN002: gets gru2's state at the next call
x, s2 = self.gru2(x, initial_state=states[1])
return x, (s2, s1)
```

## What to write instead
```python
return x, (s1, s2)
```

## When it is silent
Where the pairing of what comes in and what goes out is not certain; layers that do not stand in one stack; an
encoder whose zero states are given to all of its layers and whose own states are returned apart; classes and
functions that call themselves an encoder, since what they return goes to a decoder.

## References
The invariant: S_out(l) at t−1 is S_in(l) at t. Hochreiter, Schmidhuber (1997), *Long Short-Term Memory*.
"""

import ast
from collections.abc import Iterator

from rnneval.linter.flow.carrying import Arrival, arrivals, shared_arrivals
from rnneval.linter.flow.facts import Event, Facts
from rnneval.linter.flow.relations import earlier_pass, given_by, judged, stacked
from rnneval.linter.flow.values import Emitted, options
from rnneval.linter.spot import Spot, at

CODE = "RNN002"
NAME = "crossed-state"
SEVERITY = "error"


def find(facts: Facts) -> Iterator[Spot]:
    """Look at what comes back to each layer at the next pass or call."""
    mixed_now = {event.function for event in facts.events if _from_the_same_call(facts, event)}
    for event in facts.events:
        if judged(event) and event.function not in mixed_now:
            for _, _, giver in given_by(facts, event):
                if _crosses(facts, giver, event) and earlier_pass(giver, event):
                    yield _spot(event.node, event.name, giver, "at the pass before")
    shared = list(shared_arrivals(facts))
    mixed_later = mixed_now | {event.function for event, _ in shared}
    for arrival in arrivals(facts):
        other = _other(facts, arrival)
        if other is not None and arrival.event.function not in mixed_later:
            yield _spot(arrival.event.node, arrival.event.name, other, "at the call before")
    for event, first in shared:
        if event.function not in mixed_now:
            yield Spot(
                node=event.node,
                message=f"`{event.name}` gets the same incoming state as `{first.name}` (line "
                f"{first.node.lineno}): one "
                "state comes in for all layers; take in and give back one for each",
            )


def _from_the_same_call(facts: Facts, event: Event) -> bool:
    """The same fault seen from the next call is not reported again."""
    return judged(event) and any(
        giver.layer != event.layer and not earlier_pass(giver, event) and stacked(facts, giver, event)
        for _, _, giver in given_by(facts, event)
    )


def _crosses(facts: Facts, giver: Event, event: Event) -> bool:
    return giver.layer != event.layer and judged(giver) and stacked(facts, giver, event)


def _other(facts: Facts, arrival: Arrival) -> Event | None:
    left = options(arrival.left)
    givers = [facts.events[option.event] for option in left if isinstance(option, Emitted)]
    if not givers or any(giver.layer == arrival.event.layer for giver in givers):
        return None
    return next((giver for giver in givers if _crosses(facts, giver, arrival.event)), None)


def _spot(node: ast.AST, name: str, giver: Event, when: str) -> Spot:
    return Spot(
        node=node,
        message=f"`{name}` starts from the state that `{giver.name}` {at(giver.node)} gave back {when}: "
        "return and take in the states in one order, each layer its own",
    )
