"""Assignments: names, attributes, items and tuples on the left side, and containers that are changed in place."""

import ast
from collections.abc import Iterable

from rnneval.linter.flow.facts import Unpacking
from rnneval.linter.flow.machine import Machine
from rnneval.linter.flow.values import (
    MOST_ITEMS,
    Choice,
    Data,
    Emitted,
    Incoming,
    Initial,
    Many,
    Table,
    Value,
    choice,
    index_of,
    join,
    through,
)

UNKNOWN_KEY = "?"


def assign(machine: Machine, target: ast.expr, value: Value) -> None:
    """Bind a target to a value."""
    match target:
        case ast.Name():
            machine.env.names[target.id] = value
            function = machine.frame.function
            if machine.frame.depth == 0 and target.id in function.parameters:
                function.overwritten.setdefault(target.id, []).append(value)
        case ast.Attribute():
            machine.mark_read(value)
            name = machine.attribute_name(target)
            if name is not None:
                machine.env.names[name] = value
            else:
                machine.value_of(target.value)
        case ast.Subscript():
            machine.mark_read(value)
            _put(machine, target.value, machine.index_value(target.slice), value)
        case ast.Starred():
            assign(machine, target.value, value)
        case ast.Tuple() | ast.List():
            _note_unpacking(machine, target, value, nested=False)
            for inner, item in zip(target.elts, _unpacked(machine, value, target.elts), strict=True):
                if isinstance(inner, ast.Tuple | ast.List):
                    _note_unpacking(machine, inner, item, nested=True)
                assign(machine, inner, item)


def _note_unpacking(machine: Machine, target: ast.Tuple | ast.List, value: Value, *, nested: bool) -> None:
    """Keep the number of names that a layer's own result is unpacked into."""
    made, event = machine.results.get(id(value), (None, 0))
    if made is value:
        starred = any(isinstance(inner, ast.Starred) for inner in target.elts)
        machine.facts.unpackings.append(Unpacking(target, len(target.elts), starred, event, nested))


def _unpacked(machine: Machine, value: Value, targets: list[ast.expr]) -> list[Value]:
    """Return the part of each target, where one starred target takes the rest."""
    count = len(targets)
    star = next((index for index, target in enumerate(targets) if isinstance(target, ast.Starred)), None)
    match value:
        case Choice():
            ways = [_unpacked(machine, option, targets) for option in value.options]
            parts = [choice(way[index] for way in ways) for index in range(count)]
        case Many(open=False) if star is not None and len(value.items) >= count - 1:
            end = len(value.items) - (count - star - 1)
            parts = [*value.items[:star], Many(value.items[star:end]), *value.items[end:]]
        case Many(open=False) if len(value.items) == count and star is None:
            parts = [*value.items]
        case Initial() if star is None:
            parts = [Initial(value.layer, index if value.slot is None else value.slot) for index in range(count)]
        case Incoming() | Emitted() | Many() | Table() if star is None:
            parts = [machine.part(value, index) for index in range(count)]
        case Incoming(sliced=False) if star == count - 1:
            rest = Incoming(value.carrier, value.path, star, None, True)
            parts = [*(machine.part(value, index) for index in range(star)), rest]
        case _:
            parts = [through(machine.data_of(value)) for _ in targets]
    return parts


def _put(machine: Machine, owner: ast.expr, key: object, value: Value) -> None:
    """Carry out `owner[key] = value`."""
    held = machine.value_of(owner, quiet=True)
    _note_change(machine, owner, held, value)
    rebind(machine, owner, held, _with_item(held, key, value))


def update(machine: Machine, owner: ast.expr, held: Value, pairs: Iterable[tuple[object, Value]]) -> None:
    """Carry out `owner.update(pairs)`."""
    changed = held
    for key, value in pairs:
        machine.mark_read(value)
        _note_change(machine, owner, held, value)
        changed = _with_item(changed, key, value)
    rebind(machine, owner, held, changed)


