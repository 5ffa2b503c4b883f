"""Calls: constructors, recurrent layers and models, well-known functions, methods of the running class."""

import ast
import copy
from dataclasses import replace

from rnneval.lint import names
from rnneval.lint import values as v
from rnneval.lint.expressions import CHANGED, note_change, rebind
from rnneval.lint.facts import LayerCall, defaults_of, parameters_of
from rnneval.lint.machine import Frame, Machine

_SHUFFLED = ("shuffled",)  # an origin: a dataset in another order
_GRAPH = v.Spec("graph", "simple", returns_state=True, returns_sequences=True)


class Call:
    """A call, with its callee and its arguments, each evaluated once."""

    def __init__(self, machine: Machine, node: ast.Call) -> None:
        self.machine, self.node = machine, node
        self.callee = machine.value_of(node.func, quiet=True)
        self.positional: list[v.Abstract] = []
        self.named: dict[str, v.Abstract] = {}
        self.unknown = False
        """Whether there may be more arguments than are known."""
        for argument in node.args:
            value = machine.value_of(argument)
            if isinstance(argument, ast.Starred) and isinstance(value, v.Many) and not value.open:
                self.positional += value.items
            else:
                self.unknown = self.unknown or isinstance(argument, ast.Starred)
                self.positional.append(value)
        for keyword in node.keywords:
            value = machine.value_of(keyword.value)
            if keyword.arg:
                self.named[keyword.arg] = value
            self.unknown = self.unknown or not keyword.arg

    @property
    def all(self) -> list[v.Abstract]:
        """All values that a result may descend from, positional ones first; switches are left out."""
        return [*self.positional, *(value for name, value in self.named.items() if name not in names.SWITCHES)]

    def get(self, index: int, *keywords: str) -> v.Abstract | None:
        """Find an argument by its name or its place."""
        for keyword in keywords:
            if keyword in self.named:
                return self.named[keyword]
        return self.positional[index] if index < len(self.positional) and not self.unknown else None

    def flag(self, name: str) -> bool | None:
        """Return a switch that is written as a literal; None if it is not known."""
        value = self.named.get(name)
        if value is None:
            return None if self.unknown else False
        return value.value if isinstance(value, v.Const) and isinstance(value.value, bool) else None


def evaluate_call(machine: Machine, node: ast.Call) -> v.Abstract:
    """Evaluate a call."""
    call = Call(machine, node)
    callee = _one_of(call.callee) if isinstance(call.callee, v.Choice) else call.callee
    match callee:
        case v.GlobalName():
            value = _call_by_name(call, callee)
        case v.Method(owner=v.OWN):
            value = _follow(call, callee.name)
        case v.Method():
            value = _method(call, callee)
        case v.LayerValue():
            value = _layer(call, callee)
        case v.Incoming(path=(*path, str(last))) if last.startswith("."):  # `states.detach()`, `self.state.assign(h)`
            value = _method(call, v.Method(v.Incoming(callee.carrier, tuple(path)), last[1:]))
        case v.Object() if "." in callee.of and not callee.of.endswith(names.CELLS):  # a layer that is not recurrent
            value = _operate(call, callee.of.rpartition(".")[2], call.all or [v.NOTHING])
        case v.Graph():
            value = _graph(call, callee)
        case _:
            value = _unknown(call)
    return value


def _one_of(callee: v.Choice) -> v.Abstract:
    """Take layers that stand for each other (a GPU and a CPU variant) for one layer."""
    layers = [option for option in callee.options if isinstance(option, v.LayerValue)]
    if not layers:
        return next((option for option in callee.options if isinstance(option, v.GlobalName | v.Object)), v.NOTHING)
    if len({layer.spec for layer in layers}) > 1:
        return v.NOTHING
    return v.LayerValue(("one of", *sorted((layer.key for layer in layers), key=repr)), layers[0].spec)


# Constructors and functions that are known by name


def _call_by_name(call: Call, callee: v.GlobalName) -> v.Abstract:
    name, last = callee.name, callee.name.rpartition(".")[2]
    if last in names.STACKS:
        call.machine.facts.stacks.append((call.node, call.get(0, "cell", "cells") or v.NOTHING))
    if made := _construct(call, name) or _contain(call, name):
        return made
    defined_here = name in call.machine.classes or name in call.machine.makers
    layer = last[:1].isupper() and (names.is_keras(name) or name.startswith("torch.nn.") or last.endswith(names.CELLS))
    if not defined_here and not layer:
        return _operate(call, last, call.all)
    result = v.Object(name, call.machine.place_key(call.node))
    if name in call.machine.makers:
        call.machine.facts.stateful_models.add(result)
    elif last == "Sequential":
        _add_stateful(call, result)
    return result


