"""Calls: constructors, recurrent layers and models, well-known functions, the file's own functions."""

import ast
import copy
from collections.abc import Callable
from typing import Any

from rnneval.linter.flow import names
from rnneval.linter.flow.expressions import insert, rebind, take, update
from rnneval.linter.flow.facts import Event, FunctionNode, defaults_of
from rnneval.linter.flow.machine import MOST_CALLS_DEEP, Env, Frame, Machine, Summary
from rnneval.linter.flow.values import (
    MOST_ORIGINS,
    NONE,
    NOTHING,
    Choice,
    Const,
    Data,
    Emitted,
    Graph,
    Incoming,
    Initial,
    Key,
    Known,
    Layer,
    Local,
    Many,
    Method,
    Mixed,
    Object,
    Record,
    Spec,
    Step,
    Table,
    Value,
    alternatives,
    blend,
    choice,
    cut,
    index_of,
    is_state,
    join,
    through,
    traced,
)

MODEL = Spec(framework="file", kind="simple", returns_state=True, returns_sequences=True)
GUESS = Spec(framework="guess", kind="simple", returns_state=True, returns_sequences=True)


class Arguments:
    """The arguments of a call, each evaluated once."""

    def __init__(self, machine: Machine, node: ast.Call) -> None:
        self.node = node
        self.targets, machine.targets = machine.targets, ()
        """The names that the result is unpacked into."""
        self.positional: list[Value] = []
        self.starred = False
        for argument in node.args:
            value = machine.value_of(argument)
            if isinstance(argument, ast.Starred):
                if isinstance(value, Many) and not value.open:
                    self.positional += value.items
                    continue
                self.starred = True
            self.positional.append(value)
        self.named = {keyword.arg: machine.value_of(keyword.value) for keyword in node.keywords if keyword.arg}
        rest = [keyword.value for keyword in node.keywords if keyword.arg is None]
        for mapping in rest:
            machine.value_of(mapping)
        self.unknown = self.starred or bool(rest)
        """Whether there may be more arguments than are known."""
        self.rest = bool(rest)

    @property
    def all(self) -> list[Value]:
        """All values that a result may descend from, positional ones first; switches are left out."""
        return [*self.positional, *(value for name, value in self.named.items() if name not in names.SWITCHES)]

    def get(self, index: int | None, *keywords: str) -> Value | None:
        """Find an argument by its name or its place."""
        for keyword in keywords:
            if keyword in self.named:
                return self.named[keyword]
        if index is not None and index < len(self.positional) and not self.starred:
            return self.positional[index]
        return None

    def flag(self, name: str, default: bool = False) -> bool | None:
        """Return a switch that is written as a literal; None if it is not known."""
        value = self.named.get(name)
        if value is None:
            return None if self.rest else default
        return value.value if isinstance(value, Const) and isinstance(value.value, bool) else None


def call(machine: Machine, node: ast.Call) -> Value:
    """Evaluate a call."""
    targets, machine.targets = machine.targets, ()
    callee = machine.value_of(node.func, quiet=True)
    machine.targets = targets
    arguments = Arguments(machine, node)
    if isinstance(callee, Choice):
        callee = _one_of(callee)
    handler = _CALLS.get(type(callee))
    return handler(machine, node, callee, arguments) if handler else _unknown(machine, node, arguments)


def _one_of(callee: Choice) -> Value:
    """Take layers that stand for each other (a GPU and a CPU variant) for one layer."""
    layers = sorted(
        (option for option in callee.options if isinstance(option, Layer)), key=lambda layer: repr(layer.key)
    )
    if not layers:
        return next((option for option in callee.options if isinstance(option, Local | Object)), NOTHING)
    spec = layers[0].spec
    if any(layer.spec != spec for layer in layers):
        shared = ("kind", "returns_state", "returns_sequences", "stateful")
        ways: dict[str, set[Any]] = {name: {getattr(layer.spec, name) for layer in layers} for name in shared}
        agreed: dict[str, Any] = {name: found.pop() if len(found) == 1 else None for name, found in ways.items()}
        spec = Spec(framework=spec.framework, cell=spec.cell, **agreed)
    return Layer(("one of", *(layer.key for layer in layers)), spec)


# Constructors and functions that are known by name


