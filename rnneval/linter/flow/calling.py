"""Calls: constructors, well-known functions, the file's own functions, and recurrent layers."""

import ast
from collections.abc import Callable
from typing import Any

from rnneval.linter.flow import classes, expressions, layercall, mutation, naming, operations
from rnneval.linter.flow.constructors import construct
from rnneval.linter.flow.machine import Machine
from rnneval.linter.flow.values import (
    NOTHING,
    Choice,
    Data,
    Emitted,
    Graph,
    Incoming,
    Initial,
    Known,
    Layer,
    Local,
    Many,
    Method,
    Mixed,
    Object,
    Table,
    Value,
    blend,
    options,
)
from rnneval.linter.flow.views import cut, data_of, is_state, mark_read, through, touched


class Arguments:
    """The arguments of a call, each evaluated once."""

    def __init__(self, machine: Machine, node: ast.Call) -> None:
        self.node = node
        targets, machine.targets = machine.targets, ()
        self.positional: list[Value] = []
        self.starred = False
        for argument in node.args:
            value = expressions.value_of(machine, argument)
            if isinstance(argument, ast.Starred):
                if isinstance(value, Many) and not value.open:
                    self.positional += value.items
                    continue
                self.starred = True
            self.positional.append(value)
        self.named = {
            keyword.arg: expressions.value_of(machine, keyword.value) for keyword in node.keywords if keyword.arg
        }
        self.rest = any(keyword.arg is None for keyword in node.keywords)
        for keyword in node.keywords:
            if keyword.arg is None:
                expressions.value_of(machine, keyword.value)
        self.targets = targets

    @property
    def all(self) -> list[Value]:
        """Give all values that a result may descend from, positional ones first; switches are none."""
        return [*self.positional, *(value for name, value in self.named.items() if name not in operations.SWITCHES)]

    def get(self, index: int | None, *names: str) -> Value | None:
        """Find an argument by its name or its place."""
        for name in names:
            if name in self.named:
                return self.named[name]
        if index is not None and index < len(self.positional) and not self.starred:
            return self.positional[index]
        return None


def call(machine: Machine, node: ast.Call) -> Value:
    """Evaluate a call."""
    targets, machine.targets = machine.targets, ()
    callee = expressions.value_of(machine, node.func, quiet=True)
    machine.targets = targets
    arguments = Arguments(machine, node)
    if isinstance(callee, Choice):
        callee = _one_of(callee)
    handler = _CALLS.get(type(callee))
    return handler(machine, node, callee, arguments) if handler else layercall.unknown_call(machine, node, arguments)


def _one_of(callee: Choice) -> Value:
    """Take layers that stand for each other (a GPU and a CPU variant) for one layer."""
    layers = sorted(
        (option for option in callee.options if isinstance(option, Layer)), key=lambda layer: repr(layer.key)
    )
    if not layers:
        return next((option for option in callee.options if isinstance(option, Local | Object)), NOTHING)
    first = layers[0]
    if all(layer.spec == first.spec for layer in layers):
        return Layer(("one of", *(layer.key for layer in layers)), first.spec)
    kinds = {layer.spec.kind for layer in layers}
    merged = type(first.spec)(
        framework=first.spec.framework,
        kind=first.spec.kind if len(kinds) == 1 else None,
        cell=first.spec.cell,
        returns_state=_agreed([layer.spec.returns_state for layer in layers]),
        returns_sequences=_agreed([layer.spec.returns_sequences for layer in layers]),
        stateful=_agreed([layer.spec.stateful for layer in layers]),
    )
    return Layer(("one of", *(layer.key for layer in layers)), merged)


def _agreed(said: list[bool | None]) -> bool | None:
    return said[0] if len(set(said)) == 1 else None


def _known(machine: Machine, node: ast.Call, callee: Known, arguments: Arguments) -> Value:
    name, last = callee.name, callee.name.rpartition(".")[2]
    made = construct(machine, node, name, arguments)
    if made is not None:
        return made
    if name.startswith("builtins.") and last in operations.TELLS_NOTHING:
        return NOTHING
    if last in operations.KEEPS_CONTAINER and len(arguments.positional) == 1:
        inner = arguments.positional[0]
        kept = isinstance(inner, Many | Table | Incoming | Choice | Emitted)
        return inner if kept else data_of(machine, inner)
    if last[:1].isupper() and (naming.is_keras(name) or name.startswith("torch.nn.")):
        return Object(name, machine.key(node))
    return operate(machine, node, last, arguments.all)


def operate(machine: Machine, node: ast.Call, last: str, values: list[Value]) -> Value:
    """Give the result of a function or layer of which only the name is known."""
    if not values or last in operations.FRESH:
        return Initial() if last in operations.FRESH else Data(frozenset({("made", node.lineno, node.col_offset)}))
    first = values[0]
    if last in operations.JOINS:
        return _joined(machine, last, values)
    if last in operations.SAME_STATE and (is_state(first) or isinstance(first, Initial)):
        return touched(machine, first)
    if last in operations.SAME_SEQUENCE:
        return data_of(machine, first)
    mixed = blend(data_of(machine, value) for value in values)
    return cut(mixed, (node.lineno, node.col_offset)) if last in operations.CUTS else through(mixed)


def _joined(machine: Machine, last: str, values: list[Value]) -> Value:
    if last == "stack" and isinstance(values[0], Many) and all(is_state(item) for item in values[0].items):
        # Stacked states are taken apart again by their number.
        return values[0]
    parts = values[0].items if isinstance(values[0], Many) else tuple(values)
    if parts and all(is_state(item) for item in parts):
        return Mixed(parts)
    mixed = blend(data_of(machine, value) for value in values)
    return Data(mixed.origins, mixed.passed, grown=True)