def _construct(call: Call, name: str) -> v.Abstract | None:
    """Return what a constructor of layers, inputs or models makes; None if it is not one of these."""
    if known := names.recurrent(name):
        return v.LayerValue(call.machine.place_key(call.node), _spec(call, *known))
    match name.rpartition(".")[2] if names.is_keras(name) else "":
        case "Bidirectional" if isinstance(inner := call.get(0, "layer"), v.LayerValue):
            spec = replace(inner.spec, bidirectional=True, cell=False, backwards=False)
            return v.LayerValue(call.machine.place_key(call.node), spec)
        case "Input":
            return v.Incoming(f"input {call.machine.place_key(call.node)}")
        case "Model":
            return _functional(call)
    return None


def _contain(call: Call, name: str) -> v.Abstract | None:
    """Return the container that a well-known function makes or copies; None for other functions."""
    if name.rpartition(".")[2] in names.KEEPS_CONTAINER and len(call.positional) == 1:
        inner = call.positional[0]
        kept = isinstance(inner, v.Many | v.DictValue | v.Incoming | v.Choice | v.Emitted)
        return copy.copy(inner) if kept else call.machine.facts.data_of(inner)
    match name, call.positional:
        case "builtins.dict", [] | [v.DictValue() | v.Incoming()] if not call.unknown:
            return v.DictValue(tuple(call.named.items()), *call.positional)
    return None


def _spec(call: Call, framework: str, kind: str | None, cell: bool) -> v.Spec:
    if framework == "torch":
        both = call.flag("bidirectional") is not False
        return v.Spec(framework, kind, cell, both, returns_state=True, returns_sequences=not cell)
    return v.Spec(
        framework,
        kind,
        cell,
        returns_state=call.flag("return_state"),
        returns_sequences=call.flag("return_sequences"),
        stateful=call.flag("stateful"),
        backwards=call.flag("go_backwards") is not False,
    )


def _functional(call: Call) -> v.Abstract:
    inputs, outputs = call.get(0, "inputs", "input"), call.get(1, "outputs", "output")
    if inputs is None or outputs is None:
        return v.Data(frozenset({"model"}))
    graph = v.Graph(v.flat(inputs), v.flat(outputs))
    call.machine.frame.function.graphs.append(graph)
    events = call.machine.facts.events
    passed = (events[number] for output in graph.outputs for number in call.machine.facts.data_of(output).passed)
    if any(event.spec.stateful is True for event in passed):
        call.machine.facts.stateful_models.add(graph)
    return graph


def _operate(call: Call, last: str, values: list[v.Abstract]) -> v.Abstract:
    """Return the result of a function or layer of which only the name is known."""
    machine, place = call.machine, (call.node.lineno, call.node.col_offset)
    if last in names.FRESH:
        return v.Initial()
    if not values:
        return v.Data(frozenset({("made", *place)}))
    first = values[0]
    options = v.alternatives(first)
    if last in names.SAME_STATE and all(isinstance(option, v.Emitted | v.Incoming | v.Initial) for option in options):
        return first
    mixed = v.blend(machine.facts.data_of(value) for value in values)
    if last in names.JOINS:
        return v.Data(mixed.origins, mixed.passed, grown=True)
    if last in names.CUTS:
        mixed = v.cut(mixed, place)
    elif last == "shuffle":
        mixed = v.Data(v.traced(mixed.origins, _SHUFFLED), mixed.passed)
    return machine.facts.data_of(first) if last in names.SAME_SEQUENCE else v.through(mixed)


# Recurrent layers


def _layer(call: Call, layer: v.LayerValue) -> v.Abstract:
    machine, spec, keras = call.machine, layer.spec, layer.spec.framework == "keras"
    first = call.get(0, "inputs", "sequences", "sequence", "input", "x")
    state = call.get(1, "initial_state", "states", "hx")
    if first is None:
        return machine.blend(call.all)
    if keras and state is None and isinstance(first, v.Many) and not first.open and len(first.items) > 1:
        # The old way: layer([x, h, c]).
        enters, state = machine.facts.data_of(first.items[0]), v.Many(first.items[1:])
    else:
        enters = machine.facts.data_of(first)
        if call.unknown and state is None:
            state = v.Data(frozenset({("more arguments", call.node.lineno)}))
    state = None if state == v.NONE else state
    event = _new_event(call, layer.key, spec, enters, state)
    return _result(spec, event)