def _known(machine: Machine, node: ast.Call, callee: Known, arguments: Arguments) -> Value:
    name, last = callee.name, callee.name.rpartition(".")[2]
    if last in names.STACKS and (last != "RNN" or names.is_keras(name)):
        machine.facts.stacks.append((node, arguments.get(0, "cell", "cells") or NOTHING))
    made = _construct(machine, node, name, arguments) or _contain(machine, node, name, arguments)
    if made is not None:
        return made
    if name.startswith("builtins.") and last in names.TELLS_NOTHING:
        return NOTHING
    if last[:1].isupper() and (names.is_keras(name) or name.startswith("torch.nn.") or last.endswith(names.CELLS)):
        return Object(name, machine.place_key(node))
    return operate(machine, node, last, arguments.all)


def _construct(machine: Machine, node: ast.Call, name: str, arguments: Arguments) -> Value | None:
    """Return what a constructor of layers, inputs or models makes; None if it is not one of these."""
    known = names.recurrent(name)
    if known is not None:
        framework, kind, cell = known
        spec = _torch(kind, cell, arguments) if framework == "torch" else _keras(kind, cell, arguments)
        return _register(machine, node, spec)
    match name.rpartition(".")[2] if names.is_keras(name) else "":
        case "Bidirectional":
            return _both_ways(machine, node, arguments)
        case "TimeDistributed":
            return Object(name, machine.place_key(node))
        case "Input":
            return Incoming(f"input {machine.place_key(node)}")
        case "Model":
            return _functional(machine, arguments)
        case _:
            return None


def _contain(machine: Machine, node: ast.Call, name: str, arguments: Arguments) -> Value | None:
    """Return the container or attribute that a well-known function makes, copies or sets; None for other functions."""
    made: Value | None = None
    if name.rpartition(".")[2] in names.KEEPS_CONTAINER and len(arguments.positional) == 1:
        inner = arguments.positional[0]
        kept = isinstance(inner, Many | Table | Incoming | Choice | Emitted)
        return copy.copy(inner) if kept else machine.data_of(inner)
    match name, arguments.positional:
        case "builtins.list" | "builtins.tuple" | "collections.deque", []:
            made = Many()
        case "builtins.dict", [] | [Table() | Incoming()] if not arguments.unknown:
            made = Table(tuple(arguments.named.items()), *arguments.positional)
        case "collections.namedtuple", [Const(str() as typename), fields]:
            made = machine.records[typename] = Record(_field_names(fields))
        case "builtins.setattr", [_, Const(str() as attribute), made] if _is_self(machine, node.args[0]):
            machine.mark_read(made)
            machine.env.names[f"self.{attribute}"] = made
        case "builtins.getattr", [_, Const(str() as attribute)] if _is_self(machine, node.args[0]):
            made = machine.attribute(attribute)
    return made


def _field_names(fields: Value) -> tuple[str, ...]:
    """Return the fields of a namedtuple, given as one string or as a list of strings."""
    match fields:
        case Const(str() as written):
            return tuple(written.replace(",", " ").split())
        case Many(items, open=False):
            return tuple(str(item.value) for item in items if isinstance(item, Const))
        case _:
            return ()