def _local(machine: Machine, node: ast.Call, callee: Local, arguments: Arguments) -> Value:
    if callee.kind == "class":
        return Object(callee.name, machine.key(node))
    function = machine.functions.get(callee.name)
    if function is None:
        return layercall.unknown_call(machine, node, arguments)
    result = classes.inline(machine, node, function, None, arguments)
    return result if result is not None else layercall.unknown_call(machine, node, arguments)


def _object(machine: Machine, node: ast.Call, callee: Object, arguments: Arguments) -> Value:
    """Call an object: a layer that is not recurrent, or a model of the file."""
    if "." in callee.of:
        return operate(machine, node, callee.of.rpartition(".")[2], arguments.all or [NOTHING])
    for name in ("call", "forward", "__call__"):
        step = machine.summary(callee.of, name)
        if step is not None:
            return layercall.model_call(machine, node, callee, step, arguments)
    return layercall.unknown_call(machine, node, arguments)


def _method(machine: Machine, node: ast.Call, callee: Method, arguments: Arguments) -> Value:
    owner, name = callee.owner, callee.name
    if isinstance(owner, Object) and "." not in owner.of:
        return _own_method(machine, node, owner, name, arguments)
    if isinstance(owner, Layer):
        return layercall.layer_method(machine, node, owner, name, arguments)
    if isinstance(owner, Graph) and name in ("predict", "predict_on_batch", "__call__", "call"):
        return layercall.graph_call(machine, node, owner, arguments)
    if name in operations.CHANGES and isinstance(node.func, ast.Attribute):
        return _change(machine, node, owner, name, arguments)
    if name == "assign" and arguments.positional and isinstance(node.func, ast.Attribute):
        mark_read(machine, arguments.positional[0])
        mutation.rebind(machine, node.func.value, owner, arguments.positional[0])
        return arguments.positional[0]
    return _plain_method(machine, node, owner, name, arguments)


def _plain_method(machine: Machine, node: ast.Call, owner: Value, name: str, arguments: Arguments) -> Value:
    """Call a method of a tensor or a container: its name tells what it does."""
    if name in ("get", "pop", "copy") and isinstance(owner, Many | Choice):
        return owner if name == "copy" else data_of(machine, owner)
    if isinstance(owner, Object):
        return operate(machine, node, name, arguments.all)
    for value in (owner, *arguments.all):
        mark_read(machine, value)
    return operate(machine, node, name, [owner, *arguments.all])


def _own_method(machine: Machine, node: ast.Call, owner: Object, name: str, arguments: Arguments) -> Value:
    if owner.key != ("self",):
        step = machine.summary(owner.of, name)
        if step is not None:
            return layercall.model_call(machine, node, owner, step, arguments)
        return layercall.unknown_call(machine, node, arguments)
    function = machine.method(owner.of, name)
    result = None if function is None else classes.inline(machine, node, function, owner.of, arguments)
    return result if result is not None else layercall.unknown_call(machine, node, arguments)


def _change(machine: Machine, node: ast.Call, owner: Value, name: str, arguments: Arguments) -> Value:
    added = arguments.positional[-1:]
    for value in added:
        mark_read(machine, value)
    if name == "extend" and added and isinstance(added[0], Many):
        added = list(added[0].items)
    if isinstance(owner, Many | Incoming):
        mutation.append(machine, node.func.value, owner, tuple(added))  # type: ignore[attr-defined]
    elif options(owner)[0] is not owner:
        mutation.rebind(machine, node.func.value, owner, data_of(machine, owner))  # type: ignore[attr-defined]
    return NOTHING


def _on_incoming(machine: Machine, node: ast.Call, callee: Incoming, arguments: Arguments) -> Value:
    """Call a method of what came in, such as `states.detach()` or `self.state.assign(h)`."""
    last = str(callee.path[-1]) if callee.path else ""
    owner = Incoming(callee.carrier, callee.path[:-1])
    if not last.startswith("."):
        return layercall.unknown_call(machine, node, arguments)
    name = last[1:]
    if name == "assign" and not owner.path and owner.carrier.startswith("self.") and arguments.positional:
        mark_read(machine, arguments.positional[0])
        machine.env.names[owner.carrier] = arguments.positional[0]
        return arguments.positional[0]
    if name in operations.CHANGES and isinstance(node.func, ast.Attribute):
        return _change(machine, node, owner, name, arguments)
    if name in operations.SAME_STATE or name in ("copy", "value", "read_value"):
        return owner
    if owner.carrier in machine.frame.function.parameters and machine.frame.depth == 0:
        machine.frame.function.reads.add(owner.carrier)
    found = layercall.carried_by_idiom(machine, node, arguments)
    return found if found is not None else operate(machine, node, name, [owner, *arguments.all])


def _layer(machine: Machine, node: ast.Call, callee: Layer, arguments: Arguments) -> Value:
    return layercall.layer_call(machine, node, callee, arguments)


def _graph(machine: Machine, node: ast.Call, callee: Graph, arguments: Arguments) -> Value:
    return layercall.graph_call(machine, node, callee, arguments)


_CALLS: dict[type, Callable[[Machine, ast.Call, Any, Arguments], Value]] = {
    Layer: _layer,
    Known: _known,
    Local: _local,
    Object: _object,
    Method: _method,
    Incoming: _on_incoming,
    Graph: _graph,
}
