"""Expressions: the value of each, what a test shows about a name, and containers that are changed in place."""

import ast
from collections.abc import Callable
from typing import Any

from rnneval.lint import values as v
from rnneval.lint.machine import Machine

CHANGED = v.Data(frozenset({("changed",)}))  # a container that was changed in a way that is not followed


def _attribute(machine: Machine, node: ast.Attribute) -> v.Abstract:
    key = machine.attribute_name(node)
    if key is not None:
        owner = machine.frame.owner
        if owner and machine.env.get(key) is None and node.attr in owner.methods:
            return v.Method(v.OWN, node.attr)
        return machine.attribute(node.attr)
    owner_value, name = machine.value_of(node.value, quiet=True), node.attr
    match owner_value:
        case v.GlobalName():
            return v.GlobalName(f"{owner_value.name}.{name}")
        case v.LayerValue() if name in ("states", "state"):
            if events := machine.facts.by_layer[machine.frame.function, owner_value.key]:
                return v.Emitted(events[-1].number)
        case v.Incoming(sliced=False):
            return v.Incoming(owner_value.carrier, (*owner_value.path, f".{name}"))
    return v.Method(owner_value, name)


def _sequence(machine: Machine, node: ast.Tuple | ast.List) -> v.Abstract:
    items: list[v.Abstract] = []
    is_open = False
    for element in node.elts[: v.MOST_ITEMS + 1]:
        if isinstance(element, ast.Starred):
            inner = machine.value_of(element.value)
            if isinstance(inner, v.Many):
                items += inner.items
                is_open = is_open or inner.open
            else:
                items.append(inner if isinstance(inner, v.Incoming) else machine.facts.data_of(inner))
                is_open = True
        else:
            items.append(machine.value_of(element))
    return v.Many(tuple(items[: v.MOST_ITEMS]), is_open or len(node.elts) > v.MOST_ITEMS)


def _dict(machine: Machine, node: ast.Dict) -> v.Abstract:
    if None in node.keys:  # {**states, "low": state}
        return machine.blend(map(machine.value_of, node.values))
    pairs = zip(node.keys, node.values, strict=True)
    items = [(machine.index_value(key), machine.value_of(value)) for key, value in pairs if key is not None]
    return v.DictValue(tuple(items[-v.MOST_ITEMS :]))


def _subscript(machine: Machine, node: ast.Subscript) -> v.Abstract:
    container = machine.value_of(node.value)
    if isinstance(node.slice, ast.Slice):
        return _sliced(machine, container, node.slice)
    if isinstance(node.slice, ast.Tuple):
        return _picked(machine, container, node, node.slice.elts)
    key = machine.index_value(node.slice)
    place = node.lineno, node.col_offset
    if isinstance(container, v.Data | v.Initial) and key is None:
        # table[token]: what comes out descends from the token as well.
        index = machine.facts.data_of(machine.value_of(node.slice, quiet=True))
        return v.cut(v.blend((machine.facts.data_of(container), index)), place)
    if not isinstance(container, v.Data):
        return machine.facts.part(container, key)
    if key == -1 and container.whole_of is not None:
        return v.Data(v.traced(container.origins, ("cut", node.lineno)), container.passed, last_of=container.whole_of)
    return v.cut(container, place)


def _picked(machine: Machine, container: v.Abstract, node: ast.Subscript, elements: list[ast.expr]) -> v.Abstract:
    """Return `x[:, -1]` and the like: a place in a tensor."""
    for element in elements:
        machine.value_of(element)
    data = machine.facts.data_of(container)
    last = not isinstance(container, v.Incoming) and any(ast.unparse(element) == "-1" for element in elements)
    place = ("cut", node.lineno, node.col_offset)
    return v.Data(v.traced(data.origins, place), data.passed, last_of=data.whole_of if last else None)


def _sliced(machine: Machine, container: v.Abstract, node: ast.Slice) -> v.Abstract:
    low, high = (None if bound is None else machine.index_value(bound) for bound in (node.lower, node.upper))
    known = all(given is None or key is not None for given, key in ((node.lower, low), (node.upper, high)))
    if known and node.step is None and isinstance(low, int | None) and isinstance(high, int | None):
        return machine.facts.section(container, low, high)
    return container if isinstance(container, v.Emitted) else v.through(machine.facts.data_of(container))


def _binary(machine: Machine, node: ast.BinOp) -> v.Abstract:
    left, right = machine.value_of(node.left), machine.value_of(node.right)
    if isinstance(node.op, ast.Mult):
        for many, count in ((left, right), (right, left)):
            if isinstance(many, v.Many):
                return _repeated(machine, many, count)
    if isinstance(node.op, ast.Add) and isinstance(left, v.Many):
        if isinstance(right, v.Many):
            return v.Many((*left.items, *right.items)[: v.MOST_ITEMS], left.open or right.open)
        if isinstance(right, v.Incoming | v.Emitted):
            return v.Many((*left.items[: v.MOST_ITEMS], right), True)
    if isinstance(left, v.LoopIndex) and isinstance(right, v.Const) and isinstance(right.value, int):
        by = {ast.Add: right.value, ast.Sub: -right.value}.get(type(node.op))
        return v.LoopIndex(left.loop, left.turn, left.offset + by) if by is not None else v.NOTHING
    return v.blend((machine.facts.data_of(left), machine.facts.data_of(right)))