def _is_self(machine: Machine, node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == machine.frame.self_name


def _record_of(_machine: Machine, _node: ast.Call, callee: Record, arguments: Arguments) -> Value:
    """Make an object of a class that only holds fields."""
    if arguments.unknown:
        return NOTHING
    given = [(at, name, arguments.get(at, name)) for at, name in enumerate(callee.fields)]
    return Table(tuple((key, held) for at, name, held in given if held is not None for key in (f".{name}", at)))


def _register(machine: Machine, node: ast.Call, spec: Spec) -> Layer:
    layer = Layer(machine.place_key(node), spec)
    machine.facts.specs[layer.key] = spec
    machine.facts.places[layer.key] = node
    return layer


def _torch(kind: str | None, cell: bool, arguments: Arguments) -> Spec:
    return Spec(
        framework="torch",
        kind=kind,
        cell=cell,
        bidirectional=arguments.flag("bidirectional") is not False,
        returns_state=True,
        returns_sequences=not cell,
    )


def _keras(kind: str | None, cell: bool, arguments: Arguments) -> Spec:
    if kind is None and arguments.positional:
        # RNN(cell): one layer whose state is the cell's; of a list of cells only that it is one layer is known.
        inner = arguments.positional[0]
        kind = inner.spec.kind if isinstance(inner, Layer) and inner.spec.cell else None
    return Spec(
        framework="keras",
        kind=kind,
        cell=cell,
        returns_state=arguments.flag("return_state"),
        returns_sequences=arguments.flag("return_sequences"),
        stateful=arguments.flag("stateful"),
        backwards=arguments.flag("go_backwards") is not False,
    )


def _both_ways(machine: Machine, node: ast.Call, arguments: Arguments) -> Value:
    """Return a Bidirectional layer; with `merge_mode=None` its directions come out as two sequences."""
    inner = arguments.get(0, "layer")
    if not isinstance(inner, Layer):
        return Object("keras.layers.Bidirectional", machine.place_key(node))
    machine.facts.specs.pop(inner.key, None)
    old, mode = inner.spec, arguments.named.get("merge_mode")
    merged = mode is None or (isinstance(mode, Const) and isinstance(mode.value, str))
    spec = Spec(
        framework="keras",
        kind=old.kind,
        bidirectional=True,
        returns_state=old.returns_state if merged else None,
        returns_sequences=old.returns_sequences,
        stateful=old.stateful,
    )
    return _register(machine, node, spec)


def _functional(machine: Machine, arguments: Arguments) -> Value:
    inputs, outputs = arguments.get(0, "inputs", "input"), arguments.get(1, "outputs", "output")
    if inputs is None or outputs is None:
        return Data(frozenset({"model"}))
    if isinstance(inputs, Table) and isinstance(outputs, Table):
        # Only what goes in and comes out under one name is known to be handed on.
        keys = [key for key, _ in inputs.items]
        inputs, outputs = (Many(tuple(table.get(key) or NOTHING for key in keys)) for table in (inputs, outputs))
    graph = Graph(_flat(inputs), _flat(outputs))
    machine.graphs.append((machine.frame.function.number, graph))
    return graph


def _flat(value: Value) -> tuple[Value, ...]:
    if isinstance(value, Many):
        return tuple(inner for item in value.items for inner in _flat(item))
    return (value,)


def operate(machine: Machine, node: ast.Call, last: str, values: list[Value]) -> Value:
    """Return the result of a function or layer of which only the name is known."""
    if last in names.FRESH:
        return Initial()
    if not values:
        return Data(frozenset({("made", node.lineno, node.col_offset)}))
    first = values[0]
    if last in names.JOINS:
        return _joined(machine, last, values)
    if last in names.SAME_STATE and (is_state(first) or isinstance(first, Initial)):
        return machine.touched(first)
    if last in names.SAME_SEQUENCE:
        return machine.data_of(first)
    mixed = blend(machine.data_of(value) for value in values)
    return cut(mixed, (node.lineno, node.col_offset)) if last in names.CUTS else through(mixed)


def _joined(machine: Machine, last: str, values: list[Value]) -> Value:
    first = values[0]
    if last == "stack" and isinstance(first, Many) and all(is_state(item) for item in first.items):
        return first  # stacked states are taken apart again by their number
    parts = first.items if isinstance(first, Many) else tuple(values)
    if parts and all(is_state(item) for item in parts):
        return Mixed(parts)
    mixed = blend(machine.data_of(value) for value in values)
    return Data(mixed.origins, mixed.passed, grown=True)


# Recurrent layers


def _layer(machine: Machine, node: ast.Call, layer: Layer, arguments: Arguments) -> Value:
    """Run a recurrent layer or cell once."""
    enters, state = _sequence_and_state(machine, layer, arguments)
    if enters is None:
        return NOTHING
    if state is not None and all(option == NONE for option in alternatives(state)):
        state = None
    event = _record(machine, node, layer.key, spec=layer.spec, enters=enters, state=state)
    result = _result(layer.spec, event)
    machine.results[id(result)] = result, event.number
    return result


def _sequence_and_state(machine: Machine, layer: Layer, arguments: Arguments) -> tuple[Data | None, Value | None]:
    """Return the sequence and the state among the arguments."""
    first = arguments.get(0, "inputs", "sequences", "sequence", "input", "x")
    if first is None:
        return (machine.blend(arguments.all) if arguments.all else None), None
    state = arguments.get(1, "initial_state", "states", "hx")
    keras = layer.spec.framework == "keras"
    if keras and isinstance(first, Many) and not first.open and len(first.items) > 1 and state is None:
        # The old way: layer([x, h, c]).
        return machine.data_of(first.items[0]), Many(first.items[1:])
    if arguments.unknown and state is None:
        state = Data(frozenset({("more arguments", arguments.node.lineno)}))
    return machine.data_of(first), state


def _record(machine: Machine, node: ast.Call, key: Key, *, spec: Spec, enters: Data, state: Value | None) -> Event:
    """Keep one call as an event."""
    event = Event(
        number=len(machine.facts.events),
        layer=key,
        name=_name_of(node.func),
        spec=spec,
        node=node,
        enters=enters,
        state=state,
        slots=machine.slots_of(state, spec),
        turns=machine.loops,
        function=machine.frame.function.number,
    )
    machine.facts.add(event)
    machine.latest[key] = event.number
    if state is not None:
        machine.mark_read(state)
    return event


def _name_of(node: ast.expr) -> str:
    """Return how the source calls something, in at most 40 characters."""
    if isinstance(node, ast.Call):
        return f"{_name_of(node.func)}(…)"
    text = ast.unparse(node)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _result(spec: Spec, event: Event) -> Value:
    """Return what the layer gives back, in its framework's form."""
    number, enters = event.number, event.enters
    passed = frozenset(sorted(enters.passed | {number})[-MOST_ORIGINS:])
    whole = Data(enters.origins, passed, whole_of=number, grown=enters.grown)
    if spec.framework == "keras" and not spec.cell and spec.returns_sequences is False:
        whole = Data(traced(enters.origins, ("cut", number)), passed, last_of=number)
    slots: tuple[Value, ...] = tuple(Emitted(number, index) for index in range(spec.slots or 0))
    first = slots[0] if slots else Emitted(number)
    if spec.cell and spec.framework == "torch":
        return first if spec.slots == 1 else Many(slots)
    if spec.cell:
        return Many((first, Many(slots) if slots else first))
    if spec.framework == "torch":
        return Many((whole, Many(slots) if spec.slots == 2 else first))
    if spec.returns_state is False:
        return whole
    if spec.returns_state is None:
        return Choice(frozenset({whole, Many((whole, *slots))})) if slots else whole
    return Many((whole, *slots)) if slots else Many((whole, first), open=True)


def _layer_method(machine: Machine, node: ast.Call, layer: Layer, name: str, arguments: Arguments) -> Value:
    """Call a method of a recurrent layer."""
    if name in names.MODEL_CALLS:
        return _layer(machine, node, layer, arguments)
    if name in ("get_initial_state", "zero_state"):
        count = layer.spec.slots
        if count and count > 1:
            return Many(tuple(Initial(layer.key, index) for index in range(count)))
        return Initial(layer.key)
    if name in names.RESETS:
        machine.frame.function.resets.append((node, layer.key))
    return layer if name in ("to", "cuda", "cpu", "double", "float", "half", "eval", "train") else NOTHING


# Models of the file, and calls of which nothing is known


def _model(machine: Machine, node: ast.Call, model: Object, summary: Summary, arguments: Arguments) -> Value:
    """Run a model of the file that takes a state in and gives it back."""
    if arguments.unknown:
        return _unknown(machine, node, arguments)
    state = arguments.get(summary.position, summary.parameter)
    key = (*model.key, "model")
    return _stepped(machine, node, key, MODEL, arguments, state=state, index=summary.index, length=summary.length)


def _stepped(
    machine: Machine,
    node: ast.Call,
    key: Key,
    spec: Spec,
    arguments: Arguments,
    *,
    state: Value | None,
    index: int,
    length: int,
) -> Value:
    """Run something that takes a state in and gives it back at a place of the tuple that it returns."""
    enters = machine.blend(value for value in arguments.all if value is not state)
    event = _record(machine, node, key, spec=spec, enters=enters, state=state)
    rest = Data(enters.origins, enters.passed | {event.number})
    if length == 0:
        return choice((rest, Many((rest, Emitted(event.number)))))
    return Many(tuple(Emitted(event.number) if at == index else rest for at in range(length)))


def _graph(machine: Machine, node: ast.Call, graph: Graph, arguments: Arguments) -> Value:
    """Run a functional model: it is followed where its own states come in and go out."""
    given = arguments.positional[0] if arguments.positional else None
    carriers = [item.carrier for item in graph.inputs if isinstance(item, Incoming)]
    used = {
        leaf.carrier
        for event in machine.facts.events
        for way in event.slots
        for leaf in way
        if isinstance(leaf, Incoming) and leaf.carrier.startswith("input ")
    }
    places = {index for index, carrier in enumerate(carriers) if carrier in used}  # inputs that are a layer's state
    outputs = [index for index, item in enumerate(graph.outputs) if isinstance(item, Emitted)]
    if not places or not outputs or not isinstance(given, Many) or len(carriers) != len(graph.inputs):
        return _unknown(machine, node, arguments)
    items = [
        inner for item in given.items for inner in (item.items if isinstance(item, Many) and not item.open else (item,))
    ]
    if len(items) != len(graph.inputs):
        states, others = [given.items[-1]], list(given.items[:-1])
    else:
        states = [item for index, item in enumerate(items) if index in places]
        others = [item for index, item in enumerate(items) if index not in places]
    enters = machine.blend(others)
    event = _record(machine, node, ("graph", *carriers), spec=MODEL, enters=enters, state=Many(tuple(states)))
    rest = Data(enters.origins, enters.passed | {event.number})
    return Many(
        tuple(Emitted(event.number, index) if index in outputs else rest for index in range(len(graph.outputs)))
    )


def _unknown(machine: Machine, node: ast.Call, arguments: Arguments) -> Value:
    """Call something of which nothing is known."""
    found = _guessed(machine, node, arguments)
    if found is not None:
        return found
    for value in arguments.all:
        machine.mark_read(value)
    last = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if last in names.FRESH:
        return Initial()
    if not arguments.all:
        return Data(frozenset({("made", node.lineno, node.col_offset)}))
    mixed = machine.blend(arguments.all)
    return cut(mixed, (node.lineno, node.col_offset)) if last in names.CUTS else mixed


def _guessed(machine: Machine, node: ast.Call, arguments: Arguments) -> Value | None:
    """Take `y, s = model(x, states=s)` and `return_state=True` for a step of a model that carries its state."""
    targets = arguments.targets
    asked = arguments.named.get("return_state") == Const(True)
    given: list[tuple[int | str, Value]] = [*enumerate(arguments.positional), *arguments.named.items()]
    for place, value in given:
        name = _plain_name(node, place)
        is_state_name = isinstance(place, str) and place.startswith(("state", "hidden", "initial_state"))
        if name and name in targets and len(targets) > 1 and place != 0:
            index = targets.index(name)
        elif asked and is_state_name and len(targets) == 2:
            index = 1
        else:
            continue
        key = ("guess", _name_of(node.func))
        return _stepped(machine, node, key, GUESS, arguments, state=value, index=index, length=len(targets))
    return None


def _plain_name(node: ast.Call, place: int | str) -> str | None:
    """Return the plain name that stands as an argument."""
    if isinstance(place, str):
        found = next((keyword.value for keyword in node.keywords if keyword.arg == place), None)
    else:
        found = node.args[place] if place < len(node.args) else None
    return found.id if isinstance(found, ast.Name) else None


# Methods


def _method(machine: Machine, node: ast.Call, callee: Method, arguments: Arguments) -> Value:
    owner, name = callee.owner, callee.name
    if isinstance(owner, Object) and "." not in owner.of:
        return _own_method(machine, node, owner, name, arguments)
    if isinstance(owner, Layer):
        return _layer_method(machine, node, owner, name, arguments)
    if isinstance(owner, Graph) and name in ("predict", "predict_on_batch", "__call__", "call"):
        return _graph(machine, node, owner, arguments)
    changed = _change(machine, node.func, owner, name, arguments)
    if changed is not None:
        return changed
    if name == "assign" and arguments.positional and isinstance(node.func, ast.Attribute):
        machine.mark_read(arguments.positional[0])
        rebind(machine, node.func.value, owner, arguments.positional[0])
        return arguments.positional[0]
    return _plain_method(machine, node, owner, name, arguments)


def _plain_method(machine: Machine, node: ast.Call, owner: Value, name: str, arguments: Arguments) -> Value:
    """Call a method of a tensor or a container: its name tells what it does."""
    if name in ("get", "pop", "copy") and isinstance(owner, Many | Choice | Table):
        return copy.copy(owner) if name == "copy" else machine.data_of(owner)
    if isinstance(owner, Object):
        return operate(machine, node, name, arguments.all)
    for value in (owner, *arguments.all):
        machine.mark_read(value)
    return operate(machine, node, name, [owner, *arguments.all])


def _own_method(machine: Machine, node: ast.Call, owner: Object, name: str, arguments: Arguments) -> Value:
    """Call a method of an object of the file: of the same object, or of another that may carry a state."""
    if owner.key != ("self",):
        summary = machine.summary(owner.of, name)
        if summary is not None:
            return _model(machine, node, owner, summary, arguments)
        return _unknown(machine, node, arguments)
    return _follow(machine, node, machine.method(owner.of, name), owner.of, arguments)


def _change(machine: Machine, func: ast.expr, owner: Value, name: str, arguments: Arguments) -> Value | None:
    """Call a method that changes a container in place or takes from it; return None if it is not known to."""
    if not isinstance(func, ast.Attribute):
        return None
    target = func.value
    if name in names.CHANGES:
        return _added(machine, target, owner, name, arguments)
    if name in names.TAKES and isinstance(owner, Many | Incoming | Table):
        return _taken(machine, target, owner, name, arguments)
    if name == "reverse" and isinstance(owner, Many | Incoming):
        turned = Many(owner.items[::-1], owner.open) if isinstance(owner, Many) else machine.data_of(owner)
        rebind(machine, target, owner, turned)
        return NOTHING
    pairs: tuple[tuple[object, Value], ...] | None = None
    if name == "update" and isinstance(owner, Table | Incoming) and not arguments.unknown:
        match arguments.positional:
            case [] if arguments.named:
                pairs = (*arguments.named.items(),)
            case [Table(items)]:
                pairs = (*items, *arguments.named.items())
    if pairs is None:
        return None
    update(machine, target, owner, pairs)
    return NOTHING


def _added(machine: Machine, target: ast.expr, owner: Value, name: str, arguments: Arguments) -> Value:
    """Call `append`, `extend`, `insert` or `appendleft`."""
    added = arguments.positional[-1:]
    for value in added:
        machine.mark_read(value)
    if name == "extend" and added and isinstance(added[0], Many):
        added = list(added[0].items)
    at = {"insert": _literal(arguments.positional[0]) if added else None, "appendleft": 0}.get(name)
    unknown = name == "insert" and not isinstance(at, int)
    if isinstance(owner, Choice) or (unknown and isinstance(owner, Many)):
        rebind(machine, target, owner, machine.data_of(owner))
    elif isinstance(owner, Many | Incoming):
        insert(machine, target, owner, at if isinstance(at, int) else None, tuple(added))
    return NOTHING


def _taken(machine: Machine, target: ast.expr, owner: Value, name: str, arguments: Arguments) -> Value | None:
    """Call `pop`, `popleft` or `get`."""
    first = 0 if name == "popleft" else -1 if name == "pop" else None
    key = _literal(arguments.positional[0]) if arguments.positional else first
    named = isinstance(key, str)
    if key is None or (named and isinstance(owner, Many)) or (not named and isinstance(owner, Table)):
        return None
    _note_read(machine, owner)
    item = machine.part(owner, key)
    if name != "get":
        take(machine, target, owner, key)
    return item


def _note_read(machine: Machine, owner: Value) -> None:
    function = machine.frame.function
    if isinstance(owner, Incoming) and machine.frame.depth == 0 and owner.carrier in function.parameters:
        function.reads.add(owner.carrier)


def _literal(value: Value) -> object:
    """Return the literal or running number that a value is; None for other values."""
    found = value.value if isinstance(value, Const) else index_of(value) if isinstance(value, Step) else None
    return None if isinstance(found, bool) else found


def _on_incoming(machine: Machine, node: ast.Call, callee: Incoming, arguments: Arguments) -> Value:
    """Call a method of what came in, such as `states.detach()` or `self.state.assign(h)`."""
    last = str(callee.path[-1]) if callee.path else ""
    owner = Incoming(callee.carrier, callee.path[:-1])
    if not last.startswith("."):
        return _unknown(machine, node, arguments)
    name = last[1:]
    if name == "assign" and not owner.path and owner.carrier.startswith("self.") and arguments.positional:
        machine.mark_read(arguments.positional[0])
        machine.env.names[owner.carrier] = arguments.positional[0]
        return arguments.positional[0]
    changed = _change(machine, node.func, owner, name, arguments)
    if changed is not None:
        return changed
    if name in names.SAME_STATE or name in ("copy", "value", "read_value"):
        return owner
    _note_read(machine, owner)
    found = _guessed(machine, node, arguments)
    return found if found is not None else operate(machine, node, name, [owner, *arguments.all])


# Classes and functions of the file


def _local(machine: Machine, node: ast.Call, callee: Local, arguments: Arguments) -> Value:
    if callee.kind == "class":
        return Object(callee.name, machine.place_key(node))
    return _follow(machine, node, machine.functions.get(callee.name), None, arguments)


def _object(machine: Machine, node: ast.Call, callee: Object, arguments: Arguments) -> Value:
    """Call an object: a layer that is not recurrent, or a model of the file."""
    if "." in callee.of and not callee.of.endswith(names.CELLS):
        return operate(machine, node, callee.of.rpartition(".")[2], arguments.all or [NOTHING])
    for name in names.MODEL_CALLS:
        summary = machine.summary(callee.of, name)
        if summary is not None:
            return _model(machine, node, callee, summary, arguments)
    return _unknown(machine, node, arguments)


def parameters_of(node: FunctionNode) -> tuple[str, ...]:
    """Return the names of a function's parameters."""
    arguments = node.args
    return tuple(argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs))


