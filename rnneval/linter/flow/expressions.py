"""Expressions: the value of each, what a test shows about a name, and what assignments and loops do.

A loop is run in two passes, or in one for each item of a known tuple of layers. A *turn* is the number of a pass, from
0. Calls are in `rnneval.linter.flow.calls`.
"""

import ast
from collections.abc import Callable, Iterable
from typing import Any

from rnneval.linter.flow.facts import Unpacking
from rnneval.linter.flow.machine import Env, Machine
from rnneval.linter.flow.values import (
    MOST_ITEMS,
    NONE,
    NOTHING,
    Choice,
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
    alternatives,
    blend,
    choice,
    cut,
    index_of,
    is_none,
    join,
    through,
    traced,
)

MOST_TURNS = 6
"""Passes that are run of a loop over layers."""
MOST_LOOPS_DEEP = 2
"""Loops within each other that are run twice; those inside of them are run once."""
_FOLLOWED = ("enumerate", "zip", "reversed", "range", "tqdm", "items", "values")
UNKNOWN_KEY = "?"
UNKNOWN_BOUND = "..."
Names = dict[str, Value] | None
"""Names with what they hold; None if the branch cannot be taken."""


def _attribute(machine: Machine, node: ast.Attribute) -> Value:
    key = machine.attribute_name(node)
    if key is not None:
        owner = machine.frame.owner
        if owner and machine.env.get(key) is None and machine.method(owner, node.attr):
            return Method(Object(owner, ("self",)), node.attr)
        return machine.attribute(node.attr)
    held, name = machine.value_of(node.value, quiet=True), node.attr
    found: Value | None = None
    match held:
        case Known():
            found = Known(f"{held.name}.{name}")
        case Layer() if name in ("states", "state") and held.key in machine.latest:
            event = machine.latest[held.key]
            if machine.facts.events[event].function == machine.frame.function.number:
                found = Emitted(event)
        case Incoming(sliced=False):
            found = Incoming(held.carrier, (*held.path, f".{name}"))
        case Table():
            found = held.get(f".{name}")
        case Object() if "." not in held.of:
            layer = machine.inherited(held.of, name)
            if isinstance(layer, Layer):
                found = Layer((*layer.key, held.key), layer.spec)
    return Method(held, name) if found is None else found


def _sequence(machine: Machine, node: ast.Tuple | ast.List) -> Value:
    items: list[Value] = []
    is_open = False
    for element in node.elts[: MOST_ITEMS + 1]:
        if isinstance(element, ast.Starred):
            inner = machine.value_of(element.value)
            if isinstance(inner, Many):
                items += inner.items
                is_open = is_open or inner.open
            else:
                items.append(inner if isinstance(inner, Incoming) else machine.data_of(inner))
                is_open = True
        else:
            items.append(machine.value_of(element))
    return Many(tuple(items[:MOST_ITEMS]), is_open or len(node.elts) > MOST_ITEMS)


def _dict(machine: Machine, node: ast.Dict) -> Value:
    pairs: list[tuple[object, Value]] = []
    base: Value | None = None
    for key, value in zip(node.keys, node.values, strict=True):
        held = machine.value_of(value)
        if key is not None:
            pairs.append((machine.index_value(key), held))
        elif isinstance(held, Table):  # {**states, "low": state}
            pairs += held.items
            base = held.base if base is None else base
        elif isinstance(held, Incoming):
            base, pairs = held, []
    return Table(tuple(pairs[-MOST_ITEMS:]), base)


def _subscript(machine: Machine, node: ast.Subscript) -> Value:
    held = machine.value_of(node.value)
    if isinstance(node.slice, ast.Slice):
        return _sliced(machine, held, node.slice)
    if isinstance(node.slice, ast.Tuple):
        return _picked(machine, held, node, node.slice.elts)
    key = machine.index_value(node.slice)
    place = node.lineno, node.col_offset
    if isinstance(held, Data | Initial) and key is None:
        # table[token]: what comes out descends from the token as well.
        index = machine.data_of(machine.value_of(node.slice, quiet=True))
        return cut(blend((machine.data_of(held), index)), place)
    if not isinstance(held, Data):
        return machine.part(held, key)
    if key == -1 and held.whole_of is not None:
        return Data(traced(held.origins, ("cut", node.lineno)), held.passed, last_of=held.whole_of)
    return cut(held, place)


