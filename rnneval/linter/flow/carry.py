"""What a function takes in, paired with what it leaves there for its next call."""

from collections.abc import Callable, Iterator
from typing import Any

from rnneval.linter.flow.env import Env
from rnneval.linter.flow.facts import Carried, Event, Function
from rnneval.linter.flow.machine import Machine, Summary
from rnneval.linter.flow.values import (
    Choice,
    Emitted,
    Graph,
    Incoming,
    Many,
    Step,
    Table,
    Value,
    choice,
    emissions,
    leaves,
    options,
)


def carried(machine: Machine, function: Function, end: Env) -> tuple[Carried, ...]:
    """Pair every carrier that a layer's state came from with what is left there at the end."""
    events = machine.facts.of(function)
    used = _carriers(events)
    found = [
        Carried(carrier, value, "attribute")
        for carrier in used
        if carrier.startswith("self.") and (value := end.names.get(carrier)) is not None
    ]
    parameters = [name for name in function.parameters if name in used]
    found += list(_returned(function, parameters))
    for number, graph in machine.graphs:
        if number == function.number:
            found += _through(graph, used)
    return tuple(found)


def _through(graph: Graph, used: list[str]) -> list[Carried]:
    """Pair the inputs of a functional model that are states with the outputs that are, in their order."""
    carriers = [item.carrier for item in graph.inputs if isinstance(item, Incoming) and item.carrier in used]
    states = [item for item in graph.outputs if isinstance(item, Emitted)]
    if len(carriers) != len(states):
        return []
    return [Carried(carrier, state, "returned") for carrier, state in zip(carriers, states, strict=True)]


def _carriers(events: list[Event]) -> list[str]:
    """Name the parameters and attributes that states came from, in the order of their use."""
    names: dict[str, None] = {}
    for event in events:
        if event.state is not None:
            names |= {leaf.carrier: None for leaf in leaves(event.state) if isinstance(leaf, Incoming)}
    return list(names)


def _returned(function: Function, parameters: list[str]) -> Iterator[Carried]:
    """Pair parameters with parts of what is returned: one with one, or several in their order."""
    for _, value in function.returns:
        for option in options(value):
            if isinstance(option, Many) and not option.open:
                parts = _parts(option, parameters)
                order = sorted(parameters, key=function.parameters.index)
                if len(parts) == len(order):
                    yield from (Carried(name, part, "returned") for name, part in zip(order, parts, strict=True))


def _parts(returned: Many, parameters: list[str]) -> list[Value]:
    """Give the states among what is returned, as many as there are parameters; the first item is the output.

    A cell's output is its state, so that nothing is said where an output could be taken for a state.
    """
    states = state_parts(returned, parameters)
    output_is_state = bool(returned.items) and _is_state(returned.items[0], parameters)
    if len(parameters) > 1:
        return states[1:] if output_is_state and len(states) == len(parameters) + 1 else states
    structures: list[Value] = [part for part in states if isinstance(part, Many | Table)]
    if len(structures) == 1:
        return structures
    if output_is_state:
        return [returned] if len(states) == len(returned.items) and not structures else []
    return states if len(states) == 1 else [Many(tuple(states))] if states else []


def state_parts(value: Value, parameters: list[str]) -> list[Value]:
    """Give the parts of a returned tuple that are states: emitted ones, or the parameters handed back."""
    if not isinstance(value, Many):
        return []
    return [item for item in value.items if _is_state(item, parameters)]


def _is_state(value: Value, parameters: list[str]) -> bool:
    found = list(leaves(value))
    own = [
        leaf
        for leaf in found
        if isinstance(leaf, Emitted) or (isinstance(leaf, Incoming) and leaf.carrier in parameters)
    ]
    return bool(own)


def left_at(value: Value, path: tuple[object, ...]) -> Value | None:
    """Give what was left at a place of a structure; None where that cannot be told."""
    for key in path:
        step = _step(value, key)
        if step is None:
            return None
        value = step
    while isinstance(value, Many) and len(value.items) == 1 and not value.open:
        value = value.items[0]
    return value


def _step(value: Value, key: object) -> Value | None:
    handler = _STEPS.get(type(value))
    return handler(value, key) if handler else None


def _in_choice(value: Choice, key: object) -> Value | None:
    known = [step for option in value.options if (step := _step(option, key)) is not None]
    return choice(known) if known else None


def _in_many(value: Many, key: object) -> Value | None:
    index = key.turn + key.offset if isinstance(key, Step) else key
    inside = isinstance(index, int) and -len(value.items) <= index < len(value.items)
    return value.items[index] if inside else None  # type: ignore[call-overload]


def _in_incoming(value: Incoming, key: object) -> Value | None:
    return Incoming(value.carrier, (*value.path, key)) if not value.sliced else None


def _in_table(value: Table, key: object) -> Value | None:
    found = value.get(key)
    if found is not None or value.base is None:
        return found
    unknown = any(isinstance(name, Step) or name is None for name, _ in value.items)
    return None if unknown else _step(value.base, key)


def _in_emitted(value: Emitted, key: object) -> Value | None:
    if value.slot is None and isinstance(key, int):
        return Emitted(value.event, key, value.touched)
    return value if key == 0 else None


_STEPS: dict[type, Callable[[Any, object], Value | None]] = {
    Choice: _in_choice,
    Many: _in_many,
    Incoming: _in_incoming,
    Table: _in_table,
    Emitted: _in_emitted,
}


def summary(machine: Machine, function: Function) -> Summary | None:
    """Say how a method carries its state, where one parameter comes back at one place of the returned tuple."""
    events = machine.facts.of(function)
    parameters = [name for name in function.parameters if name in _carriers(events)]
    if len(parameters) != 1:
        return None
    places = set()
    for _, value in function.returns:
        for option in options(value):
            if isinstance(option, Many) and not option.open:
                places |= {(at, len(option.items)) for at, item in enumerate(option.items) if emissions(item)}
    if len(places) != 1:
        return None
    index, length = places.pop()
    position = function.parameters.index(parameters[0])
    return Summary(parameters[0], position, index, length, function.parameters)