def _repeated(machine: Machine, many: v.Many, count: v.Abstract) -> v.Abstract:
    """Return `[item] * count`, and keep which layers stand in it several times."""
    for item in many.items:
        for option in v.alternatives(item):
            if isinstance(option, v.LayerValue):
                machine.facts.repeated.add(option.key)
    times = count.value if isinstance(count, v.Const) else None
    if isinstance(times, int) and 0 <= times * len(many.items) <= v.MOST_ITEMS:
        return v.Many(many.items * times, many.open, many.same or times > 1)
    return v.Many(many.items, True, True)


def _signed(machine: Machine, node: ast.UnaryOp) -> v.Abstract:
    value = machine.value_of(node.operand)
    if isinstance(node.op, ast.USub) and isinstance(value, v.Const) and isinstance(value.value, int):
        return v.Const(-value.value)
    return machine.blend([value])


def _walrus(machine: Machine, node: ast.NamedExpr) -> v.Abstract:
    value = machine.env[node.target.id] = machine.value_of(node.value)
    return value


def _tested(machine: Machine, node: ast.IfExp | ast.Compare) -> v.Abstract:
    """Evaluate a conditional expression, or a comparison: to look whether a state is a constant is no use of it."""
    if isinstance(node, ast.IfExp):
        machine.value_of(node.test, quiet=True)
        return v.choice([machine.value_of(node.body), machine.value_of(node.orelse)])
    machine.value_of(node.left, quiet=len(node.comparators) == 1 and isinstance(node.comparators[0], ast.Constant))
    machine.blend(map(machine.value_of, node.comparators))
    return v.NOTHING


# Containers that are changed in place


def update(machine: Machine, owner: ast.expr, container: v.Abstract, key: object, value: v.Abstract) -> None:
    """Carry out `owner[key] = value`."""
    machine.mark_read(value)
    note_change(machine, owner, container, value)
    rebind(machine, owner, _with_item(container, key, value))


def rebind(machine: Machine, owner: ast.expr, new: v.Abstract) -> None:
    """Let the name or attribute that held an object hold it as it is now."""
    if isinstance(owner, ast.Name):
        machine.env[owner.id] = new
    elif name := machine.attribute_name(owner):
        machine.env[name] = new
    elif isinstance(owner, ast.Subscript):
        # states[0][1] = …: the outer container is no longer what it was, and how is not followed.
        outer = machine.value_of(owner.value, quiet=True)
        if isinstance(outer, v.Many | v.DictValue | v.Incoming):
            rebind(machine, owner.value, machine.facts.data_of(outer))


def note_change(machine: Machine, owner: ast.expr, container: v.Abstract, value: v.Abstract) -> None:
    """Keep that a parameter's own object is changed: a default would remember it."""
    function = machine.frame.function
    if isinstance(owner, ast.Name) and not machine.frame.call and owner.id in function.parameters:
        base = container.base if isinstance(container, v.DictValue) else container
        if isinstance(base, v.Incoming) and base.carrier == owner.id:
            function.changed.setdefault(owner.id, []).append(value)


def _with_item(container: v.Abstract, key: object, value: v.Abstract) -> v.Abstract:
    match container:
        case v.Many():
            items, index = list(container.items), v.index_of(key)
            if isinstance(index, int) and not isinstance(index, bool) and -len(items) <= index < len(items):
                items[index] = value
                return v.Many(tuple(items), container.open)
            return v.Many((*items, value)[: v.MOST_ITEMS], True)
        case _ if key is None:
            return CHANGED
        case v.DictValue():
            kept = tuple((name, item) for name, item in container.items if name != key)
            return v.DictValue((*kept[-v.MOST_ITEMS :], (key, value)), container.base)
        case v.Incoming() | v.Emitted() | v.Initial():
            return v.DictValue(((key, value),), container)
    return v.join(container, value) if isinstance(container, v.Data) else container


EXPRESSIONS: dict[type[ast.expr], Callable[[Machine, Any], v.Abstract]] = {
    ast.Name: lambda machine, node: machine.lookup(node.id),
    ast.Constant: lambda _machine, node: v.Const(node.value) if isinstance(node.value, int | str | None) else v.NOTHING,
    ast.Attribute: _attribute,
    ast.Tuple: _sequence,
    ast.List: _sequence,
    ast.Dict: _dict,
    ast.Subscript: _subscript,
    ast.BinOp: _binary,
    ast.UnaryOp: _signed,
    ast.BoolOp: lambda machine, node: v.choice([machine.value_of(operand) for operand in node.values]),
    ast.IfExp: _tested,
    ast.NamedExpr: _walrus,
    ast.Await: lambda machine, node: machine.value_of(node.value),
    ast.Starred: lambda machine, node: machine.value_of(node.value),
    ast.Compare: _tested,
    ast.Lambda: lambda _machine, _node: v.NOTHING,
    ast.JoinedStr: lambda _machine, _node: v.NOTHING,
}
