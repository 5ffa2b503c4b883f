"""The parts of one layer's state are exchanged: h with c, forward with backward.

## What it finds
An LSTM's h gets what was its c (or the other way round), both get the same part, or the two directions of one
Bidirectional get each other's state. The linter sees this in one call, from an encoder to a decoder, from one pass of a
loop to the next, and between what is returned and what is taken in; also where h is joined with c.

## Why it is wrong
The parts of a state mean different things (an LSTM's h lies in (−1, 1), its c does not) and have the same shape, so
nothing fails while the layer continues from numbers that it never produced as that part.

## Example
```python
x, h, c = self.lstm(x, initial_state=[c, h])  # RNN003
```

## What to write instead
Keep h and c in the layer's own order, as it returns them: `x, *state = self.lstm(x, initial_state=state)`.

```python
x, h, c = self.lstm(x, initial_state=[h, c])
```

## When it is silent
The linter is silent where the order is only unusual: names that are exchanged both where the state is taken and where
it is given, and states that a layer mapped first.

## References
Keras, LSTM: a call with `return_state=True` gives output, h, c. PyTorch, nn.LSTM: output, (h_n, c_n).
"""

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rnneval.linter.finding import Match, line_of
from rnneval.linter.flow.facts import Arrival, Event, Facts, arrivals, judged, sources
from rnneval.linter.flow.values import Emitted, Mixed, Value, alternatives

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

CODE = "RNN003"
NAME = "swapped-slots"
SEVERITY = "error"
ORDER = 30
_STATE_KEYWORDS = ("initial_state", "states", "hx")


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find states from another part of the same layer, or from its other direction."""
    for group in evidence.groups("swapped"):
        yield evidence.detection(f"{group.into.name}: {group.flow} ({group.calls})", group)


def find_in_source(facts: Facts) -> Iterator[Match]:
    """Compare the place of every part of a state with the place it came from."""
    for event in facts.events:
        if judged(event) and event.spec.slots in (2, 4):
            messages = (_given(facts, event, slot, value) for slot, value in sources(event))
            message = next(filter(None, messages), None)
            if message is not None:
                yield Match(node=event.node, message=message, suggestion=_exchanged(event))
    for arrival in arrivals(facts):
        wrong = _returned(facts, arrival)
        if wrong is not None:
            event = arrival.event
            yield Match(
                node=event.node,
                message=f"{_part(event, arrival.slot)} of `{event.name}` starts from what was {_part(event, wrong)} "
                "at the call before: take in and give back the parts in one order",
            )


def _given(facts: Facts, event: Event, slot: int, value: Value) -> str | None:
    """Return the message if this value does not belong in this part of the state."""
    if isinstance(value, Emitted) and value.slot is not None:
        giver = facts.events[value.event]
        if giver.spec.slots == event.spec.slots and value.slot != slot and judged(giver):
            return (
                f"{_part(event, slot)} of `{event.name}` starts from {_part(giver, value.slot)} that `{giver.name}` "
                f"{line_of(giver.node)} gave back: hand over each part in its own place"
            )
    if isinstance(value, Mixed):
        parts = [part for part in value.parts if isinstance(part, Emitted)]
        lstm = [part.slot for part in parts if facts.events[part.event].spec.kind == "lstm"]
        if len({slot % 2 for slot in lstm if slot is not None}) == 2:
            return (
                f"{_part(event, slot)} of `{event.name}` starts from h and c joined together: join h with h, "
                "and c with c"
            )
    return None


def _returned(facts: Facts, arrival: Arrival) -> int | None:
    """Return which part comes back in this part's place, if it is certainly another one of the same layer."""
    if arrival.event.spec.slots not in (2, 4):
        return None
    wrong: set[int] = set()
    for option in alternatives(arrival.left):
        if isinstance(option, Emitted) and option.slot is not None:
            giver = facts.events[option.event]
            if giver.layer != arrival.event.layer or option.slot == arrival.slot:
                return None
            wrong.add(option.slot)
    return wrong.pop() if len(wrong) == 1 else None


def _part(event: Event, slot: int) -> str:
    """Return the usual name of a part of a state."""
    if event.spec.slots == 4:
        return ("forward h", "forward c", "backward h", "backward c")[slot]
    if event.spec.bidirectional and event.spec.kind != "lstm":
        return ("the forward state", "the backward state")[slot]
    return ("h", "c")[slot] if slot < 2 else f"part {slot}"


def _exchanged(event: Event) -> str | None:
    """Write the call with a literal pair turned round, where it is certain that exactly these two changed places."""
    parts = [value.slot for way in event.slots for value in way if isinstance(value, Emitted)]
    if parts != [1, 0] or event.node.lineno != event.node.end_lineno:
        return None
    for holder in (*event.node.args[1:2], *(item.value for item in event.node.keywords if item.arg in _STATE_KEYWORDS)):
        if isinstance(holder, ast.List | ast.Tuple) and len(holder.elts) == 2:
            text, pair = ast.unparse(event.node), ast.unparse(holder)
            turned = ast.unparse(type(holder)(elts=holder.elts[::-1], ctx=ast.Load()))
            return text.replace(pair, turned) if text.count(pair) == 1 else None
    return None