def _picked(machine: Machine, held: Value, node: ast.Subscript, elements: list[ast.expr]) -> Value:
    """Return `x[:, -1]` and the like: a place in a tensor."""
    for element in elements:
        machine.value_of(element)
    data = machine.data_of(held)
    if isinstance(held, Emitted | Incoming):
        return machine.touched(held) if isinstance(held, Emitted) else data
    picks = [element for element in elements if not isinstance(element, ast.Slice)]
    if all(isinstance(pick, ast.Constant) and pick.value in (None, ...) for pick in picks):
        return through(data)
    last = any(ast.unparse(pick) == "-1" for pick in picks)
    whole = data.whole_of if last else None
    return Data(traced(data.origins, ("cut", node.lineno, node.col_offset)), data.passed, last_of=whole)


def _sliced(machine: Machine, held: Value, node: ast.Slice) -> Value:
    """Return `x[low:high]`."""
    low, high = (_bound(machine, bound) for bound in (node.lower, node.upper))
    if isinstance(held, Many) and node.step is not None and ast.unparse(node) == "::-1":
        return Many(held.items[::-1], held.open)
    if isinstance(held, Many) and node.step is None:
        if not held.open and not isinstance(low, str) and not isinstance(high, str):
            return Many(held.items[low:high])
        if held.open and isinstance(low, int) and 0 < low < 8 and high is None:
            # layers[1:] of a list of unknown length: still distinct layers, counted from there.
            return Many((machine.part(held, low), machine.part(held, low + 1)), True)
    if isinstance(held, Incoming) and not held.sliced and node.step is None:
        if isinstance(low, str) or (low or 0) < 0:
            return Incoming(held.carrier, (*held.path, ("slice", ast.unparse(node))))
        stop = high if isinstance(high, int) and high >= 0 else None
        return Incoming(held.carrier, held.path, low or 0, stop, True)
    return machine.touched(held) if isinstance(held, Emitted) else through(machine.data_of(held))


def _bound(machine: Machine, node: ast.expr | None) -> int | str | None:
    if node is None:
        return None
    key = machine.index_value(node)
    return key if isinstance(key, int) and not isinstance(key, bool) else UNKNOWN_BOUND


def _binary(machine: Machine, node: ast.BinOp) -> Value:
    left, right = machine.value_of(node.left), machine.value_of(node.right)
    if isinstance(node.op, ast.Mult):
        for many, count in ((left, right), (right, left)):
            if isinstance(many, Many):
                return _repeated(machine, many, count)
    if isinstance(node.op, ast.Add) and isinstance(left, Many) and isinstance(right, Many):
        return Many((*left.items, *right.items)[:MOST_ITEMS], left.open or right.open)
    if isinstance(node.op, ast.Add) and isinstance(left, Many) and isinstance(right, Incoming | Emitted):
        return Many((*left.items[:MOST_ITEMS], right), True)
    if isinstance(left, Step) and isinstance(right, Const) and isinstance(right.value, int):
        by = {ast.Add: right.value, ast.Sub: -right.value}.get(type(node.op))
        return Step(left.loop, left.turn, left.offset + by) if by is not None else NOTHING
    return _arithmetic(machine, node, left, right)


def _arithmetic(machine: Machine, node: ast.BinOp, left: Value, right: Value) -> Value:
    """Compute with tensors: a mask times a state is still that state; a sum of two states is neither."""
    if isinstance(node.op, ast.Mult | ast.Div):
        for state, other in ((left, right), (right, left)):
            if isinstance(state, Emitted | Initial) and not isinstance(other, Emitted):
                return machine.touched(state)
    pieces = (machine.data_of(left), machine.data_of(right))
    mixed = blend(pieces)
    whole = next((piece.whole_of for piece in pieces if piece.whole_of is not None), None)
    if isinstance(node.op, ast.Add) and whole is not None and mixed.origins == pieces[0].origins | pieces[1].origins:
        return Data(mixed.origins, mixed.passed, whole_of=whole, grown=mixed.grown)
    return mixed


