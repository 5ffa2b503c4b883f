"""A passage through a recurrent layer, a cell, a model of the file, or a functional model."""

import ast
from typing import TYPE_CHECKING

from rnneval.linter.flow import operations
from rnneval.linter.flow.facts import Event
from rnneval.linter.flow.machine import Machine, Result, Summary
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
    Layer,
    Many,
    Object,
    Spec,
    Value,
    blend,
    choice,
    options,
    traced,
)
from rnneval.linter.flow.views import cut, data_of, mark_read, slots_of, through

if TYPE_CHECKING:
    from rnneval.linter.flow.calling import Arguments

MODEL = Spec(framework="file", kind="simple", returns_state=True, returns_sequences=True)
GUESS = Spec(framework="guess", kind="simple", returns_state=True, returns_sequences=True)


def name_of(node: ast.expr) -> str:
    """Say how the source calls something."""
    if isinstance(node, ast.Call):
        return f"{name_of(node.func)}(…)"
    text = ast.unparse(node)
    return text if len(text) <= 40 else f"{text[:39]}…"


def record(machine: Machine, node: ast.Call, key: Key, *, spec: Spec, enters: Data, state: Value | None) -> Event:
    """Keep one passage as an event."""
    event = Event(
        number=len(machine.facts.events),
        layer=key,
        name=name_of(node.func),
        spec=spec,
        node=node,
        enters=enters,
        state=state,
        slots=slots_of(machine, state, spec),
        turns=machine.loops,
        function=machine.frame.function.number,
    )
    machine.facts.add(event)
    machine.facts.names.setdefault(key, event.name)
    machine.latest[key] = event.number
    if state is not None:
        mark_read(machine, state)
    return event


def layer_call(machine: Machine, node: ast.Call, layer: Layer, arguments: "Arguments") -> Value:
    """Run a recurrent layer or cell once."""
    enters, state = _given(machine, layer, arguments)
    if enters is None:
        return NOTHING
    if state is not None and all(option == NONE for option in options(state)):
        state = None
    event = record(machine, node, layer.key, spec=layer.spec, enters=enters, state=state)
    result = _result(layer.spec, event)
    machine.results[id(result)] = Result(result, event.number)
    return result


def _given(machine: Machine, layer: Layer, arguments: "Arguments") -> tuple[Data | None, Value | None]:
    """Tell the sequence from the state among the arguments."""
    first = arguments.get(0, "inputs", "sequences", "sequence", "input", "x")
    if first is None:
        return (
            (through(blend(data_of(machine, value) for value in arguments.all)), None)
            if arguments.all
            else (None, None)
        )
    state = arguments.get(1, "initial_state", "states", "hx")
    keras = layer.spec.framework == "keras"
    if keras and isinstance(first, Many) and not first.open and len(first.items) > 1 and state is None:
        # The old way: layer([x, h, c]).
        return data_of(machine, first.items[0]), Many(first.items[1:])
    if arguments.starred or arguments.rest:
        state = state if state is not None else Data(frozenset({("more arguments", arguments.node.lineno)}))
    return data_of(machine, first), state


def _result(spec: Spec, event: Event) -> Value:
    """Give what the layer gives back, in its framework's form."""
    number, enters = event.number, event.enters
    passed = frozenset(sorted(enters.passed | {number})[-MOST_ORIGINS:])
    whole = Data(enters.origins, passed, whole_of=number, grown=enters.grown)
    if spec.framework == "keras" and not spec.cell and spec.returns_sequences is False:
        whole = Data(traced(enters.origins, ("cut", number)), passed, last_of=number)
    count = spec.slots
    slots = tuple(Emitted(number, index) for index in range(count)) if count else ()
    if spec.cell:
        return _of_cell(spec, number, slots)
    if spec.framework == "torch":
        return Many((whole, Many(slots) if count == 2 else (slots[0] if slots else Emitted(number))))
    if spec.returns_state is False:
        return whole
    if spec.returns_state is None:
        return Choice(frozenset({whole, Many((whole, *slots))})) if slots else whole
    return Many((whole, *slots)) if slots else Many((whole, Emitted(number)), open=True)


def _of_cell(spec: Spec, number: int, slots: tuple[Value, ...]) -> Value:
    first = slots[0] if slots else Emitted(number)
    if spec.framework == "torch":
        return first if spec.slots == 1 else Many(slots)
    return Many((first, Many(slots) if slots else Emitted(number)))


def layer_method(machine: Machine, node: ast.Call, layer: Layer, name: str, arguments: "Arguments") -> Value:
    """Call a method of a recurrent layer."""
    if name in ("call", "forward", "__call__"):
        return layer_call(machine, node, layer, arguments)
    if name in ("get_initial_state", "zero_state"):
        count = layer.spec.slots
        if count and count > 1:
            return Many(tuple(Initial(layer.key, index) for index in range(count)))
        return Initial(layer.key)
    if name in ("reset_states", "reset_state"):
        machine.frame.function.resets.append((node, layer.key))
    if name in ("to", "cuda", "cpu", "double", "float", "half", "eval", "train"):
        return layer
    return NOTHING


