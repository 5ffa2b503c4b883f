"""A layer gets back the state of another layer.

## What it finds
The state that goes into a layer comes from another layer's state of an earlier call: states are returned in another
order than they are taken in (`insert(0, …)`, `pop()`, a reversed list, the outputs of a functional model), kept in an
attribute, under a key or in a field that another layer writes, or one incoming state initializes every layer and only
one layer's state is returned. The same holds for layers of a step loop that read each other's state of the step
before.

## Why it is wrong
Each layer's state belongs to its own space: what another layer remembered means nothing to this one, so it forgets
its own past at every segment and starts from numbers that training never meant for it.

Nothing fails where the widths happen to agree.

## Example
```python
s1, s2 = states
x, n1 = self.gru(x, initial_state=s1)  # RNN002: gets gru_2's state at the next call
x, n2 = self.gru_2(x, initial_state=s2)
return x, (n2, n1)  # exchanged
```

## What to write instead
Return one new state for each layer, in the order in which they are taken apart again.

```python
return x, (n1, n2)
```

Where layers are meant to see each other's states, say so with `--declare mixed=LAYER`.

## When it is silent
The linter is silent about:

- states whose way from the return of one call to the next is not certain, such as `return x, pack(n1, n2)` with an
  imported `pack`;
- layers that do not stand in one stack, such as two towers that read the same input;
- an encoder whose layers all start from the same zeros and which returns their own states apart, such as
  `return x, n1, n2`;
- classes and functions with encoder in their name, such as `class TextEncoder`: what they return goes to a decoder.

## References
docs, wiring: the state that a layer returns at call t − 1 is the one it starts from at call t. Hochreiter and
Schmidhuber 1997, Long Short-Term Memory.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rnneval.linter.finding import Match, line_of
from rnneval.linter.flow.facts import (
    Arrival,
    Event,
    Facts,
    arrivals,
    earlier_pass,
    given_by,
    judged,
    shared_arrivals,
    stacked,
)
from rnneval.linter.flow.values import Emitted, alternatives

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

CODE = "RNN002"
NAME = "crossed-state"
SEVERITY = "error"
ORDER = 20
CORRECTS = True


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find states from another layer, made in an earlier call."""
    groups = evidence.groups_within("crossed", same_call=False)
    pairs = {(group.unit, group.giver) for group in groups}
    for group in groups:
        giver = group.source.name if group.source else "another cell of the same layer"
        more = "" if group.is_returned() else f": the new state of {group.into.name} is not among what is returned"
        if (group.giver, group.unit) in pairs:
            more = ": the two states are exchanged, in the returned order or where they are taken apart"
        seen = f"{group.into.name} gets back the state of {giver} ({group.flow}; {group.calls}){more}"
        yield evidence.detection(seen, group)


def find_in_source(facts: Facts) -> Iterator[Match]:
    """Find layers that start from another layer's state.

    It is the state (1) of an earlier pass of a loop, (2) of the call before, or (3) one incoming state that is given to
    several layers. Functions with the fault shared-state are skipped: seen from the next call, it would be reported
    a second time.
    """
    mixed_now = {event.function for event in facts.events if _from_the_same_call(facts, event)}
    for event in facts.events:
        if judged(event) and event.function not in mixed_now:
            for _, _, giver in given_by(facts, event):
                if _crosses(facts, giver, event) and earlier_pass(giver, event):
                    yield _match(event, giver, "at the pass before")
    shared = list(shared_arrivals(facts))
    mixed_later = mixed_now | {event.function for event, _ in shared}
    for arrival in arrivals(facts):
        other = _other_giver(facts, arrival)
        if other is not None and arrival.event.function not in mixed_later:
            yield _match(arrival.event, other, "at the call before")
    for event, first in shared:
        if event.function not in mixed_now:
            yield Match(
                node=event.node,
                message=f"`{event.name}` gets the same incoming state as `{first.name}` {line_of(first.node)}: one "
                "state comes in for all layers; take in and give back one for each",
            )


def _from_the_same_call(facts: Facts, event: Event) -> bool:
    """Return whether the state comes from another layer in the same call: that is the fault shared-state."""
    return judged(event) and any(
        giver.layer != event.layer and not earlier_pass(giver, event) and stacked(facts, giver, event)
        for _, _, giver in given_by(facts, event)
    )


def _crosses(facts: Facts, giver: Event, event: Event) -> bool:
    """Return whether the giver is another recurrent layer of the same stack."""
    return giver.layer != event.layer and judged(giver) and stacked(facts, giver, event)


def _other_giver(facts: Facts, arrival: Arrival) -> Event | None:
    """Return the other layer whose state is there at the next call; None if it may be the layer's own."""
    left = alternatives(arrival.left)
    givers = [facts.events[option.event] for option in left if isinstance(option, Emitted)]
    if not givers or any(giver.layer == arrival.event.layer for giver in givers):
        return None
    return next((giver for giver in givers if _crosses(facts, giver, arrival.event)), None)


def _match(event: Event, giver: Event, when: str) -> Match:
    return Match(
        node=event.node,
        message=f"`{event.name}` starts from the state that `{giver.name}` {line_of(giver.node)} gave back {when}: "
        "return and take in the states in one order, each layer its own",
    )
