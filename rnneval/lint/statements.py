"""Statements: what is run: the module, each class when it is defined, then the functions.

A loop is run in two passes, or in one for each item of a known tuple of layers. A *turn* is the number of a pass, from
0. `break` and `continue` are passed over: what a branch with one has changed is believed from there on. Comprehensions
are here because they are loops.
"""

import ast
from collections import ChainMap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from rnneval.lint import values as v
from rnneval.lint.calls import evaluate_call
from rnneval.lint.expressions import EXPRESSIONS, update
from rnneval.lint.facts import Carried, FileFacts, FunctionFacts, FunctionNode, LoopPass, has_line, parameters_of
from rnneval.lint.machine import Class, Env, Frame, Machine

_MOST_TURNS = 6  # passes that are run of a loop over layers
_MOST_LOOPS_DEEP = 2  # loops within each other that are run twice; those inside of them are run once
_AFTER_FIRST = frozenset(range(1, 9))
_MOST_BASES = 6
_FIRST = ("__init__", "build", "setup", "__post_init__")  # methods that make the layers of a class


def gather(tree: ast.Module) -> FileFacts:
    """Run a file once and return its facts."""
    comprehensions = dict.fromkeys((ast.ListComp, ast.GeneratorExp, ast.SetComp, ast.DictComp), _comprehension)
    machine = Machine(tree, {**EXPRESSIONS, **comprehensions, ast.Call: evaluate_call}, _run_statement)
    machine.run(tree.body)
    module = machine.facts.functions[0]
    module.carried = _carried(module, machine.env)
    layers = {name for name, value in machine.top.items() if _holds_layers(value)} | machine.makers
    for function in machine.waiting:
        names = (inner.id for inner in ast.walk(function) if isinstance(inner, ast.Name))
        if has_line(function, machine.facts.layer_lines) or not layers.isdisjoint(names):
            _enter(machine, function, None)
    return machine.facts


def _holds_layers(value: v.Abstract) -> bool:
    """Return whether the value holds layers or models, which last; states change from call to call."""
    return any(isinstance(leaf, v.LayerValue | v.Object | v.Graph) for leaf in v.leaves(value))


def _run_statement(machine: Machine, node: ast.stmt) -> None:
    match node:
        case ast.Assign():
            value = machine.value_of(node.value)
            for target in node.targets:
                _assign(machine, target, value)
        case ast.AnnAssign(value=ast.expr() as given):
            _assign(machine, node.target, machine.value_of(given))
        case ast.AugAssign():
            pieces = machine.value_of(node.target, quiet=True), machine.value_of(node.value)
            _assign(machine, node.target, v.blend(map(machine.facts.data_of, pieces)))
        case ast.Expr() if not isinstance(node.value, ast.Constant):
            machine.value_of(node.value)
        case ast.Return():
            _return(machine, node)
        case ast.Raise():
            machine.env.dead = True
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            of_module = machine.frame.function is machine.facts.functions[0]
            machine.waiting += [node] if of_module else []
            maker = of_module and has_line(node, machine.facts.stateful)
            machine.makers |= {node.name} if maker else set()
            machine.env[node.name] = v.GlobalName(node.name) if maker else v.Data(frozenset({("name", node.name)}))
        case ast.ClassDef():
            _class(machine, node)
        case _:
            _run_compound(machine, node)


def _return(machine: Machine, node: ast.Return) -> None:
    frame, value = machine.frame, v.NONE if node.value is None else machine.value_of(node.value)
    frame.returned.append(value)
    if not frame.call:
        frame.function.returns.append((node, value))
    frame.exits.append(Env(machine.env))
    machine.env.dead = True


def _run_compound(machine: Machine, node: ast.stmt) -> None:
    """Run a statement that has statements inside it, and is no definition."""
    match node:
        case ast.If():
            machine.value_of(node.test, quiet=True)
            _branch(machine, [node.body, node.orelse])
        case ast.For() | ast.AsyncFor():
            _loop(machine, node.target, _elements(machine, node.iter), lambda: machine.run(node.body))
            machine.run(node.orelse)
        case ast.While():
            machine.value_of(node.test, quiet=True)
            _loop(machine, None, _Elements(lambda running: running), lambda: machine.run(node.body))
            machine.run(node.orelse)
        case ast.With() | ast.AsyncWith():
            for item in node.items:
                machine.value_of(item.context_expr)
            machine.run(node.body)
        case ast.Try() | ast.TryStar():
            _branch(machine, [[*node.body, *node.orelse], *(handler.body for handler in node.handlers)])
            machine.run(node.finalbody)


def _branch(machine: Machine, ways: Sequence[Sequence[ast.stmt]]) -> None:
    base, ends = machine.env, []
    for body in ways:
        machine.env = machine.branch(base)
        machine.run(body)
        ends.append(machine.env)
    machine.env = base
    base.meet(ends)


# Assignments


