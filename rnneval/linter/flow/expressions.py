"""Expressions: each is given the value it may have."""

import ast
from collections.abc import Callable
from typing import Any

from rnneval.linter.flow import calling, looping
from rnneval.linter.flow.env import Env
from rnneval.linter.flow.facts import Repeated
from rnneval.linter.flow.machine import Machine
from rnneval.linter.flow.narrowing import narrow
from rnneval.linter.flow.values import (
    MOST_ITEMS,
    MOST_WEIGHT,
    NOTHING,
    OVERFLOW,
    Const,
    Data,
    Emitted,
    Incoming,
    Initial,
    Known,
    Layer,
    Many,
    Method,
    Object,
    Step,
    Table,
    Value,
    blend,
    choice,
    options,
    traced,
)
from rnneval.linter.flow.views import cut, data_of, is_none, mark_read, part, through, touched

ELLIPSIS = "..."


def value_of(machine: Machine, node: ast.expr, quiet: bool = False) -> Value:
    """Evaluate an expression; quiet where looking at a state or a parameter does not count as a use of it."""
    machine.steps += 1
    handler = _HANDLERS.get(type(node))
    if handler is not None:
        value = handler(machine, node)
        if getattr(value, "weight", 1) > MOST_WEIGHT:
            value = Data(frozenset({OVERFLOW}))
        if not quiet and isinstance(node, ast.Name | ast.Attribute):
            _looked_at(machine, node, value)
        return value
    return _anything(machine, node)


def _looked_at(machine: Machine, node: ast.expr, value: Value) -> None:
    mark_read(machine, value)
    frame = machine.frame
    name = node.id if isinstance(node, ast.Name) else ""
    own = frame.depth == 0 and name in frame.function.parameters
    if own and any(isinstance(option, Incoming) and option.carrier == name for option in options(value)):
        frame.function.reads.add(name)


def _name(machine: Machine, node: ast.Name) -> Value:
    return machine.lookup(node.id)


def _constant(_machine: Machine, node: ast.Constant) -> Value:
    return Const(node.value) if isinstance(node.value, int | str | bool | None) else NOTHING


def _attribute(machine: Machine, node: ast.Attribute) -> Value:
    if isinstance(node.value, ast.Name) and node.value.id == machine.frame.self_name:
        owner = machine.frame.owner
        if owner and machine.env.get(f"self.{node.attr}") is None and machine.method(owner, node.attr):
            return Method(Object(owner, ("self",)), node.attr)
        return machine.attribute(node.attr)
    return attribute_of(machine, value_of(machine, node.value, quiet=True), node.attr)


def attribute_of(machine: Machine, held: Value, name: str) -> Value:
    """Give `held.name`."""
    if isinstance(held, Known):
        return Known(f"{held.name}.{name}")
    if isinstance(held, Layer) and name in ("states", "state") and held.key in machine.latest:
        event = machine.latest[held.key]
        if machine.facts.events[event].function == machine.frame.function.number:
            return Emitted(event)
    if isinstance(held, Incoming) and not held.sliced:
        return Incoming(held.carrier, (*held.path, f".{name}"))
    if isinstance(held, Object) and "." not in held.of:
        found = machine.inherited(held.of, name)
        if isinstance(found, Layer):
            return Layer((*found.key, held.key), found.spec)
    return Method(held, name)


def _call(machine: Machine, node: ast.Call) -> Value:
    return calling.call(machine, node)


def _sequence(machine: Machine, node: ast.Tuple | ast.List) -> Value:
    items: list[Value] = []
    is_open = False
    for element in node.elts[: MOST_ITEMS + 1]:
        if isinstance(element, ast.Starred):
            inner = value_of(machine, element.value)
            if isinstance(inner, Many):
                items += inner.items
                is_open = is_open or inner.open
            else:
                items.append(inner if isinstance(inner, Incoming) else data_of(machine, inner))
                is_open = True
        else:
            items.append(value_of(machine, element))
    return Many(tuple(items[:MOST_ITEMS]), is_open or len(node.elts) > MOST_ITEMS)


def _dict(machine: Machine, node: ast.Dict) -> Value:
    pairs = []
    for key, value in zip(node.keys, node.values, strict=True):
        held = value_of(machine, value)
        if key is not None:
            pairs.append((key_of(machine, key), held))
    return Table(tuple(pairs[-MOST_ITEMS:]))


