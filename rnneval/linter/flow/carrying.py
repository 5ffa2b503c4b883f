"""What arrives at each layer at the next call: the incoming places it reads, with what the function left there."""

from collections.abc import Iterator
from dataclasses import dataclass

from rnneval.linter.flow.carry import left_at
from rnneval.linter.flow.facts import Event, Facts, Function
from rnneval.linter.flow.relations import judged, sources, stacked
from rnneval.linter.flow.values import Emitted, Incoming, Many, Table, Value, options


@dataclass(frozen=True, slots=True)
class Arrival:
    """One slot of one layer: where it comes in, and what will be there at the next call."""

    event: Event
    slot: int
    place: Incoming
    left: Value
    how: str


def arrivals(facts: Facts) -> Iterator[Arrival]:
    """Pair every incoming slot with what was left in its place."""
    for function in facts.functions:
        events = [event for event in facts.of(function) if judged(event)]
        for carried in function.carried:
            if carried.how == "returned" and _encodes(function):
                continue
            for event in events:
                for slot, value in sources(event):
                    if isinstance(value, Incoming) and value.carrier == carried.carrier and not value.sliced:
                        left = left_at(carried.left, value.path)
                        if left is not None:
                            yield Arrival(event, slot, value, left, carried.how)


def _encodes(function: Function) -> bool:
    """Believe an encoder that it is called once a text: what it gives back goes to a decoder, not to itself."""
    return "encoder" in f"{function.owner or ''} {function.name}".lower()


def shared_arrivals(facts: Facts) -> Iterator[tuple[Event, Event]]:
    """Give the layers that take in, whole, what another layer of the stack has taken in, where one state comes back."""
    for function in facts.functions:
        if _encodes(function):
            continue
        single = {carried.carrier for carried in function.carried if _one_state(carried.left)}
        seen: dict[Incoming, Event] = {}
        for event in facts.of(function):
            for place in _whole(event) if judged(event) else ():
                first = seen.setdefault(place, event)
                if place.carrier in single and first.layer != event.layer and stacked(facts, first, event):
                    yield event, first


def _whole(event: Event) -> list[Incoming]:
    if event.state is None:
        return []
    return [option for option in options(event.state) if isinstance(option, Incoming) and not option.path]


def _one_state(value: Value) -> bool:
    """Tell whether what comes back is one layer's state and not a structure of several."""
    found = options(value)
    events = {option.event for option in found if isinstance(option, Emitted)}
    slots = [option for option in found if isinstance(option, Many) and not option.open]
    for many in slots:
        events |= {item.event for item in many.items if isinstance(item, Emitted)}
        if any(isinstance(item, Many | Table) for item in many.items):
            return False
    return len(events) == 1