def _assign(machine: Machine, target: ast.expr, value: v.Abstract) -> None:
    match target:
        case ast.Name():
            machine.env[target.id] = value
            function = machine.frame.function
            if not machine.frame.call and target.id in function.parameters:
                function.overwritten.setdefault(target.id, []).append(value)
        case ast.Attribute():
            machine.mark_read(value)
            if name := machine.attribute_name(target):
                machine.env[name] = value
            else:
                machine.value_of(target.value)
        case ast.Subscript():
            key = machine.index_value(target.slice)
            update(machine, target.value, machine.value_of(target.value, quiet=True), key, value)
        case ast.Starred():
            _assign(machine, target.value, value)
        case ast.Tuple() | ast.List():
            for inner, item in zip(target.elts, _unpacked(machine, value, target.elts), strict=True):
                _assign(machine, inner, item)


def _unpacked(machine: Machine, value: v.Abstract, targets: list[ast.expr]) -> list[v.Abstract]:
    """Return the part of each target, where one starred target takes the rest."""
    part = partial(machine.facts.part, value)
    star = next((index for index, target in enumerate(targets) if isinstance(target, ast.Starred)), None)
    if star is None:
        return [part(index) for index in range(len(targets))]
    after = len(targets) - star - 1
    rest = machine.facts.section(value, star, -after or None)
    return [*map(part, range(star)), rest, *map(part, range(-after, 0))]


# Loops and comprehensions


@dataclass(frozen=True, slots=True)
class _Elements:
    """The iterable of a loop: an element for each pass."""

    at: Callable[[v.LoopIndex], v.Abstract]
    layers: int = 0  # number of passes that a known tuple of layers asks for; 0 if none is known
    open: bool = False  # whether there may be more elements than are known


def _elements(machine: Machine, node: ast.expr) -> _Elements:
    role, arguments = "", list[ast.expr]()
    if isinstance(node, ast.Call) and isinstance(function := machine.value_of(node.func, quiet=True), v.GlobalName):
        role, arguments = function.name.rpartition(".")[2], node.args
    match role, arguments:
        case "enumerate" | "zip", [first, *others]:
            several = [first, *others] if role == "zip" else [first]
            inner = [_elements(machine, argument) for argument in several if not isinstance(argument, ast.Starred)]

            def together(running: v.LoopIndex) -> v.Abstract:
                items = tuple(each.at(running) for each in inner)
                return v.Many(items if role == "zip" else (running, *items))

            layers = max((each.layers for each in inner), default=0)
            return _Elements(together, layers, any(each.open for each in inner))
        case "range", _:
            bounds = [machine.value_of(argument) for argument in arguments]
            start = bounds[0] if len(bounds) == 2 else v.Const(0)
            if isinstance(start, v.Const) and isinstance(begin := start.value, int) and len(bounds) < 3:
                return _Elements(lambda running: v.LoopIndex(running.loop, running.turn, begin))
        case "reversed", [argument]:
            return _of_value(machine, machine.value_of(argument), node, backwards=True)
    return _of_value(machine, machine.value_of(node), node)


def _of_value(machine: Machine, value: v.Abstract, node: ast.expr, *, backwards: bool = False) -> _Elements:
    options = v.alternatives(value)
    items = [item for option in options if isinstance(option, v.Many) for item in option.items]
    is_open = isinstance(value, v.Many) and value.open
    layers = any(isinstance(option, v.LayerValue) for item in items for option in v.alternatives(item))

    def at(running: v.LoopIndex) -> v.Abstract:
        if any(isinstance(option, v.Many | v.Incoming | v.DictValue) for option in options):
            key = -1 - running.turn if backwards else running
            return v.choice(machine.facts.part(option, key) for option in options)
        data = machine.facts.data_of(value)
        return v.Data(v.traced(data.origins, ("item", node.lineno, running.turn)), data.passed)

    return _Elements(at, len(items) if layers else 0, is_open)


def _loop(machine: Machine, target: ast.expr | None, elements: _Elements, body: Callable[[], None]) -> None:
    """Run the passes of a loop: two, or one for each of so many layers, which are places in a stack."""
    layers = elements.layers
    machine.loop_count += 1
    number, outer, base = machine.loop_count, machine.loops, machine.env
    deep = len(outer) >= _MOST_LOOPS_DEEP
    for turn in range(1 if deep and not layers else min(layers, _MOST_TURNS) or 2):
        machine.loops = (*outer, LoopPass(number, turn, bool(layers)))
        machine.env = start = machine.branch(base)
        if target is not None:
            _assign(machine, target, elements.at(v.LoopIndex(number, turn)))
        body()
        machine.env = base
        base.meet([start])
    machine.loops = outer


