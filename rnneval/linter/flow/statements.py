"""Statements, and the order in which a file is run: the module, each class when it is defined, then the functions."""

import ast
from collections.abc import Iterator, Sequence

from rnneval.linter.finding import within
from rnneval.linter.flow.calls import evaluate_call
from rnneval.linter.flow.expressions import EXPRESSIONS, Elements, assign, loop, narrow, target_names
from rnneval.linter.flow.facts import Carried, Event, Facts, Function, FunctionNode, parameters_of
from rnneval.linter.flow.machine import Class, Env, Frame, Machine, Summary
from rnneval.linter.flow.values import (
    NONE,
    NOTHING,
    Emitted,
    Graph,
    Incoming,
    Layer,
    Local,
    Many,
    Object,
    Path,
    Record,
    Step,
    Table,
    Value,
    alternatives,
    blend,
    emissions,
    leaves,
)

_AFTER_FIRST = frozenset(range(1, 9))
_FIRST = ("__init__", "build", "setup", "__post_init__")
"""Methods that make the layers of a class."""


def gather(tree: ast.Module) -> Facts:
    """Run a file once and return its facts."""
    machine = Machine(tree, EXPRESSIONS | {ast.Call: evaluate_call}, run_statement)
    for node in tree.body:
        if isinstance(node, FunctionNode):
            machine.functions[node.name] = node
    machine.run(tree.body)
    module = machine.facts.functions[0]
    module.carried = _carried(machine, module, machine.env)
    for function in machine.waiting:
        if _is_worth_running(machine, function):
            _enter(machine, function, None)
    return machine.facts


def _is_worth_running(machine: Machine, node: FunctionNode) -> bool:
    """Return whether a function has to do with layers or with models of the file at all."""
    if within(machine.survey.made, node):
        return True
    names = (inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))
    held = machine.top.names
    return any(name in machine.classes or (name in held and _holds_layers(held[name])) for name in names)


def _holds_layers(value: Value) -> bool:
    """Return whether the value holds layers or models, which last; states change from call to call."""
    return any(isinstance(leaf, Layer | Object | Graph) for leaf in leaves(value))


def run_statement(machine: Machine, node: ast.stmt) -> None:
    """Run a statement."""
    match node:
        case ast.Assign():
            machine.targets = target_names(node.targets[-1])
            value = machine.value_of(node.value)
            machine.targets = ()
            for target in node.targets:
                assign(machine, target, value)
        case ast.AnnAssign(value=ast.expr() as given):
            assign(machine, node.target, machine.value_of(given))
        case ast.AugAssign():
            held, added = machine.value_of(node.target, quiet=True), machine.value_of(node.value)
            if isinstance(held, Many) and isinstance(added, Many) and isinstance(node.op, ast.Add):
                both: Value = Many((*held.items, *added.items), held.open or added.open or bool(machine.loops))
            else:
                both = blend((machine.data_of(held), machine.data_of(added)))
            assign(machine, node.target, both)
        case ast.Expr() if not isinstance(node.value, ast.Constant):
            machine.value_of(node.value)
        case ast.Delete():
            machine.env.names |= {target.id: NOTHING for target in node.targets if isinstance(target, ast.Name)}
        case ast.Return() | ast.Raise() | ast.Break() | ast.Continue():
            _leave(machine, node)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            machine.functions[node.name] = node
            machine.waiting += [node] if machine.frame.function.number == 0 else []
            machine.env.names[node.name] = Local(node.name, "function")
        case ast.ClassDef():
            _class(machine, node)
        case _:
            _run_compound(machine, node)


def _leave(machine: Machine, node: ast.Return | ast.Raise | ast.Break | ast.Continue) -> None:
    frame = machine.frame
    if isinstance(node, ast.Return):
        value = NONE if node.value is None else machine.value_of(node.value)
        frame.returned.append(value)
        if frame.depth == 0:
            frame.function.returns.append((node, value))
        frame.exits.append(machine.env.flattened(frame.base))
    elif not isinstance(node, ast.Raise) and machine.loop_envs:
        machine.loop_exits[-1].append(machine.env.flattened(machine.loop_envs[-1]))
    machine.env.dead = True


