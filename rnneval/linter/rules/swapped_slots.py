"""The parts of one state change places: h with c, forward with backward.

## What it finds
An LSTM's cell state c where its hidden state h belongs, or h where c belongs: in one call, from an encoder to a
decoder, from one pass of a loop to the next, or between what is returned and what is taken in. In the same way the
forward and the backward state of a Bidirectional layer, and h joined with c where h belongs with h.

## Why it is wrong
h is bounded by tanh and is the layer's output, c is a sum that may grow: both have the same shape, so nothing
fails, but the gates read numbers they were never trained on.

## Example
```python
x, h, c = self.lstm(x, initial_state=[c, h])  # RNN003
```

## What to write instead
```python
x, h, c = self.lstm(x, initial_state=[h, c])
```

## When it is silent
Where the order is only unusual: names exchanged both where the state is taken and where it is given; states mapped
by a layer first.

## References
Keras, *LSTM layer*: a call with `return_state=True` gives output, h, c. PyTorch, *nn.LSTM*: output, (h_n, c_n).
"""

import ast
from collections.abc import Iterator

from rnneval.linter.flow.carrying import Arrival, arrivals
from rnneval.linter.flow.facts import Event, Facts
from rnneval.linter.flow.relations import judged, sources
from rnneval.linter.flow.values import Emitted, Mixed, Value, options
from rnneval.linter.spot import Spot, at

CODE = "RNN003"
NAME = "swapped-slots"
SEVERITY = "error"


def find(facts: Facts) -> Iterator[Spot]:
    """Compare the place of every part of a state with the place it came from."""
    for event in facts.events:
        if judged(event) and event.spec.slots in (2, 4):
            found = next(
                (found for slot, value in sources(event) if (found := _given(facts, event, slot, value))), None
            )
            if found is not None:
                yield Spot(node=event.node, message=found, suggestion=_exchanged(event))
    for arrival in arrivals(facts):
        wrong = _returned(facts, arrival)
        if wrong is not None:
            yield Spot(
                node=arrival.event.node,
                message=f"{_part(arrival.event, arrival.slot)} of `{arrival.event.name}` starts from what was "
                f"{_part(arrival.event, wrong)} at the call before: take in and give back the parts in one order",
            )


def _given(facts: Facts, event: Event, slot: int, value: Value) -> str | None:
    if isinstance(value, Emitted) and value.slot is not None:
        giver = facts.events[value.event]
        if giver.spec.slots == event.spec.slots and value.slot != slot and judged(giver):
            return _message(event, slot, giver, value.slot)
    if isinstance(value, Mixed):
        parts = [part for part in value.parts if isinstance(part, Emitted) and part.slot is not None]
        kinds = {
            part.slot % 2 for part in parts if facts.events[part.event].spec.kind == "lstm" and part.slot is not None
        }
        if len(kinds) == 2:
            return (
                f"{_part(event, slot)} of `{event.name}` starts from h and c joined together: join h "
                "with h, and c with c"
            )
    return None


def _message(event: Event, slot: int, giver: Event, wrong: int) -> str:
    return (
        f"{_part(event, slot)} of `{event.name}` starts from {_part(giver, wrong)} that `{giver.name}` "
        f"{at(giver.node)} gave back: hand over each part in its own place"
    )


def _returned(facts: Facts, arrival: Arrival) -> int | None:
    """Give the slot that comes back in this slot's place, if it is surely another one of the same layer."""
    if arrival.event.spec.slots not in (2, 4):
        return None
    wrong: set[int] = set()
    for option in options(arrival.left):
        if isinstance(option, Emitted) and option.slot is not None:
            giver = facts.events[option.event]
            if giver.layer != arrival.event.layer or option.slot == arrival.slot:
                return None
            wrong.add(option.slot)
    return wrong.pop() if len(wrong) == 1 else None


def _part(event: Event, slot: int) -> str:
    """Name a slot the way a person does."""
    if event.spec.slots == 4:
        return ("forward h", "forward c", "backward h", "backward c")[slot]
    if event.spec.bidirectional and event.spec.kind != "lstm":
        return ("the forward state", "the backward state")[slot]
    return ("h", "c")[slot] if slot < 2 else f"part {slot}"


def _exchanged(event: Event) -> str | None:
    """Write the call with the two parts of a literal pair exchanged: certain where exactly these two changed places."""
    parts = [value.slot for way in event.slots for value in way if isinstance(value, Emitted)]
    if parts != [1, 0] or event.node.lineno != event.node.end_lineno:
        return None
    for holder in (*event.node.args[1:2], *(item.value for item in event.node.keywords if item.arg in _STATE_KEYWORDS)):
        if isinstance(holder, ast.List | ast.Tuple) and len(holder.elts) == 2:
            text, pair = ast.unparse(event.node), ast.unparse(holder)
            turned = ast.unparse(type(holder)(elts=holder.elts[::-1], ctx=ast.Load()))
            return text.replace(pair, turned) if text.count(pair) == 1 else None
    return None


_STATE_KEYWORDS = ("initial_state", "states", "hx")
