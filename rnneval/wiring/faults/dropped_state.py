"""A layer's state is not handed on: it begins anew at every call.

## What it finds
The model takes or returns states, and this layer's new state, or a part of it, is not among them: the layer starts from
constants (or from an output) at every call. The linter finds a stack in which one layer's state is carried and another
layer's is not, and a generate loop that feeds the model its own output, one step at a time, and the same state at every
pass.

## Why it is wrong
What is not handed on is forgotten at every segment, so token-by-token generation runs another model than the one that
was trained on long segments.

## Example
```python
x, s1 = self.gru(x, initial_state=states)
x = self.gru_2(x)  # RNN006: always begins anew
return x, s1
```

## What to write instead
Take every part of the state that the layer returns (an LSTM's h and c), return it, and pass all of it as the layer's
`initial_state` at the next call.

```python
x, s2 = self.gru_2(x, initial_state=s2)
return x, (s1, s2)
```

In a generate loop, `next_char, states = model(next_char, states=states)`.

A layer that is meant to begin anew is declared with `--declare stateless=LAYER`.

## When it is silent
The linter is silent where the whole text is fed again at every pass, about stateful layers, about layers that run
backwards, and about layers that stand in no stack with one whose state is carried.

## References
docs, wiring: declarations. TensorFlow tutorial, Text generation with an RNN (the generation loop).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rnneval.linter.finding import Match, line_of
from rnneval.linter.flow.facts import Event, Facts, arrivals, judged, neighbour, one_way
from rnneval.linter.flow.values import Emitted, emissions, leaves

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

CODE = "RNN006"
NAME = "dropped-state"
SEVERITY = "error"
ORDER = 80
CORRECTS = True


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find fresh states, the layer's own not returned, in a model that hands some state on."""
    facts = evidence.facts
    if not (facts.takes_states or facts.gives_states or evidence.has("carried", "carried-transformed")):
        return
    for group in evidence.groups("dropped"):
        seen = f"{group.begins()}, and its last state is not among what is handed on ({group.calls})"
        yield evidence.detection(seen, group)


def find_in_source(facts: Facts) -> Iterator[Match]:
    """Find passes of loops that forget, and stacks that are carried in part."""
    for event in facts.events:
        if _repeats(facts, event):
            yield Match(
                node=event.node,
                message=f"`{event.name}` reads its own output at every pass and starts from the same state each time: "
                "give it the state that it gave back at the pass before",
            )
    yield from _beside_carried(facts)
    yield from _beside_stateful(facts)


def _repeats(facts: Facts, event: Event) -> bool:
    """Return whether the output of an earlier pass goes in, begun from the very same state and forgotten since."""
    in_loop = judged(event) and event.turns and not event.enters.grown
    if not in_loop or event.spec.stateful or not event.spec.returns_state:
        return False
    if event.state is None and event.spec.framework != "file":
        return False
    if event.state is not None and any(isinstance(leaf, Emitted) for leaf in leaves(event.state)):
        return False
    for other in (facts.events[number] for number in event.enters.passed):
        same_call = other.node is event.node and other.layer == event.layer and other.function == event.function
        over_time = other.turns[:-1] == event.turns[:-1] and not event.turns[-1][2]
        if same_call and other.state == event.state and not other.read and other.turns and over_time:
            return True
    return False


def _beside_carried(facts: Facts) -> Iterator[Match]:
    """Find layers that keep nothing in a stack with one whose state is carried through the call."""
    carrying: dict[int, list[Event]] = {}
    for arrival in arrivals(facts):
        if arrival.is_own(facts):
            carrying.setdefault(arrival.event.function, []).append(arrival.event)
    for function, own in carrying.items():
        events = facts.by_function[function]
        fed = {event.layer for event in events if event.state is not None}
        for event in events:
            if event.layer in fed or not judged(event) or not _forgets(event) or event.read:
                continue
            beside = neighbour(event, own)
            if beside is not None:
                yield Match(
                    node=event.node,
                    message=f"`{event.name}` starts anew at every call while the state of `{beside.name}` "
                    f"{line_of(beside.node)} is carried: take in and give back a state for each layer",
                )


def _beside_stateful(facts: Facts) -> Iterator[Match]:
    """Find layers that keep nothing in a stack with one that keeps its state by itself."""
    keeping: dict[int, list[Event]] = {}
    for event in facts.events:
        if event.spec.stateful is True and judged(event):
            keeping.setdefault(event.function, []).append(event)
    for event in facts.events:
        if event.state is None and judged(event) and _forgets(event) and event.spec.returns_sequences:
            beside = neighbour(event, keeping.get(event.function, []))
            if beside is not None:
                yield Match(
                    node=event.node,
                    message=f"`{event.name}` starts anew at every batch while `{beside.name}` "
                    f"{line_of(beside.node)} is stateful: make both stateful, or neither",
                )


def _forgets(event: Event) -> bool:
    kept = event.read or bool(event.state is not None and emissions(event.state))
    return one_way(event) and not kept
