"""A state is given back and thrown away where the next step needs it.

## What it finds
A generate loop that feeds the model its own output, one step at a time, and gives it the same state again at every
pass; and a stack of which one layer's state is carried through the call while another layer's is not.

## Why it is wrong
Fed one token at a time, a layer knows of the past only what its state holds. If the state is not carried, each
token is predicted from the one before it alone (or, in a stack, by a layer that has lost its memory).

## Example
```python
states = None
for _ in range(100):
    next_char, _ = model(next_char, states=states)  # RNN006
```

## What to write instead
```python
states = None
for _ in range(100):
    next_char, states = model(next_char, states=states)
```

## When it is silent
Where the whole text is fed again at every pass; stateful layers; layers that run backwards; layers that stand in no
stack with one whose state is carried.

## References
TensorFlow tutorial, *Text generation with an RNN*: the generation loop.
"""

from collections.abc import Iterator

from rnneval.linter.flow.carrying import arrivals
from rnneval.linter.flow.facts import Event, Facts
from rnneval.linter.flow.relations import again, feeds, judged
from rnneval.linter.flow.values import Emitted, emissions, leaves, options
from rnneval.linter.spot import Spot, at

CODE = "RNN006"
NAME = "dropped-state"
SEVERITY = "error"


def find(facts: Facts) -> Iterator[Spot]:
    """Look at the passes of loops, and at stacks that are carried in part."""
    for event in facts.events:
        before = _pass_before(facts, event) if _looks_forgetful(event) else None
        if before is not None:
            yield Spot(
                node=event.node,
                message=f"`{event.name}` reads its own output at every pass and starts from the same state each time: "
                "give it the state that it gave back at the pass before",
            )
    yield from _left_out(facts)
    yield from _beside_stateful(facts)


def _looks_forgetful(event: Event) -> bool:
    if (
        not judged(event)
        or not event.turns
        or event.enters.grown
        or event.spec.stateful
        or not event.spec.returns_state
    ):
        return False
    given = event.state
    if given is None:
        return event.spec.framework == "file"
    return not any(isinstance(leaf, Emitted) for leaf in leaves(given))


def _pass_before(facts: Facts, event: Event) -> Event | None:
    """Find the pass whose output goes in now, begun from the very same state and forgotten since."""
    for number in event.enters.passed:
        other = facts.events[number]
        if again(other, event) and other.state == event.state and not other.read and _last_loop(other, event):
            return other
    return None


def _last_loop(one: Event, other: Event) -> bool:
    """Tell whether the passes are of one loop over time."""
    return bool(one.turns) and one.turns[:-1] == other.turns[:-1] and not other.turns[-1][2]


def _left_out(facts: Facts) -> Iterator[Spot]:
    carried = [arrival.event for arrival in arrivals(facts) if _own(facts, arrival.event, arrival.left)]
    carrying: dict[int, list[Event]] = {}
    for event in carried:
        carrying.setdefault(event.function, []).append(event)
    for function, own in carrying.items():
        events = facts.by_function[function]
        fed = {event.layer for event in events if event.state is not None}
        for event in events:
            if event.layer in fed or not judged(event) or not _forgets(event) or event.read:
                continue
            beside = next((one for one in own if feeds(one, event) or feeds(event, one)), None)
            if beside is not None:
                yield Spot(
                    node=event.node,
                    message=f"`{event.name}` starts anew at every call while the state of `{beside.name}` "
                    f"{at(beside.node)} is carried: take in and give back a state for each layer",
                )


def _beside_stateful(facts: Facts) -> Iterator[Spot]:
    """Look for layers that keep nothing in a stack with one that keeps its state by itself."""
    keeping: dict[int, list[Event]] = {}
    for event in facts.events:
        if event.spec.stateful is True and judged(event):
            keeping.setdefault(event.function, []).append(event)
    for event in facts.events:
        if event.state is None and judged(event) and _forgets(event) and event.spec.returns_sequences:
            beside = next((one for one in keeping.get(event.function, []) if _stack(one, event)), None)
            if beside is not None:
                yield Spot(
                    node=event.node,
                    message=f"`{event.name}` starts anew at every batch while `{beside.name}` "
                    f"{at(beside.node)} is stateful: make both stateful, or neither",
                )


def _stack(one: Event, other: Event) -> bool:
    return feeds(one, other) or feeds(other, one)


def _own(facts: Facts, event: Event, left: object) -> bool:
    return all(
        isinstance(option, Emitted) and facts.events[option.event].layer == event.layer
        for option in options(left)  # type: ignore[arg-type]
    )


def _forgets(event: Event) -> bool:
    spec = event.spec
    one_way = not spec.bidirectional and not spec.backwards and not spec.cell
    return one_way and spec.stateful is False and spec.framework in ("keras", "torch") and not emissions_kept(event)


def emissions_kept(event: Event) -> bool:
    """Tell whether the state that the layer gave back was looked at."""
    return event.read or bool(event.state is not None and emissions(event.state))