def _new_event(call: Call, key: v.LayerKey, spec: v.Spec, enters: v.Data, state: v.Abstract | None) -> LayerCall:
    machine = call.machine
    event = LayerCall(
        number=len(machine.facts.events), layer=key, name=_name_of(call.node.func), spec=spec, node=call.node,
        enters=enters, state=state, sources=machine.sources_of(state, spec),
        turns=machine.loops, function=machine.frame.function,
    )  # fmt: skip
    machine.facts.events.append(event)
    machine.frame.function.events.append(event)
    machine.facts.by_layer[machine.frame.function, key].append(event)
    if state is not None:
        machine.mark_read(state)
    return event


def _name_of(node: ast.expr) -> str:
    """Return how the source calls something, in at most 40 characters."""
    if isinstance(node, ast.Call):
        return f"{_name_of(node.func)}(…)"
    text = ast.unparse(node)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _result(spec: v.Spec, event: LayerCall) -> v.Abstract:
    """Return what the layer gives back, in its framework's form."""
    number, enters = event.number, event.enters
    passed = frozenset(sorted(enters.passed | {number})[-v.MOST_ORIGINS :])
    parts: tuple[v.Abstract, ...] = tuple(v.Emitted(number, index) for index in range(spec.parts or 0))
    first = parts[0] if parts else v.Emitted(number)
    if spec.cell and spec.framework == "torch":
        return first if spec.parts == 1 else v.Many(parts)
    if spec.cell:
        return v.Many((first, v.Many(parts) if parts else first))
    whole = v.Data(enters.origins, passed, whole_of=number, grown=enters.grown)
    if spec.framework == "torch":
        return v.Many((whole, v.Many(parts) if spec.parts == 2 else first))
    if spec.framework == "keras" and spec.returns_sequences is False:
        whole = v.Data(v.traced(enters.origins, ("cut", number)), passed, last_of=number)
    if not spec.returns_state:
        return whole
    return v.Many((whole, *parts)) if parts else v.Many((whole, first), open=True)


# Models


def _add_stateful(call: Call, model: v.Abstract) -> None:
    known = call.machine.facts.stateful_models
    parts = [leaf for value in call.all for leaf in v.leaves(value)]
    stateful = any(part in known or (isinstance(part, v.LayerValue) and part.spec.stateful is True) for part in parts)
    if stateful and isinstance(model, v.Object):
        known.add(model)


def _fit(call: Call, model: v.Abstract) -> None:
    """Keep the training of a model that is stateful whatever branch was taken."""
    machine, node = call.machine, call.node
    stateful = all(option in machine.facts.stateful_models for option in v.alternatives(model))
    if stateful and isinstance(node.func, ast.Attribute):
        data = machine.facts.data_of(call.get(0, "x") or v.NOTHING)
        machine.facts.fits.setdefault(node, (_name_of(node.func.value), _SHUFFLED in data.origins))


def _graph(call: Call, graph: v.Graph) -> v.Abstract:
    """Run a functional model: it is followed where its own states come in and go out."""
    machine = call.machine
    inputs = call.positional[0] if call.positional else None
    carriers = [item.carrier for item in graph.inputs if isinstance(item, v.Incoming)]
    given = (leaf for event in machine.facts.events for _, leaf in event.sources)
    used = {leaf.carrier for leaf in given if isinstance(leaf, v.Incoming) and leaf.carrier.startswith("input ")}
    places = {index for index, carrier in enumerate(carriers) if carrier in used}  # inputs that are a layer's state
    outputs = [index for index, item in enumerate(graph.outputs) if isinstance(item, v.Emitted)]
    if not places or not outputs or not isinstance(inputs, v.Many) or len(carriers) != len(graph.inputs):
        return _unknown(call)
    items = v.flat(inputs)
    states = [item for index, item in enumerate(items) if index in places]
    enters = machine.blend(item for index, item in enumerate(items) if index not in places)
    event = _new_event(call, ("graph", *carriers), _GRAPH, enters, v.Many(tuple(states)))
    rest = v.Data(enters.origins, enters.passed | {event.number})
    places_out = range(len(graph.outputs))
    return v.Many(tuple(v.Emitted(event.number, index) if index in outputs else rest for index in places_out))


def _unknown(call: Call) -> v.Abstract:
    """Call something of which at most the last name is known."""
    for value in call.all:
        call.machine.mark_read(value)
    return _operate(call, call.node.func.attr if isinstance(call.node.func, ast.Attribute) else "", call.all)


# Methods