def _run_compound(machine: Machine, node: ast.stmt) -> None:
    """Run a statement that has statements inside it, and is no definition."""
    match node:
        case ast.If():
            machine.value_of(node.test, quiet=True)
            when_true, when_false = narrow(machine, node.test)
            _branch(machine, ((when_true, node.body), (when_false, node.orelse)))
        case ast.For() | ast.AsyncFor():
            elements = Elements(machine, node.iter)

            def one_pass(running: Step) -> None:
                assign(machine, node.target, elements.at(running))
                machine.run(node.body)

            loop(machine, elements.layers, one_pass)
            machine.run(node.orelse)
        case ast.While():
            machine.value_of(node.test, quiet=True)
            loop(machine, 0, lambda _: machine.run(node.body))
            machine.run(node.orelse)
        case ast.With() | ast.AsyncWith():
            for item in node.items:
                value = machine.value_of(item.context_expr)
                if item.optional_vars is not None:
                    assign(machine, item.optional_vars, machine.data_of(value))
            machine.run(node.body)
        case ast.Try() | ast.TryStar():
            _branch(machine, [({}, [*node.body, *node.orelse]), *(({}, handler.body) for handler in node.handlers)])
            machine.run(node.finalbody)
        case ast.Match():
            machine.value_of(node.subject)
            _branch(machine, [*(({}, case.body) for case in node.cases), ({}, [])])


def _branch(machine: Machine, ways: Sequence[tuple[dict[str, Value] | None, Sequence[ast.stmt]]]) -> None:
    """Run every way that can be taken, and join what they leave."""
    base, ends = machine.env, []
    for known, body in ways:
        if known is None:
            continue
        machine.env = Env(base)
        machine.env.names.update(known)
        machine.run(body)
        # What a test has shown about a name holds inside the branch only, unless the branch assigns it.
        for name, value in known.items():
            if machine.env.names.get(name) is value:
                del machine.env.names[name]
        ends.append(machine.env)
    machine.env = base
    base.meet(ends)


# Definitions


def _class(machine: Machine, node: ast.ClassDef) -> None:
    """Read a class: first the methods that make its layers, then every other method once."""
    fields = _fields(node)
    if fields:
        machine.records[node.name] = Record(fields)
        return
    methods = {item.name: item for item in node.body if isinstance(item, FunctionNode)}
    bases = tuple(base.id for base in node.bases if isinstance(base, ast.Name))
    known = machine.classes[node.name] = Class(node.name, bases, methods)
    makers = [methods[name] for name in _FIRST if name in methods]
    makers += [method for method in methods.values() if method not in makers and within(machine.survey.made, method)]
    for method in makers:
        _enter(machine, method, known)
    # A class without layers of its own may step a model: `OneStep` of TensorFlow's text tutorial does.
    calls_models = any(known.carrying_methods for known in machine.classes.values()) or within(
        machine.survey.stepped, node
    )
    if known.attributes or calls_models or any(base in machine.classes for base in bases):
        for method in methods.values():
            if method not in makers:
                _enter(machine, method, known)
    machine.env.names.pop(node.name, None)


def _fields(node: ast.ClassDef) -> tuple[str, ...]:
    """Return the fields of a NamedTuple or dataclass that has nothing else; none for other classes."""
    marks = (*node.bases, *(item.func if isinstance(item, ast.Call) else item for item in node.decorator_list))
    kinds = {ast.unparse(mark).rpartition(".")[2] for mark in marks}
    if not kinds & {"NamedTuple", "dataclass"} or len(node.bases) > 1:
        return ()
    fields = [item for item in node.body if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))]
    names = [item.target.id for item in fields if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)]
    return tuple(names) if len(names) == len(fields) else ()


def _enter(machine: Machine, node: FunctionNode, owner: Class | None) -> None:
    """Run a method or function by itself, with unknown arguments; keep the layers and states that it leaves."""
    self_name, parameters = parameters_of(node, owner is not None)
    function = Function(len(machine.facts.functions), node.name, owner.name if owner else None, node, parameters)
    machine.facts.functions.append(function)
    names: dict[str, Value] = {name: Incoming(name) for name in parameters}
    if self_name is not None:
        names[self_name] = NOTHING
    loops, used = machine.loops, machine.budget_used - machine.used_before_entry
    machine.loops, machine.used_before_entry = (), machine.budget_used
    left = machine.run_function(node, Frame(function, machine.top, self_name, function.owner), names)
    machine.loops, machine.used_before_entry = loops, machine.budget_used - used
    function.carried = _carried(machine, function, left)
    if owner is None:
        return
    for name, value in left.names.items():
        if name.startswith("self.") and _holds_layers(value):
            owner.attributes.setdefault(name[5:], value)
    summary = _summary(machine, function)
    if summary is not None:
        owner.carrying_methods[function.name] = summary