def insert(machine: Machine, owner: ast.expr, held: Value, at: int | None, added: tuple[Value, ...]) -> None:
    """Carry out `owner.insert(at, value)`; at the end, as `append` and `extend` do, if `at` is None."""
    for value in added:
        _note_change(machine, owner, held, value)
    if isinstance(held, Many):
        at = len(held.items) if at is None else at
        items = (*held.items[:at], *added, *held.items[at:])
        more = held.open or bool(machine.loops) or len(items) > MOST_ITEMS
        rebind(machine, owner, held, Many(items[:MOST_ITEMS], more))
    elif isinstance(held, Incoming):
        rebind(machine, owner, held, Data(frozenset({("changed", held.carrier)})))


def take(machine: Machine, owner: ast.expr, held: Value, key: object) -> None:
    """Carry out `owner.pop(key)`: the rest stays."""
    rest: Value = Data(frozenset({("changed", UNKNOWN_KEY)}))
    match held:
        case Many(open=False) if isinstance(key, int) and -len(held.items) <= key < len(held.items):
            at = key % len(held.items)
            rest = Many((*held.items[:at], *held.items[at + 1 :]))
        case Many(open=True) if key in (0, -1):
            few = len(held.items) < 2
            rest = held if few else Many(held.items[1:] if key == 0 else held.items[:-1], True)
        case Incoming() if key == 0:
            rest = Incoming(held.carrier, held.path, held.start + 1, held.stop, True)
        case Incoming() if key == -1:
            rest = Incoming(held.carrier, held.path, held.start, (held.stop or 0) - 1, True)
        case Table() | Incoming() if isinstance(key, str):
            rest = held
    rebind(machine, owner, held, rest)


def rebind(machine: Machine, owner: ast.expr, old: Value, new: Value) -> None:
    """Let every name that held the old object hold the new one."""
    machine.env.replace(old, new)
    if isinstance(owner, ast.Name):
        machine.env.names[owner.id] = new
    elif isinstance(owner, ast.Attribute):
        name = machine.attribute_name(owner)
        if name is not None:
            machine.env.names[name] = new
    elif isinstance(owner, ast.Subscript):
        # states[0][1] = …: the outer container is no longer what it was, and how is not followed.
        outer = machine.value_of(owner.value, quiet=True)
        if isinstance(outer, Many | Table | Incoming):
            rebind(machine, owner.value, outer, machine.data_of(outer))


def _note_change(machine: Machine, owner: ast.expr, held: Value, value: Value) -> None:
    """Keep that a parameter's own object is changed: a default would remember it."""
    function = machine.frame.function
    if isinstance(owner, ast.Name) and machine.frame.depth == 0 and owner.id in function.parameters:
        base = held.base if isinstance(held, Table) else held
        if isinstance(base, Incoming) and base.carrier == owner.id:
            function.changed.setdefault(owner.id, []).append(value)


def _with_item(held: Value, key: object, value: Value) -> Value:
    """Return a container after one of its items was replaced."""
    match held:
        case Choice():
            changed = choice(_with_item(option, key, value) for option in held.options)
        case Many():
            items, index = list(held.items), index_of(key)
            if isinstance(index, int) and not isinstance(index, bool) and -len(items) <= index < len(items):
                items[index] = value
                changed = Many(tuple(items), held.open)
            else:
                changed = Many((*items, value)[:MOST_ITEMS], True)
        case _ if key is None or key == UNKNOWN_KEY:
            changed = Data(frozenset({("changed", UNKNOWN_KEY)}))
        case Table():
            kept = tuple((name, item) for name, item in held.items if name != key)
            changed = Table((*kept[-MOST_ITEMS:], (key, value)), held.base)
        case Incoming() | Emitted() | Initial():
            changed = Table(((key, value),), held)
        case _:
            changed = join(held, value) if isinstance(held, Data) else held
    return changed


def target_names(target: ast.expr) -> tuple[str, ...]:
    """Return the names that a tuple of targets binds, "" for what is not a name."""
    if not isinstance(target, ast.Tuple | ast.List):
        return ()
    plain = (inner.value if isinstance(inner, ast.Starred) else inner for inner in target.elts)
    return tuple(inner.id if isinstance(inner, ast.Name) else "" for inner in plain)