def model_call(machine: Machine, node: ast.Call, model: Object, step: Summary, arguments: "Arguments") -> Value:
    """Run a model of the file that takes a state in and gives it back."""
    state = arguments.get(step.position, step.parameter)
    if arguments.starred or arguments.rest:
        return unknown_call(machine, node, arguments)
    others = [value for value in arguments.all if value is not state]
    enters = through(blend(data_of(machine, value) for value in others)) if others else NOTHING
    event = record(machine, node, (*model.key, "model"), spec=MODEL, enters=enters, state=state)
    return _stepped(event, step.index, step.length)


def _stepped(event: Event, index: int, length: int) -> Value:
    rest = Data(event.enters.origins, event.enters.passed | {event.number})
    if length == 0:
        return choice((rest, Many((rest, Emitted(event.number)))))
    return Many(tuple(Emitted(event.number) if at == index else rest for at in range(length)))


def graph_call(machine: Machine, node: ast.Call, graph: Graph, arguments: "Arguments") -> Value:
    """Run a functional model: it is followed where its own states come in and go out."""
    given = arguments.positional[0] if arguments.positional else None
    carriers = [item.carrier for item in graph.inputs if isinstance(item, Incoming)]
    places = _state_inputs(machine, carriers)
    outputs = [index for index, item in enumerate(graph.outputs) if isinstance(item, Emitted)]
    if not places or not outputs or not isinstance(given, Many) or len(carriers) != len(graph.inputs):
        return unknown_call(machine, node, arguments)
    items = _flattened(given)
    if len(items) != len(graph.inputs):
        states, others = [given.items[-1]], list(given.items[:-1])
    else:
        states = [item for index, item in enumerate(items) if index in places]
        others = [item for index, item in enumerate(items) if index not in places]
    enters = through(blend(data_of(machine, value) for value in others)) if others else NOTHING
    event = record(machine, node, ("graph", *carriers), spec=MODEL, enters=enters, state=Many(tuple(states)))
    rest = Data(enters.origins, enters.passed | {event.number})
    return Many(
        tuple(Emitted(event.number, index) if index in outputs else rest for index in range(len(graph.outputs)))
    )


def _flattened(given: Many) -> list[Value]:
    return [
        inner for item in given.items for inner in (item.items if isinstance(item, Many) and not item.open else (item,))
    ]


def _state_inputs(machine: Machine, carriers: list[str]) -> set[int]:
    """Tell which inputs of a functional model go into a layer as its state."""
    used = {
        leaf.carrier
        for event in machine.facts.events
        for way in event.slots
        for leaf in way
        if isinstance(leaf, Incoming) and leaf.carrier.startswith("input ")
    }
    return {index for index, carrier in enumerate(carriers) if carrier in used}


def unknown_call(machine: Machine, node: ast.Call, arguments: "Arguments") -> Value:
    """Call something of which nothing is known."""
    found = carried_by_idiom(machine, node, arguments)
    if found is not None:
        return found
    for value in arguments.all:
        mark_read(machine, value)
    last = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if last in operations.FRESH:
        return Initial()
    if not arguments.all:
        return Data(frozenset({("made", node.lineno, node.col_offset)}))
    mixed = through(blend(data_of(machine, value) for value in arguments.all))
    return cut(mixed, (node.lineno, node.col_offset)) if last in operations.CUTS else mixed


def carried_by_idiom(machine: Machine, node: ast.Call, arguments: "Arguments") -> Value | None:
    """See `y, s = model(x, states=s)` and `return_state=True` as a step of a model that carries its state."""
    names = arguments.targets
    asked = arguments.named.get("return_state") == Const(True)
    given: list[tuple[int | str, Value]] = [*enumerate(arguments.positional), *arguments.named.items()]
    for place, value in given:
        name = _named(node, place)
        if name and name in names and len(names) > 1 and place != 0:
            return _guessed(machine, node, arguments, state=value, index=names.index(name), length=len(names))
        if (
            asked
            and isinstance(place, str)
            and place.startswith(("state", "hidden", "initial_state"))
            and len(names) == 2
        ):
            return _guessed(machine, node, arguments, state=value, index=1, length=2)
    return None


def _named(node: ast.Call, place: int | str) -> str | None:
    """Give the plain name that stands as an argument."""
    if isinstance(place, str):
        found = next((keyword.value for keyword in node.keywords if keyword.arg == place), None)
    else:
        found = node.args[place] if place < len(node.args) else None
    return found.id if isinstance(found, ast.Name) else None


def _guessed(
    machine: Machine, node: ast.Call, arguments: "Arguments", *, state: Value, index: int, length: int
) -> Value:
    others = [value for value in arguments.all if value is not state]
    enters = through(blend(data_of(machine, value) for value in others)) if others else NOTHING
    event = record(machine, node, ("guess", name_of(node.func)), spec=GUESS, enters=enters, state=state)
    return _stepped(event, index, length)