def takes_self(node: FunctionNode) -> bool:
    """Return whether the first parameter of a method is the object."""
    static = any(isinstance(item, ast.Name) and item.id == "staticmethod" for item in node.decorator_list)
    return bool(parameters_of(node)) and not static


def _follow(
    machine: Machine, node: ast.Call, function: FunctionNode | None, owner: str | None, arguments: Arguments
) -> Value:
    """Follow a call of the file's own function, unless it is too deep, recursive, or does not fit the parameters."""
    frame = machine.frame
    if (
        function is None
        or frame.depth >= MOST_CALLS_DEEP
        or function in machine.running
        or frame.function.node is function
        or machine.out_of_budget()
    ):
        return _unknown(machine, node, arguments)
    parameters = parameters_of(function)
    own = owner is not None and takes_self(function)
    bound = _bind(function, parameters[1:] if own else parameters, arguments)
    if bound is None:
        return _unknown(machine, node, arguments)
    env, loop_state = machine.env, (machine.loop_envs, machine.loop_exits)
    machine.env, machine.loop_envs, machine.loop_exits = Env(env, wall=True), [], []
    machine.env.names.update(bound)
    context = (*frame.context, ("in", node.lineno, node.col_offset))
    machine.frame = Frame(frame.function, env, parameters[0] if own else None, owner, context, frame.depth + 1)
    machine.running.append(function)
    machine.run(function.body)
    machine.running.pop()
    result = _returned(machine, env)
    machine.frame, machine.env, (machine.loop_envs, machine.loop_exits) = frame, env, loop_state
    return result