def _method(call: Call, callee: v.Method) -> v.Abstract:
    machine, owner, name = call.machine, callee.owner, callee.name
    match owner:
        case v.LayerValue() if name in ("get_initial_state", "zero_state"):
            return v.Many((v.Initial(),) * 2) if owner.spec.parts == 2 else v.Initial()
        case v.LayerValue():
            return owner if name in ("to", "cuda", "cpu", "double", "float", "half", "eval", "train") else v.NOTHING
        case v.Graph() if name in ("predict", "predict_on_batch", "__call__", "call"):
            return _graph(call, owner)
        case v.Incoming(path=()) if name == "assign" and owner.carrier.startswith("self.") and call.positional:
            machine.mark_read(call.positional[0])
            machine.env[owner.carrier] = call.positional[0]
            return call.positional[0]
    if changed := _change(call, owner, name):
        return changed
    same = isinstance(owner, v.Incoming) and name in names.SAME_STATE
    if isinstance(owner, v.Incoming) and not same:
        machine.note_read(owner)
    if name == "add":
        _add_stateful(call, owner)
    if name == "fit":
        _fit(call, owner)
    for value in (owner, *call.all):
        machine.mark_read(value)
    return owner if same else _operate(call, name, [owner, *call.all])


def _change(call: Call, owner: v.Abstract, name: str) -> v.Abstract | None:
    """Call a method that changes a container in place or takes from it; return None if it is not known to."""
    if not isinstance(call.node.func, ast.Attribute):
        return None
    machine, target = call.machine, call.node.func.value
    if name in ("append", "extend", "insert"):
        return _append(call, target, owner, name)
    if name in ("pop", "get") and isinstance(owner, v.Many | v.Incoming | v.DictValue):
        return _pop(call, target, owner, name)
    if name in names.CHANGES and isinstance(owner, v.Many | v.Choice | v.DictValue | v.Incoming):
        rebind(machine, target, CHANGED)
        return v.NOTHING
    return None


def _append(call: Call, target: ast.expr, owner: v.Abstract, name: str) -> v.Abstract:
    machine, new = call.machine, tuple(call.positional[-1:])
    for value in new:
        machine.mark_read(value)
        note_change(machine, target, owner, value)
    if name == "extend" and new and isinstance(new[0], v.Many):
        new = new[0].items
    if isinstance(owner, v.Many):
        place = _literal(call.positional[0]) if name == "insert" and new else len(owner.items)
        items = (*owner.items[:place], *new, *owner.items[place:]) if isinstance(place, int) else ()
        grown = v.Many(items[: v.MOST_ITEMS], owner.open or bool(machine.loops) or len(items) > v.MOST_ITEMS)
        rebind(machine, target, grown if items else CHANGED)
    elif isinstance(owner, v.Choice | v.Incoming):
        rebind(machine, target, CHANGED)
    return v.NOTHING


def _pop(call: Call, target: ast.expr, owner: v.Abstract, name: str) -> v.Abstract | None:
    key = _literal(call.positional[0]) if call.positional else -1
    named = isinstance(key, str)
    if key is None or (named and isinstance(owner, v.Many)) or (not named and isinstance(owner, v.DictValue)):
        return None
    item = call.machine.facts.part(owner, key)
    if name == "get":
        return item
    rest: v.Abstract = CHANGED
    if isinstance(owner, v.Incoming) and key in (0, -1):
        rest = call.machine.facts.section(owner, *((1, None) if key == 0 else (None, -1)))
    rebind(call.machine, target, rest)
    return item


def _literal(value: v.Abstract) -> object:
    """Return the literal or running number that a value is; None for other values."""
    key = value.value if isinstance(value, v.Const) else v.index_of(value) if isinstance(value, v.LoopIndex) else None
    return None if isinstance(key, bool) else key


# Methods of the running class


def _follow(call: Call, name: str) -> v.Abstract:
    """Follow a call of an own method, unless it is inside of such a call, recursive, or does not fit the parameters."""
    machine, frame = call.machine, call.machine.frame
    function = frame.owner.methods.get(name) if frame.owner else None
    if function is None or frame.call or frame.function.node is function:
        return _unknown(call)
    self_name, parameters = parameters_of(function, is_method=True)
    if call.unknown or (len(call.positional) > len(parameters) and function.args.vararg is None):
        return _unknown(call)
    defaults: dict[str, v.Abstract] = {
        name: v.Const(default.value) if isinstance(default, ast.Constant) else v.NOTHING
        for name, default in defaults_of(function)
    }
    arguments = dict(zip(parameters, call.positional, strict=False))
    arguments |= {name: value for name, value in call.named.items() if name in parameters}
    place = (("in", call.node.lineno, call.node.col_offset),)
    inner = Frame(frame.function, self_name, frame.owner, place)
    end = machine.run_function(function, inner, {**defaults, **arguments})
    # What the call did to attributes lasts.
    machine.env.update({name: value for name, value in end.items() if name.startswith("self.")})
    return v.choice(inner.returned or [v.NONE])
