"""Lists, dicts and parameters that are changed in place, under all the names that hold them."""

import ast

from rnneval.linter.flow import expressions
from rnneval.linter.flow.machine import Machine
from rnneval.linter.flow.values import (
    MOST_ITEMS,
    Choice,
    Data,
    Emitted,
    Incoming,
    Initial,
    Many,
    Step,
    Table,
    Value,
    choice,
    join,
)
from rnneval.linter.flow.views import data_of

UNKNOWN_KEY = "?"


def put(machine: Machine, owner: ast.expr, key: object, value: Value) -> None:
    """Carry out `owner[key] = value`."""
    held = expressions.value_of(machine, owner, quiet=True)
    _note(machine, owner, held, value)
    rebind(machine, owner, held, _with_item(held, key, value))


def append(machine: Machine, owner: ast.expr, held: Value, added: tuple[Value, ...]) -> None:
    """Carry out `owner.append(value)` and `owner.extend(values)`."""
    for value in added:
        _note(machine, owner, held, value)
    if isinstance(held, Many):
        items = (*held.items, *added)
        rebind(
            machine, owner, held, Many(items[:MOST_ITEMS], held.open or bool(machine.loops) or len(items) > MOST_ITEMS)
        )
    elif isinstance(held, Incoming):
        rebind(machine, owner, held, Data(frozenset({("changed", held.carrier)})))


def rebind(machine: Machine, owner: ast.expr, old: Value, new: Value) -> None:
    """Let every name that held the old object hold the new one."""
    machine.env.replace(old, new)
    if isinstance(owner, ast.Name):
        machine.env.names[owner.id] = new
    elif isinstance(owner, ast.Attribute) and isinstance(owner.value, ast.Name):
        if owner.value.id == machine.frame.self_name:
            machine.env.names[f"self.{owner.attr}"] = new
    elif isinstance(owner, ast.Subscript):
        # states[0][1] = …: the outer container is no longer what it was, and how is not followed.
        outer = expressions.value_of(machine, owner.value, quiet=True)
        if isinstance(outer, Many | Table | Incoming):
            rebind(machine, owner.value, outer, data_of(machine, outer))


def _note(machine: Machine, owner: ast.expr, held: Value, value: Value) -> None:
    """Keep that a parameter's own object is changed: a default would remember it."""
    if isinstance(owner, ast.Name) and machine.frame.depth == 0 and owner.id in machine.frame.function.parameters:
        base = held.base if isinstance(held, Table) else held
        if isinstance(base, Incoming) and base.carrier == owner.id:
            machine.frame.function.changed.setdefault(owner.id, []).append((owner, value))


def _with_item(held: Value, key: object, value: Value) -> Value:
    if isinstance(held, Choice):
        return choice(_with_item(option, key, value) for option in held.options)
    if isinstance(held, Many):
        return _in_list(held, key, value)
    if key is None or key == UNKNOWN_KEY:
        return Data(frozenset({("changed", UNKNOWN_KEY)}))
    if isinstance(held, Table):
        kept = tuple((name, item) for name, item in held.items if name != key)
        return Table((*kept[-MOST_ITEMS:], (key, value)), held.base)
    if isinstance(held, Incoming | Emitted | Initial):
        return Table(((key, value),), held)
    return join(held, value) if isinstance(held, Data) else held


def _in_list(held: Many, key: object, value: Value) -> Many:
    index = key.turn + key.offset if isinstance(key, Step) else key
    if isinstance(index, int) and not isinstance(index, bool) and -len(held.items) <= index < len(held.items):
        items = list(held.items)
        items[index] = value
        return Many(tuple(items), held.open)
    return Many((*held.items, value)[:MOST_ITEMS], True)
