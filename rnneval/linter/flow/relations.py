"""How events stand to each other: above one another in a stack, in the same pass, one layer again."""

from collections.abc import Iterator

from rnneval.linter.flow.facts import Event, Facts
from rnneval.linter.flow.values import Data, Emitted, Value, options

MOST_COMPARED = 24
FRAMEWORKS = ("keras", "torch", "file")


def judged(event: Event) -> bool:
    """Tell whether the event is a passage through something known to be recurrent."""
    return event.spec.framework in FRAMEWORKS


def feeds(giver: Event, receiver: Event) -> bool:
    """Tell whether the receiver reads the giver's outputs and nothing that the giver has not read: one stack.

    A decoder that reads its own sequence, attention over an encoder's outputs, one step repeated: none is a stack.
    """
    return giver.number in receiver.enters.passed and receiver.enters.origins <= giver.enters.origins


def stacked(facts: Facts, one: Event, other: Event) -> bool:
    """Tell whether two layers stand in one stack, anywhere in the function."""
    key = (one.function, one.layer, other.layer)
    if one.function != other.function:
        return False
    if key not in facts.related:
        ones = facts.by_layer[one.function, one.layer][:MOST_COMPARED]
        others = facts.by_layer[other.function, other.layer][:MOST_COMPARED]
        facts.related[key] = any(feeds(a, b) or feeds(b, a) for a in ones for b in others)
    return facts.related[key]


def sources(event: Event) -> Iterator[tuple[int, Value]]:
    """Give every slot with everything that may have gone into it."""
    for way in event.slots:
        for slot, value in enumerate(way):
            for option in options(value):
                yield slot, option


def given_by(facts: Facts, event: Event) -> Iterator[tuple[int, Emitted, Event]]:
    """Give the states that other events emitted and this one received: slot, state, giver."""
    for slot, value in sources(event):
        if isinstance(value, Emitted):
            yield slot, value, facts.events[value.event]
    if not event.slots and event.state is not None:
        for option in options(event.state):
            if isinstance(option, Emitted):
                yield 0, option, facts.events[option.event]


def last_output(facts: Facts, event: Event) -> Event | None:
    """Give the event whose last output was handed over as this one's state."""
    for _, value in sources(event):
        if isinstance(value, Data) and value.last_of is not None:
            return facts.events[value.last_of]
    return None


def earlier_pass(giver: Event, receiver: Event) -> bool:
    """Tell whether the giver ran in an earlier pass of a loop over time that both are in.

    A loop whose one call runs another layer at every pass is a loop over layers, however it counts.
    """
    if giver.node is receiver.node and giver.layer != receiver.layer:
        return False
    theirs = {loop: turn for loop, turn, layers in giver.turns if not layers}
    return any(not layers and theirs.get(loop, turn) < turn for loop, turn, layers in receiver.turns)


def again(one: Event, other: Event) -> bool:
    """Tell whether two events are the same call in two passes of a loop."""
    return one.node is other.node and one.layer == other.layer and one.function == other.function


def unsure(event: Event) -> bool:
    """Tell whether something that is not followed may have gone into the state: a state mapped by a layer, say."""
    return any(isinstance(option, Data) and option.last_of is None for _, option in sources(event)) or (
        event.state is not None
        and any(isinstance(option, Data) and option.last_of is None for option in options(event.state))
    )