def _bind(function: FunctionNode, parameters: tuple[str, ...], arguments: Arguments) -> dict[str, Value] | None:
    """Bind the parameters to their arguments or defaults; return None if the call does not fit."""
    if arguments.unknown or (len(arguments.positional) > len(parameters) and function.args.vararg is None):
        return None
    bound: dict[str, Value] = dict(zip(parameters, arguments.positional, strict=False))
    bound |= {name: value for name, value in arguments.named.items() if name in parameters}
    for name, default in defaults_of(function):
        match default:
            case ast.Constant(value=int() | str() | None as literal):
                bound.setdefault(name, Const(literal))
            case _:
                bound.setdefault(name, NOTHING)
    for name in parameters:
        bound.setdefault(name, Data(frozenset({("parameter", name)})))
    return bound


def _returned(machine: Machine, env: Env) -> Value:
    """Join what the call returns, and let what it did to attributes last."""
    ends = [*machine.frame.exits, *([] if machine.env.dead else [machine.env])]
    meeting = Env(env)
    for end in ends:
        end.parent = env
    meeting.meet(ends)
    env.names.update({name: value for name, value in meeting.names.items() if name.startswith("self.")})
    returned = machine.frame.returned
    if not machine.env.dead and not returned:
        return NONE
    lengths = {len(value.items) if isinstance(value, Many) else -1 for value in returned}
    if len(lengths) == 1:
        joined = returned[0]
        for value in returned[1:]:
            joined = join(joined, value)
        return joined
    return choice(option for value in returned for option in alternatives(value)) if returned else NOTHING


_CALLS: dict[type, Callable[[Machine, ast.Call, Any, Arguments], Value]] = {
    Layer: _layer,
    Known: _known,
    Local: _local,
    Record: _record_of,
    Object: _object,
    Method: _method,
    Incoming: _on_incoming,
    Graph: _graph,
}
