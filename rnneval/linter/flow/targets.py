"""The left side of assignments: names, attributes, items, and tuples of them."""

import ast

from rnneval.linter.flow import expressions
from rnneval.linter.flow.facts import Unpacking
from rnneval.linter.flow.machine import Machine
from rnneval.linter.flow.mutation import put
from rnneval.linter.flow.values import Choice, Emitted, Incoming, Initial, Many, Value, choice
from rnneval.linter.flow.views import data_of, mark_read, part, through


def assign(machine: Machine, target: ast.expr, value: Value, source: ast.expr) -> None:
    """Bind a target to a value."""
    if isinstance(target, ast.Name):
        machine.env.names[target.id] = value
        if machine.frame.depth == 0 and target.id in machine.frame.function.parameters:
            machine.frame.function.overwritten.setdefault(target.id, []).append(value)
    elif isinstance(target, ast.Attribute):
        _to_attribute(machine, target, value)
    elif isinstance(target, ast.Subscript):
        mark_read(machine, value)
        put(machine, target.value, expressions.key_of(machine, target.slice), value)
    elif isinstance(target, ast.Starred):
        assign(machine, target.value, value, source)
    elif isinstance(target, ast.Tuple | ast.List):
        _note(machine, target, value, nested=False)
        for inner, item in zip(target.elts, spread(machine, value, target.elts), strict=True):
            if isinstance(inner, ast.Tuple | ast.List):
                _note(machine, inner, item, nested=True)
            assign(machine, inner, item, source)


def _to_attribute(machine: Machine, target: ast.Attribute, value: Value) -> None:
    mark_read(machine, value)
    if isinstance(target.value, ast.Name) and target.value.id == machine.frame.self_name:
        machine.env.names[f"self.{target.attr}"] = value
    else:
        expressions.value_of(machine, target.value)


def spread(machine: Machine, value: Value, targets: list[ast.expr]) -> list[Value]:
    """Give each target its part, with one starred target taking the rest."""
    star = next((index for index, target in enumerate(targets) if isinstance(target, ast.Starred)), None)
    if isinstance(value, Choice):
        ways = [spread(machine, option, targets) for option in value.options]
        return [choice(way[index] for way in ways) for index in range(len(targets))]
    if isinstance(value, Many) and not value.open:
        items = list(value.items)
        if star is None and len(items) == len(targets):
            return items
        if star is not None and len(items) >= len(targets) - 1:
            after = len(targets) - star - 1
            middle = Many(tuple(items[star : len(items) - after]))
            return [*items[:star], middle, *items[len(items) - after :]]
    if star is None and isinstance(value, Incoming | Initial | Emitted | Many):
        return [_numbered(machine, value, index) for index in range(len(targets))]
    if star == len(targets) - 1 and isinstance(value, Incoming) and not value.sliced:
        rest = Incoming(value.carrier, value.path, star, None, True)
        return [*(part(machine, value, index) for index in range(star)), rest]
    return [through(data_of(machine, value)) for _ in targets]


def _numbered(machine: Machine, value: Value, index: int) -> Value:
    if isinstance(value, Initial):
        return Initial(value.layer, index if value.slot is None else value.slot)
    return part(machine, value, index)


def _note(machine: Machine, target: ast.Tuple | ast.List, value: Value, nested: bool) -> None:
    """Keep what a layer's own result is spread over, for the rule about numbers of names."""
    event = _result_of(machine, value)
    if event is not None:
        starred = any(isinstance(inner, ast.Starred) for inner in target.elts)
        machine.facts.unpackings.append(Unpacking(target, len(target.elts), starred, event, nested))


def _result_of(machine: Machine, value: Value) -> int | None:
    made = machine.results.get(id(value))
    return made.event if made is not None and made.value is value else None


def target_names(target: ast.expr) -> tuple[str, ...]:
    """Give the names that a tuple of targets binds, '' for what is not a name."""
    if not isinstance(target, ast.Tuple | ast.List):
        return ()
    return tuple(_plain(inner) for inner in target.elts)


def _plain(node: ast.expr) -> str:
    inner = node.value if isinstance(node, ast.Starred) else node
    return inner.id if isinstance(inner, ast.Name) else ""