# Carrying: the states that a function takes in, paired with what it leaves there for its next call


def _carried(machine: Machine, function: Function, end: Env) -> tuple[Carried, ...]:
    """Pair every carrier that a layer's state came from with what is left there at the end."""
    used = _carriers(machine.facts.of(function))
    found = [
        Carried(carrier, value, returned=False)
        for carrier in used
        if carrier.startswith("self.") and (value := end.names.get(carrier)) is not None
    ]
    beside = {name for name, paths in used.items() if all(path and path[0] in _AFTER_FIRST for path in paths)}
    found += _returned(function, [name for name in function.parameters if name in used], beside)
    for number, graph in machine.graphs:
        if number == function.number:
            # The inputs of a functional model that are states, with the outputs that are, in their order.
            carriers = [item.carrier for item in graph.inputs if isinstance(item, Incoming) and item.carrier in used]
            states = [item for item in graph.outputs if isinstance(item, Emitted)]
            if len(carriers) == len(states):
                found += map(Carried, carriers, states)
    return tuple(found)


def _carriers(events: list[Event]) -> dict[str, list[Path]]:
    """Return the parameters and attributes that states came from, and the places in each, in the order of their use."""
    places: dict[str, list[Path]] = {}
    for event in events:
        for leaf in leaves(event.state) if event.state is not None else ():
            if isinstance(leaf, Incoming):
                places.setdefault(leaf.carrier, []).append(leaf.path)
    return places


def _returned(function: Function, used: list[str], beside: set[str]) -> Iterator[Carried]:
    """Pair parameters with parts of what is returned: one with one, or several in their order.

    A parameter that holds something else in front of the states (`beside`) is not paired with states alone.

    A parameter that nothing reads takes a state as well if as many states come back as there are parameters then.
    """
    unread = function.unread
    every = [name for name in function.parameters if name in used or name in unread]
    for _, value in function.returns:
        for option in alternatives(value):
            if not isinstance(option, Many) or option.open:
                continue
            parameters, parts = every, _state_parts(option, every)
            # As many layers as there are parameters must give back a state of one part each.
            givers = [part.event for part in parts if isinstance(part, Emitted)]
            if not len(every) > len(used) > 0 or not len(givers) == len(set(givers)) == len(every):
                parameters, parts = used, _state_parts(option, used)
            flat = bool(parts) and parts[0] not in option.items
            if len(parts) == len(parameters) and not (flat and parameters[0] in beside):
                yield from map(Carried, parameters, parts)


def _state_parts(returned: Many, parameters: list[str]) -> list[Value]:
    """Return the states among what is returned, as many as there are parameters; the first item is the output.

    A cell's output is its state, so that nothing is said where an output could be taken for a state.
    """

    def is_state(value: Value) -> bool:
        return any(
            isinstance(leaf, Emitted) or (isinstance(leaf, Incoming) and leaf.carrier in parameters)
            for leaf in leaves(value)
        )

    states = [item for item in returned.items if is_state(item)]
    output_is_state = bool(returned.items) and is_state(returned.items[0])
    if len(parameters) > 1:
        return states[1:] if output_is_state and len(states) == len(parameters) + 1 else states
    structures = [part for part in states if isinstance(part, Many | Table)]
    if len(structures) == 1:
        return [*structures]
    if output_is_state:
        return [returned] if len(states) == len(returned.items) and not structures else []
    return states if len(states) == 1 else [Many(tuple(states))] if states else []


def _summary(machine: Machine, function: Function) -> Summary | None:
    """Describe how a method carries its state, if one parameter comes back at one place of the returned tuple."""
    used = _carriers(machine.facts.of(function))
    parameters = [name for name in function.parameters if name in used]
    if len(parameters) != 1:
        return None
    places = set()
    for _, value in function.returns:
        for option in alternatives(value):
            if isinstance(option, Many) and not option.open:
                places |= {(at, len(option.items)) for at, item in enumerate(option.items) if emissions(item)}
    if len(places) != 1:
        return None
    index, length = places.pop()
    return Summary(parameters[0], function.parameters.index(parameters[0]), index, length)