def _comprehension(machine: Machine, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> v.Abstract:
    """Run a comprehension: return a list of what its passes give."""
    items: list[v.Abstract] = []
    is_open = True

    def level(generator: ast.comprehension, *inner: ast.comprehension) -> None:
        nonlocal is_open
        elements = _elements(machine, generator.iter)
        is_open = not elements.layers or elements.open or bool(generator.ifs)

        def one_pass() -> None:
            for test in generator.ifs:
                machine.value_of(test, quiet=True)
            if inner:
                level(*inner)
            else:
                items.append(machine.value_of(node.value if isinstance(node, ast.DictComp) else node.elt))

        _loop(machine, generator.target, elements, one_pass)

    base = machine.env
    machine.env = machine.branch(base)
    level(*node.generators)
    machine.env = base
    return v.NOTHING if isinstance(node, ast.DictComp) else v.Many(tuple(items[:8]), is_open)


# Definitions


def _class(machine: Machine, node: ast.ClassDef) -> None:
    """Read a class: first the methods that make its layers, then every other method once."""
    methods = {item.name: item for item in node.body if isinstance(item, FunctionNode)}
    names = (base.id for base in node.bases if isinstance(base, ast.Name))
    bases = [machine.classes[name] for name in names if name in machine.classes]
    if has_line(node, machine.facts.stateful) and "fit" not in methods:
        machine.makers.add(node.name)
    inherited = [each for base in bases for each in base.methods.maps][:_MOST_BASES]
    attributes = [each for base in bases for each in base.attributes.maps][:_MOST_BASES]
    known = Class(node.name, ChainMap(methods, *inherited), ChainMap({}, *attributes))
    machine.classes[node.name] = known
    makers = [methods[name] for name in _FIRST if name in methods]
    makers += [each for each in methods.values() if each not in makers and has_line(each, machine.facts.layer_lines)]
    for method in makers:
        _enter(machine, method, known)
    for method in methods.values() if known.attributes or bases else ():
        if method not in makers:
            _enter(machine, method, known)
    machine.env.pop(node.name, None)


def _enter(machine: Machine, node: FunctionNode, owner: Class | None) -> None:
    """Run a method or function by itself, with unknown arguments; keep the layers and states that it leaves."""
    self_name, parameters = parameters_of(node, owner is not None)
    function = FunctionFacts(node.name, owner.name if owner else None, node, parameters)
    machine.facts.functions.append(function)
    names: dict[str, v.Abstract] = {name: v.Incoming(name) for name in parameters}
    if self_name is not None:
        names[self_name] = v.NOTHING
    loops, machine.loops = machine.loops, ()
    end = machine.run_function(node, Frame(function, self_name, owner), names)
    machine.loops = loops
    function.carried = _carried(function, end)
    if owner is None:
        return
    for name, value in end.items():
        if name.startswith("self.") and _holds_layers(value):
            owner.attributes.maps[0].setdefault(name[5:], value)


# Carrying: the states that a function takes in, paired with what it leaves there for its next call


def _carried(function: FunctionFacts, end: Env) -> tuple[Carried, ...]:
    """Pair every carrier that a layer's state came from with what is left there at the end."""
    used: dict[str, list[v.Path]] = {}  # the places in each carrier, in the order of their use
    for event in function.events:
        for leaf in v.leaves(event.state) if event.state is not None else ():
            if isinstance(leaf, v.Incoming):
                used.setdefault(leaf.carrier, []).append(leaf.path)
    carried = [
        Carried(carrier, value, returned=False)
        for carrier in used
        if carrier.startswith("self.") and (value := end.get(carrier)) is not None
    ]
    beside = {name for name, paths in used.items() if all(path and path[0] in _AFTER_FIRST for path in paths)}
    carried += _carried_by_returns(function, [name for name in function.parameters if name in used], beside)
    for graph in function.graphs:
        # The inputs of a functional model that are states, with the outputs that are, in their order.
        carriers = [item.carrier for item in graph.inputs if isinstance(item, v.Incoming) and item.carrier in used]
        states = [item for item in graph.outputs if isinstance(item, v.Emitted)]
        if len(carriers) == len(states):
            carried += map(Carried, carriers, states)
    return tuple(carried)


def _carried_by_returns(function: FunctionFacts, used: list[str], beside: set[str]) -> Iterator[Carried]:
    """Pair parameters with parts of what is returned; one that holds others `beside` states with no states alone."""
    for _, value in function.returns:
        for option in v.alternatives(value):
            if not isinstance(option, v.Many) or option.open:
                continue
            parts = _state_parts(option, used)
            flat = bool(parts) and parts[0] not in option.items
            if len(parts) == len(used) and not (flat and used[0] in beside):
                yield from map(Carried, used, parts)


def _state_parts(returned: v.Many, parameters: list[str]) -> list[v.Abstract]:
    """Return the states among what is returned, as many as there are parameters; the first item is the output.

    A cell's output is its state, so that nothing is said where an output could be taken for a state.
    """

    def is_state(value: v.Abstract) -> bool:
        return any(
            isinstance(leaf, v.Emitted) or (isinstance(leaf, v.Incoming) and leaf.carrier in parameters)
            for leaf in v.leaves(value)
        )

    states = [item for item in returned.items if is_state(item)]
    output_is_state = bool(returned.items) and is_state(returned.items[0])
    if len(parameters) > 1:
        return states[1:] if output_is_state and len(states) == len(parameters) + 1 else states
    structures = [part for part in states if isinstance(part, v.Many | v.DictValue)]
    if len(structures) == 1:
        return [*structures]
    if output_is_state:
        return [returned] if len(states) == len(returned.items) and not structures else []
    return states if len(states) == 1 else [v.Many(tuple(states))] if states else []