def _subscript(machine: Machine, node: ast.Subscript) -> Value:
    held = value_of(machine, node.value)
    if isinstance(node.slice, ast.Slice):
        return _sliced(machine, held, node.slice)
    if isinstance(node.slice, ast.Tuple):
        for element in node.slice.elts:
            value_of(machine, element)
        return _picked(machine, held, node)
    key = key_of(machine, node.slice)
    if isinstance(held, Data | Initial) and key is None:
        # table[token]: what comes out descends from the token as well.
        index = data_of(machine, value_of(machine, node.slice, quiet=True))
        return cut(blend((data_of(machine, held), index)), (node.lineno, node.col_offset))
    return _step_of(held, key, node) if isinstance(held, Data) else part(machine, held, key)


def _step_of(held: Data, key: object, node: ast.Subscript) -> Value:
    """Give one step, or one item, of a tensor."""
    if key == -1 and held.whole_of is not None:
        return Data(traced(held.origins, ("cut", node.lineno)), held.passed, last_of=held.whole_of)
    return cut(held, (node.lineno, node.col_offset))


def _picked(machine: Machine, held: Value, node: ast.Subscript) -> Value:
    """Give `x[:, -1]` and the like: a place in a tensor."""
    data = data_of(machine, held)
    if isinstance(held, Emitted | Incoming) and not isinstance(held, Data):
        return touched(machine, held) if isinstance(held, Emitted) else data
    picks = [element for element in node.slice.elts if not isinstance(element, ast.Slice)]  # type: ignore[attr-defined]
    if not picks or all(isinstance(pick, ast.Constant) and pick.value in (None, ...) for pick in picks):
        return through(data)
    last = any(ast.unparse(pick) == "-1" for pick in picks)
    whole = data.whole_of if last else None
    return Data(traced(data.origins, ("cut", node.lineno, node.col_offset)), data.passed, last_of=whole)


def _sliced(machine: Machine, held: Value, node: ast.Slice) -> Value:
    low, high = (_bound(machine, bound) for bound in (node.lower, node.upper))
    if isinstance(held, Many) and not held.open and node.step is None and ELLIPSIS not in (low, high):
        return Many(held.items[low:high])  # type: ignore[index]
    if (
        isinstance(held, Many)
        and held.open
        and node.step is None
        and isinstance(low, int)
        and 0 < low < 8
        and high is None
    ):
        # layers[1:] of a list of unknown length: still distinct layers, counted from there.
        return Many((part(machine, held, low), part(machine, held, low + 1)), True)
    if isinstance(held, Incoming) and not held.sliced and node.step is None:
        if (isinstance(low, int) and low < 0) or low == ELLIPSIS:
            return Incoming(held.carrier, (*held.path, ("slice", ast.unparse(node))))
        stop = high if isinstance(high, int) and high >= 0 else None
        return Incoming(held.carrier, held.path, low or 0, stop, True)  # type: ignore[arg-type]
    if isinstance(held, Many | Table):
        return through(data_of(machine, held))
    return touched(machine, held) if isinstance(held, Emitted) else through(data_of(machine, held))


def _bound(machine: Machine, node: ast.expr | None) -> int | str | None:
    if node is None:
        return None
    key = key_of(machine, node)
    return key if isinstance(key, int) and not isinstance(key, bool) else ELLIPSIS