def _repeated(machine: Machine, many: Many, count: Value) -> Value:
    """Return `[item] * count`, and keep which layers stand in it several times."""
    for item in many.items:
        for option in alternatives(item):
            if isinstance(option, Layer) and count != Const(1):
                machine.facts.repeated.add(option.key)
    if isinstance(count, Const) and isinstance(count.value, int) and 0 <= count.value * len(many.items) <= MOST_ITEMS:
        return Many(many.items * count.value, many.open, many.same or count.value > 1)
    return Many(many.items * 2 if len(many.items) < MOST_ITEMS // 2 else many.items, True, True)


def _signed(machine: Machine, node: ast.UnaryOp) -> Value:
    value = machine.value_of(node.operand)
    if isinstance(node.op, ast.USub) and isinstance(value, Const) and isinstance(value.value, int):
        return Const(-value.value)
    return machine.blend([value])


def _either(machine: Machine, node: ast.BoolOp) -> Value:
    """Return `states or (a, b)`: the first unless it is known to be nothing."""
    found: list[Value] = []
    for index, operand in enumerate(node.values):
        value = machine.value_of(operand)
        keep = index == len(node.values) - 1 or isinstance(node.op, ast.And)
        found += [option for option in alternatives(value) if keep or is_none(option) is not True]
        if isinstance(node.op, ast.Or) and is_none(value) is False and not isinstance(value, Const):
            break
    return choice(found) if found else NOTHING


def _conditional(machine: Machine, node: ast.IfExp) -> Value:
    machine.value_of(node.test, quiet=True)
    found: list[Value] = []
    base = machine.env
    for known, branch in zip(narrow(machine, node.test), (node.body, node.orelse), strict=True):
        if known is not None:
            machine.env = Env(base)
            machine.env.names.update(known)
            found += alternatives(machine.value_of(branch))
    machine.env = base
    return choice(found) if found else NOTHING


def _walrus(machine: Machine, node: ast.NamedExpr) -> Value:
    value = machine.value_of(node.value)
    machine.env.names[node.target.id] = value
    return value


def _compare(machine: Machine, node: ast.Compare) -> Value:
    quiet = len(node.comparators) == 1 and isinstance(node.comparators[0], ast.Constant)
    machine.value_of(node.left, quiet=quiet)
    for other in node.comparators:
        machine.value_of(other)
    return NOTHING


def narrow(machine: Machine, test: ast.expr) -> tuple[Names, Names]:
    """Return what is known of names when a test holds, and when it does not: in `if states is None`, it is None."""
    match test:
        case ast.UnaryOp(op=ast.Not()):
            when_true, when_false = narrow(machine, test.operand)
            return when_false, when_true
        case ast.Compare(
            ops=[ast.Is() | ast.Eq() | ast.IsNot() | ast.NotEq() as op], comparators=[ast.Constant(value=None)]
        ):
            when_none, when_some = _about_none(machine, test.left)
            return (when_none, when_some) if isinstance(op, ast.Is | ast.Eq) else (when_some, when_none)
        case ast.BoolOp():
            together: dict[str, Value] = {}
            is_and = isinstance(test.op, ast.And)
            for value in test.values:
                known = narrow(machine, value)[0 if is_and else 1]
                if known is None:
                    return (None, {}) if is_and else ({}, None)
                together |= known
            return (together, {}) if is_and else ({}, together)
        case ast.Constant():
            return ({}, None) if test.value else (None, {})
        case _:
            # Falsy is not None only: an empty list may come in too, but then there is nothing to carry either.
            when_none, when_some = _about_none(machine, test)
            return when_some, (when_none if when_none is not None else {})


def _about_none(machine: Machine, node: ast.expr) -> tuple[Names, Names]:
    """Return what is known where a name is None, and where it is not."""
    if isinstance(node, ast.Name):
        name, held = node.id, machine.lookup(node.id)
    elif isinstance(node, ast.Attribute) and (key := machine.attribute_name(node)):
        name, held = key, machine.attribute(node.attr)
    else:
        return {}, {}
    none = is_none(held)
    if none is not None:
        return ({}, None) if none else (None, {})
    rest = [option for option in alternatives(held) if option != NONE]
    some = {name: rest[0]} if len(rest) == 1 and len(alternatives(held)) > 1 else {}
    return {name: NONE}, some


# Assignments: what is on the left side, and containers that are changed in place


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
            key = machine.index_value(target.slice)
            update(machine, target.value, machine.value_of(target.value, quiet=True), [(key, value)])
        case ast.Starred():
            assign(machine, target.value, value)
        case ast.Tuple() | ast.List():
            _note_unpacking(machine, target, value, nested=False)
            for inner, item in zip(target.elts, _unpacked(machine, value, target.elts), strict=True):
                if isinstance(inner, ast.Tuple | ast.List):
                    _note_unpacking(machine, inner, item, nested=True)
                assign(machine, inner, item)


def _note_unpacking(machine: Machine, target: ast.Tuple | ast.List, value: Value, *, nested: bool) -> None:
    """Keep the names that a layer's own result is unpacked into."""
    made, event = machine.results.get(id(value), (None, 0))
    if made is value:
        machine.facts.unpackings.append(Unpacking(target, event, nested))


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


def update(machine: Machine, owner: ast.expr, held: Value, pairs: Iterable[tuple[object, Value]]) -> None:
    """Carry out `owner[key] = value` for each pair."""
    changed = held
    for key, value in pairs:
        machine.mark_read(value)
        note_change(machine, owner, held, value)
        changed = _with_item(changed, key, value)
    rebind(machine, owner, held, changed)


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


def note_change(machine: Machine, owner: ast.expr, held: Value, value: Value) -> None:
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


# Loops and comprehensions


class Elements:
    """The iterable of a loop: an element for each pass."""

    def __init__(self, machine: Machine, node: ast.expr) -> None:
        self.machine, self.node = machine, node
        self.role: str | None = None
        """The function or method that makes the iterable, if it is one that is followed."""
        self.inner: list[Elements] = []
        self.value: Value = NOTHING
        arguments: list[ast.expr] = []
        if isinstance(node, ast.Call):
            arguments = node.args
            method = node.func.attr if isinstance(node.func, ast.Attribute) and not arguments else ""
            if method not in ("items", "values"):
                function = machine.value_of(node.func, quiet=True)
                method = function.name.rpartition(".")[2] if isinstance(function, Known | Method) else ""
            self.role = method if method in _FOLLOWED else None
        if self.role in ("enumerate", "zip", "reversed"):
            plain = (argument for argument in arguments if not isinstance(argument, ast.Starred))
            self.inner = [Elements(machine, argument) for argument in plain]
        match self.role, node:
            case _ if self.inner:
                pass
            case "range", _:
                bounds = [machine.value_of(argument) for argument in arguments]
                first = bounds[0] if len(bounds) > 1 else Const(0)
                known = len(bounds) < 3 and isinstance(first, Const) and isinstance(first.value, int)
                self.value = first if known else NOTHING
            case "tqdm", _ if arguments:
                self.value = machine.value_of(arguments[0])
            case "items" | "values", ast.Call(func=ast.Attribute() as func):
                self.value = machine.value_of(func.value)
            case _:
                self.value = machine.value_of(node)
        many = self.value if isinstance(self.value, Many) else Many()
        self.open: bool = any(inner.open for inner in self.inner) or many.open
        """Whether there may be more elements than are known."""
        self.layers: int = max((inner.layers for inner in self.inner), default=0)
        """Number of passes that a known tuple of layers asks for; 0 if none is known."""
        if any(isinstance(option, Layer) for item in many.items for option in alternatives(item)):
            self.layers = len(many.items) + (1 if many.open and len(many.items) < 2 else 0)

    def at(self, running: Step) -> Value:
        """Return the element of one pass."""
        element: Value
        match self.role, self.inner, self.value:
            case "enumerate", [inner, *_], _:
                element = Many((running, inner.at(running)))
            case "zip", [_, *_], _:
                element = Many(tuple(inner.at(running) for inner in self.inner))
            case "reversed", [inner, *_], _:
                element = inner.from_the_end(running)
            case "range", _, Const(int() as start):
                element = Step(running.loop, running.turn, start)
            case "range", _, _:
                element = NOTHING
            case "items" | "values", _, Table(items) if running.turn < len(items):
                name, value = items[running.turn]
                element = Many((Const(name), value)) if self.role == "items" else value
            case "items" | "values", _, held:
                element = cut(self.machine.data_of(held), ("item", self.node.lineno, running.turn))
            case _:
                element = self._plain(running)
        return element

    def from_the_end(self, running: Step) -> Value:
        """Return the element of one pass of `reversed`."""
        options, turn = alternatives(self.value), running.turn
        for option in options:
            known = isinstance(option, Many) and not option.open and turn < len(option.items)
            if not known and not isinstance(option, Incoming):
                return self._plain(running)
        return choice(self.machine.part(option, -1 - turn) for option in options)

    def _plain(self, running: Step) -> Value:
        if isinstance(self.value, Many | Incoming | Table):
            return self.machine.part(self.value, running)
        options = alternatives(self.value)
        if any(isinstance(option, Many | Incoming) for option in options):
            return choice(self.machine.part(option, running) for option in options)
        data = self.machine.data_of(self.value)
        return Data(traced(data.origins, ("item", self.node.lineno, running.turn)), data.passed)


def loop(machine: Machine, layers: int, one_pass: Callable[[Step], None]) -> None:
    """Run the passes of a loop: two, or one for each of so many layers, which are places in a stack."""
    machine.loop_count += 1
    number, outer, base = machine.loop_count, machine.loops, machine.env
    deep = len(outer) >= MOST_LOOPS_DEEP or machine.out_of_budget()
    for turn in range(1 if deep and not layers else min(layers, MOST_TURNS) or 2):
        machine.loops = (*outer, (number, turn, bool(layers)))
        machine.env = start = Env(base)
        machine.loop_envs.append(base)
        machine.loop_exits.append([])
        one_pass(Step(number, turn))
        exits = machine.loop_exits.pop()
        machine.loop_envs.pop()
        machine.env = base
        base.meet([start, *exits])
        if base.dead:
            # Every way out of the pass leaves the function or the loop: what follows is still reached by other passes.
            base.dead = False
            break
    machine.loops = outer


def _comprehension(machine: Machine, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> Value:
    """Run a comprehension: return a list of what its passes give."""
    items: list[Value] = []
    is_open = True

    def level(generator: ast.comprehension, *inner: ast.comprehension) -> None:
        nonlocal is_open
        elements = Elements(machine, generator.iter)
        if generator is node.generators[0]:
            is_open = not elements.layers or elements.open or bool(generator.ifs)

        def one_pass(running: Step) -> None:
            assign(machine, generator.target, elements.at(running))
            for test in generator.ifs:
                machine.value_of(test, quiet=True)
            if inner:
                level(*inner)
            else:
                items.append(machine.value_of(node.value if isinstance(node, ast.DictComp) else node.elt))

        loop(machine, elements.layers, one_pass)

    base = machine.env
    machine.env = Env(base)
    level(*node.generators)
    machine.env = base
    return NOTHING if isinstance(node, ast.DictComp) else Many(tuple(items[:8]), is_open)


EXPRESSIONS: dict[type[ast.expr], Callable[[Machine, Any], Value]] = {
    ast.Name: lambda machine, node: machine.lookup(node.id),
    ast.Constant: lambda _machine, node: Const(node.value) if isinstance(node.value, int | str | None) else NOTHING,
    ast.Attribute: _attribute,
    ast.Tuple: _sequence,
    ast.List: _sequence,
    ast.Dict: _dict,
    ast.Subscript: _subscript,
    ast.BinOp: _binary,
    ast.UnaryOp: _signed,
    ast.BoolOp: _either,
    ast.IfExp: _conditional,
    **dict.fromkeys((ast.ListComp, ast.GeneratorExp, ast.SetComp, ast.DictComp), _comprehension),
    ast.NamedExpr: _walrus,
    ast.Await: lambda machine, node: machine.value_of(node.value),
    ast.Starred: lambda machine, node: machine.value_of(node.value),
    ast.Compare: _compare,
    ast.Lambda: lambda _machine, _node: NOTHING,
    ast.JoinedStr: lambda _machine, _node: NOTHING,
}
