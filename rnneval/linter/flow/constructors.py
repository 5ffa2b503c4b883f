"""Constructors: recurrent layers, their wrappers, inputs and functional models of Keras."""

import ast
from typing import TYPE_CHECKING

from rnneval.linter.flow import naming
from rnneval.linter.flow.machine import Machine
from rnneval.linter.flow.values import Const, Data, Graph, Incoming, Layer, Many, Object, Spec, Value

if TYPE_CHECKING:
    from rnneval.linter.flow.calling import Arguments


def construct(machine: Machine, node: ast.Call, name: str, arguments: "Arguments") -> Value | None:
    """Give what a constructor makes; None if it is not one of these."""
    known = naming.recurrent(name)
    if known is not None:
        return _layer(machine, node, known, arguments)
    match name.rpartition(".")[2] if naming.is_keras(name) else "":
        case "Bidirectional":
            made = _both_ways(machine, node, arguments)
        case "TimeDistributed":
            made = Object(name, machine.key(node))
        case "Input":
            made = Incoming(f"input {machine.key(node)}")
        case "Model":
            made = _model(machine, arguments)
        case _:
            return None
    return made


def _layer(machine: Machine, node: ast.Call, known: tuple[str, str | None, bool], arguments: "Arguments") -> Value:
    framework, kind, cell = known
    spec = _torch(kind, cell, arguments) if framework == "torch" else _keras(kind, cell, arguments)
    return _register(machine, node, Layer(machine.key(node), spec))


def _register(machine: Machine, node: ast.Call, layer: Layer) -> Layer:
    machine.facts.specs[layer.key] = layer.spec
    machine.facts.places[layer.key] = node
    return layer


def _torch(kind: str | None, cell: bool, arguments: "Arguments") -> Spec:
    both = _flag(arguments, "bidirectional", False)
    return Spec(
        framework="torch",
        kind=kind,
        cell=cell,
        bidirectional=both is not False,
        returns_state=True,
        returns_sequences=not cell,
    )


def _keras(kind: str | None, cell: bool, arguments: "Arguments") -> Spec:
    if kind is None and arguments.positional:
        # RNN(cell): one layer whose state is the cell's; of a list of cells only that it is one layer is known.
        inner = arguments.positional[0]
        kind = inner.spec.kind if isinstance(inner, Layer) and inner.spec.cell else None
    return Spec(
        framework="keras",
        kind=kind,
        cell=cell,
        returns_state=_flag(arguments, "return_state", False),
        returns_sequences=_flag(arguments, "return_sequences", False),
        stateful=_flag(arguments, "stateful", False),
        backwards=_flag(arguments, "go_backwards", False) is not False,
    )


def _flag(arguments: "Arguments", name: str, default: bool) -> bool | None:
    value = arguments.named.get(name)
    if value is None:
        return None if arguments.rest else default
    return value.value if isinstance(value, Const) and isinstance(value.value, bool) else None


def _both_ways(machine: Machine, node: ast.Call, arguments: "Arguments") -> Value:
    inner = arguments.get(0, "layer")
    if not isinstance(inner, Layer):
        return Object("keras.layers.Bidirectional", machine.key(node))
    machine.facts.specs.pop(inner.key, None)
    old = inner.spec
    spec = Spec(
        framework="keras",
        kind=old.kind,
        bidirectional=True,
        returns_state=old.returns_state if _merged(arguments) else None,
        returns_sequences=old.returns_sequences,
        stateful=old.stateful,
    )
    return _register(machine, node, Layer(machine.key(node), spec))


def _merged(arguments: "Arguments") -> bool:
    """Tell whether both directions come out as one sequence: with `merge_mode=None` there are two."""
    mode = arguments.named.get("merge_mode")
    return mode is None or (isinstance(mode, Const) and isinstance(mode.value, str))


def _model(machine: Machine, arguments: "Arguments") -> Value:
    inputs, outputs = arguments.get(0, "inputs", "input"), arguments.get(1, "outputs", "output")
    if inputs is None or outputs is None:
        return Data(frozenset({"model"}))
    graph = Graph(_flat(inputs), _flat(outputs))
    machine.graphs.append((machine.frame.function.number, graph))
    return graph


def _flat(value: Value) -> tuple[Value, ...]:
    if isinstance(value, Many):
        return tuple(inner for item in value.items for inner in _flat(item))
    return (value,)