def key_of(machine: Machine, node: ast.expr) -> object:
    """Give the literal or running number that an index is; None where it cannot be told."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        inner = node.operand.value
        return -inner if isinstance(inner, int) else None
    value = value_of(machine, node)
    if isinstance(value, Const):
        return value.value
    return value if isinstance(value, Step) else None


def _binary(machine: Machine, node: ast.BinOp) -> Value:
    left, right = value_of(machine, node.left), value_of(machine, node.right)
    if isinstance(node.op, ast.Mult):
        for many, count in ((left, right), (right, left)):
            if isinstance(many, Many):
                return _repeated(machine, node, many, count)
    if isinstance(node.op, ast.Add) and isinstance(left, Many) and isinstance(right, Many):
        return Many((*left.items, *right.items)[:MOST_ITEMS], left.open or right.open)
    if isinstance(node.op, ast.Add) and isinstance(left, Many) and isinstance(right, Incoming | Emitted):
        return Many((*left.items[:MOST_ITEMS], right), True)
    if isinstance(left, Step) and isinstance(right, Const) and isinstance(right.value, int):
        by = {ast.Add: right.value, ast.Sub: -right.value}.get(type(node.op))
        return Step(left.loop, left.turn, left.offset + by) if by is not None else NOTHING
    return _arithmetic(machine, node, left, right)


def _arithmetic(machine: Machine, node: ast.BinOp, left: Value, right: Value) -> Value:
    """A mask times a state is still that state; a sum of two states is neither."""
    if isinstance(node.op, ast.Mult | ast.Div):
        for state, other in ((left, right), (right, left)):
            if isinstance(state, Emitted | Initial) and not isinstance(other, Emitted):
                return touched(machine, state)
    pieces = (data_of(machine, left), data_of(machine, right))
    mixed = blend(pieces)
    whole = next((piece.whole_of for piece in pieces if piece.whole_of is not None), None)
    if isinstance(node.op, ast.Add) and whole is not None and mixed.origins == pieces[0].origins | pieces[1].origins:
        return Data(mixed.origins, mixed.passed, whole_of=whole, grown=mixed.grown)
    return mixed


def _repeated(machine: Machine, node: ast.BinOp, many: Many, count: Value) -> Value:
    for item in many.items:
        for option in options(item):
            if isinstance(option, Layer) and not (isinstance(count, Const) and count.value == 1):
                machine.facts.repeated.append(Repeated(node, option.key, option.spec))
    if isinstance(count, Const) and isinstance(count.value, int) and 0 <= count.value * len(many.items) <= MOST_ITEMS:
        return Many(many.items * count.value, many.open)
    return Many(many.items * 2 if len(many.items) < MOST_ITEMS // 2 else many.items, True)


def _either(machine: Machine, node: ast.BoolOp) -> Value:
    """`states or (a, b)`: the first unless it is known to be nothing."""
    found: list[Value] = []
    for index, operand in enumerate(node.values):
        value = value_of(machine, operand)
        last = index == len(node.values) - 1
        keep = last or isinstance(node.op, ast.And)
        found += [option for option in options(value) if keep or is_none(option) is not True]
        if isinstance(node.op, ast.Or) and is_none(value) is False and not isinstance(value, Const):
            break
    return choice(found) if found else NOTHING


def _conditional(machine: Machine, node: ast.IfExp) -> Value:
    value_of(machine, node.test, quiet=True)
    found: list[Value] = []
    base = machine.env
    for known, branch in zip(narrow(machine, node.test), (node.body, node.orelse), strict=True):
        if known is not None:
            machine.env = Env(base)
            machine.env.names.update(known)
            found += options(value_of(machine, branch))
    machine.env = base
    return choice(found) if found else NOTHING


def _comprehension(machine: Machine, node: ast.ListComp | ast.GeneratorExp | ast.SetComp) -> Value:
    return looping.comprehend(machine, node.generators, node.elt)


def _dict_comprehension(machine: Machine, node: ast.DictComp) -> Value:
    looping.comprehend(machine, node.generators, node.value)
    return NOTHING


def _walrus(machine: Machine, node: ast.NamedExpr) -> Value:
    value = value_of(machine, node.value)
    machine.env.names[node.target.id] = value
    return value


def _inner(machine: Machine, node: ast.Await | ast.Starred | ast.YieldFrom) -> Value:
    return value_of(machine, node.value)


def _nothing(_machine: Machine, _node: ast.expr) -> Value:
    return NOTHING


def _anything(machine: Machine, node: ast.expr) -> Value:
    inner = [value_of(machine, child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    return through(blend(data_of(machine, value) for value in inner)) if inner else NOTHING


def _compare(machine: Machine, node: ast.Compare) -> Value:
    quiet = len(node.comparators) == 1 and isinstance(node.comparators[0], ast.Constant)
    value_of(machine, node.left, quiet=quiet)
    for other in node.comparators:
        value_of(machine, other)
    return NOTHING


_HANDLERS: dict[type[ast.expr], Callable[[Machine, Any], Value]] = {
    ast.Name: _name,
    ast.Constant: _constant,
    ast.Attribute: _attribute,
    ast.Call: _call,
    ast.Tuple: _sequence,
    ast.List: _sequence,
    ast.Dict: _dict,
    ast.Subscript: _subscript,
    ast.BinOp: _binary,
    ast.BoolOp: _either,
    ast.IfExp: _conditional,
    ast.ListComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.SetComp: _comprehension,
    ast.DictComp: _dict_comprehension,
    ast.NamedExpr: _walrus,
    ast.Await: _inner,
    ast.Starred: _inner,
    ast.Compare: _compare,
    ast.Lambda: _nothing,
    ast.JoinedStr: _nothing,
}
