"""Other views of a value: its descent as a tensor, its parts, its slots as a state."""

from rnneval.linter.flow.facts import Event
from rnneval.linter.flow.machine import Machine
from rnneval.linter.flow.values import (
    NONE,
    NOTHING,
    Choice,
    Const,
    Data,
    Emitted,
    Incoming,
    Initial,
    Layer,
    Many,
    Mixed,
    Spec,
    Step,
    Table,
    Value,
    blend,
    choice,
    options,
    traced,
)

CUT = "cut"


def data_of(machine: Machine, value: Value, depth: int = 5) -> Data:
    """Give the descent of a value as a tensor."""
    if isinstance(value, Data):
        return value
    if isinstance(value, Emitted):
        event = machine.facts.events[value.event]
        return Data(event.enters.origins, event.enters.passed | {value.event})
    if isinstance(value, Incoming):
        return Data(frozenset({("incoming", value.carrier, value.path[:1])}))
    if depth and isinstance(value, Many | Choice | Mixed | Table):
        inner = _inner(value)
        mixed = blend(data_of(machine, item, depth - 1) for item in inner) if inner else NOTHING
        return Data(mixed.origins, mixed.passed, grown=True) if isinstance(value, Many) and value.open else mixed
    return NOTHING


def _inner(value: Many | Choice | Mixed | Table) -> tuple[Value, ...]:
    if isinstance(value, Many):
        return value.items
    if isinstance(value, Choice):
        return tuple(value.options)
    if isinstance(value, Mixed):
        return value.parts
    return (*(item for _, item in value.items), *((value.base,) if value.base is not None else ()))


def cut(data: Data, place: object) -> Data:
    """Say that this is no longer the sequence that a layer gave: one step of it, or one step repeated."""
    return Data(traced(data.origins, (CUT, place)), data.passed, grown=data.grown)


def through(data: Data) -> Data:
    """Give the descent after an operation that mixes the features."""
    return Data(data.origins, data.passed, grown=data.grown)


def part(machine: Machine, value: Value, key: object) -> Value:
    """Give `value[key]` for a literal or running key."""
    if isinstance(value, Choice):
        return choice(part(machine, option, key) for option in value.options)
    if isinstance(value, Many):
        return _item(value, key)
    if isinstance(value, Incoming):
        return _below(value, key)
    if isinstance(value, Table):
        return _stored(machine, value, key)
    if isinstance(value, Emitted):
        return _slot_of(machine, value, key)
    return through(data_of(machine, value))


def _stored(machine: Machine, value: Table, key: object) -> Value:
    found = value.get(key)
    if found is not None:
        return found
    return part(machine, value.base, key) if value.base is not None else NOTHING


def _item(value: Many, key: object) -> Value:
    index = key.turn + key.offset if isinstance(key, Step) else key
    count = len(value.items)
    if not isinstance(index, int) or isinstance(index, bool) or not count:
        return NOTHING
    if -count <= index < count and not (value.open and index < -1):
        return value.items[index]
    last = value.items[-1]
    if value.open and isinstance(last, Layer):
        return Layer((*last.key, ("item", index)), last.spec)
    return NOTHING


def _below(value: Incoming, key: object) -> Incoming:
    if not value.sliced:
        return Incoming(value.carrier, (*value.path, key))
    if isinstance(key, int) and key >= 0:
        return Incoming(value.carrier, (*value.path, value.start + key))
    return Incoming(value.carrier, (*value.path, ("slice", value.start, value.stop), key))


def _slot_of(machine: Machine, value: Emitted, key: object) -> Value:
    event = machine.facts.events[value.event]
    count = event.spec.slots
    if value.slot is None and isinstance(key, int) and count and count > 1 and -count <= key < count:
        return Emitted(value.event, key % count, value.touched)
    return Emitted(value.event, value.slot, True)


def slots_of(machine: Machine, value: Value | None, spec: Spec) -> tuple[tuple[Value, ...], ...]:
    """Spread what is given as a state over the layer's slots, once for every way the code may have taken."""
    if value is None:
        return ()
    found = []
    for option in options(value):
        spread = _spread(machine, option, spec)
        if spread is not None and spread not in found:
            found.append(spread)
    return tuple(found)


def _spread(machine: Machine, value: Value, spec: Spec) -> tuple[Value, ...] | None:
    count = spec.slots
    if isinstance(value, Many):
        return _spread_many(machine, value, count)
    if isinstance(value, Const | Initial):
        return None
    if count is None or count == 1:
        return (value,)
    if (isinstance(value, Emitted) and value.slot is None) or isinstance(value, Incoming | Table):
        return tuple(part(machine, value, index) for index in range(count))
    return None


def _spread_many(machine: Machine, value: Many, count: int | None) -> tuple[Value, ...] | None:
    if value.open:
        return None
    items = value.items
    if len(items) == 1 and isinstance(items[0], Many | Emitted | Incoming) and count != 1:
        only = items[0]
        return _spread_many(machine, only, count) if isinstance(only, Many) else None
    if count is None or len(items) == count:
        return tuple(_single(item) for item in items)
    flat = tuple(inner for item in items for inner in (item.items if isinstance(item, Many) else (item,)))
    return tuple(_single(item) for item in flat) if len(flat) == count else None


def _single(value: Value) -> Value:
    return value.items[0] if isinstance(value, Many) and len(value.items) == 1 and not value.open else value


def touched(machine: Machine, value: Value) -> Value:
    """Give the value after dropout, a mask, a change of shape: a state is still the same layer's state."""
    if isinstance(value, Emitted):
        return Emitted(value.event, value.slot, True)
    if isinstance(value, Incoming | Initial):
        return value
    if isinstance(value, Choice):
        return choice(touched(machine, option) for option in value.options)
    return data_of(machine, value)


def is_state(value: Value) -> bool:
    """Tell whether the value is, or may be, a state and nothing else."""
    return all(isinstance(option, Emitted | Incoming | Initial) for option in options(value)) and any(
        isinstance(option, Emitted) for option in options(value)
    )


def mark_read(machine: Machine, value: Value) -> None:
    """Note that something looked at the states in the value."""
    if isinstance(value, Emitted):
        machine.facts.events[value.event].read = True
    elif isinstance(value, Many):
        for item in value.items:
            mark_read(machine, item)
    elif isinstance(value, Choice):
        for option in value.options:
            mark_read(machine, option)


def event_of(machine: Machine, value: Value) -> Event | None:
    """Give the event whose state the value is."""
    return machine.facts.events[value.event] if isinstance(value, Emitted) else None


def is_none(value: Value) -> bool | None:
    """Tell whether the value is None; None where that cannot be told."""
    told = {_none(option) for option in options(value)}
    return told.pop() if len(told) == 1 else None


def _none(value: Value) -> bool | None:
    if value == NONE:
        return True
    return None if isinstance(value, Data | Incoming) else False
