"""Classes and functions of the file: their layers, their methods run once, calls of them followed."""

import ast
from typing import TYPE_CHECKING

from rnneval.linter.flow import carry, statements
from rnneval.linter.flow.env import Env
from rnneval.linter.flow.facts import Function
from rnneval.linter.flow.machine import MOST_CALLS_DEEP, Class, Frame, FunctionNode, Machine
from rnneval.linter.flow.values import (
    NONE,
    NOTHING,
    Const,
    Data,
    Graph,
    Incoming,
    Layer,
    Local,
    Many,
    Object,
    Value,
    choice,
    join,
    leaves,
    options,
)

if TYPE_CHECKING:
    from rnneval.linter.flow.calling import Arguments

FIRST = ("__init__", "build", "setup", "__post_init__")


def define(machine: Machine, node: ast.ClassDef) -> None:
    """Read a class: first what makes its layers, then every method once."""
    methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)}
    bases = tuple(base.id for base in node.bases if isinstance(base, ast.Name))
    known = Class(node.name, node, bases, methods)
    machine.classes[node.name] = known
    makers = [methods[name] for name in FIRST if name in methods]
    makers += [method for method in methods.values() if method not in makers and machine.survey.makes(method)]
    for method in makers:
        _enter(machine, method, known)
    if (
        any(machine.inherited(base, "") is None and base in machine.classes for base in bases)
        or known.attributes
        or _calls_models(machine, node)
    ):
        for method in methods.values():
            if method not in makers:
                _enter(machine, method, known)


def _calls_models(machine: Machine, node: ast.ClassDef) -> bool:
    """Tell whether a class may step a model: `OneStep` of the text tutorial has no layer of its own."""
    return any(known.steps for known in machine.classes.values()) or machine.survey.steps(node)


def _enter(machine: Machine, node: FunctionNode, owner: Class | None) -> None:
    """Run a method or function by itself, with unknown arguments."""
    outer = machine.frame, machine.env, machine.loops, machine.loop_envs, machine.loop_exits
    used = machine.steps - machine.started
    parameters = _parameters(node)
    own = bool(owner) and bool(parameters) and not _is_static(node)
    function = machine.begin(node, node.name, owner.name if owner else None, parameters[0] if own else None)
    machine.env, machine.loop_envs, machine.loop_exits = Env(machine.top, wall=True), [], []
    function.parameters = parameters[1:] if own else parameters
    for name in function.parameters:
        machine.env.names[name] = Incoming(name)
    if own:
        machine.env.names[parameters[0]] = Data()
    statements.run(machine, node.body)
    _leave(machine, function, owner, node)
    machine.frame, machine.env, machine.loops, machine.loop_envs, machine.loop_exits = outer
    machine.started = machine.steps - used


def _leave(machine: Machine, function: Function, owner: Class | None, node: FunctionNode) -> None:
    base, ends = Env(machine.top), list(machine.frame.exits)
    if not machine.env.dead:
        ends.append(machine.env)
    for end in ends:
        end.parent = machine.top
    base.meet(ends)
    if owner is not None:
        for name, value in base.names.items():
            if name.startswith("self.") and lasting(value):
                owner.attributes.setdefault(name[5:], value)
    function.carried = carry.carried(machine, function, base)
    step = carry.summary(machine, function)
    if owner is not None and step is not None:
        owner.steps[node.name] = step


def lasting(value: Value) -> bool:
    """Tell whether an attribute holds layers or models, which stay; states change from call to call."""
    return any(isinstance(leaf, Layer | Object | Graph) for leaf in leaves(value))


def _parameters(node: FunctionNode) -> tuple[str, ...]:
    arguments = node.args
    return tuple(argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs))


def _is_static(node: FunctionNode) -> bool:
    return any(isinstance(item, ast.Name) and item.id == "staticmethod" for item in node.decorator_list)


def local_function(machine: Machine, node: FunctionNode) -> Value:
    """Note a function of the file; it is run by itself when the module has been read."""
    machine.functions[node.name] = node
    if machine.frame.function.number == 0:
        machine.waiting.append(node)
    return Local(node.name, "function")


def run_functions(machine: Machine) -> None:
    """Run every function of the module by itself."""
    for node in machine.waiting:
        if _worth(machine, node):
            _enter(machine, node, None)


def _worth(machine: Machine, node: ast.AST) -> bool:
    """Tell whether a function has to do with layers or with models of the file at all."""
    return machine.survey.makes(node) or any(
        isinstance(inner, ast.Name) and _is_model(machine, inner.id) for inner in ast.walk(node)
    )


def _is_model(machine: Machine, name: str) -> bool:
    held = machine.top.names.get(name)
    return name in machine.classes or (held is not None and lasting(held))


def inline(
    machine: Machine, node: ast.Call, function: FunctionNode, owner: str | None, arguments: "Arguments"
) -> Value | None:
    """Follow a call of the file's own function; None where it is not followed."""
    frame = machine.frame
    if (
        frame.depth >= MOST_CALLS_DEEP
        or function in machine.running
        or frame.function.node is function
        or machine.gives_up()
    ):
        return None
    parameters = _parameters(function)
    own = owner is not None and bool(parameters) and not _is_static(function)
    bound = _bind(function, parameters[1:] if own else parameters, arguments)
    if bound is None:
        return None
    env, loop_state = machine.env, (machine.loop_envs, machine.loop_exits)
    machine.env, machine.loop_envs, machine.loop_exits = Env(env, wall=True), [], []
    machine.env.names.update(bound)
    place = ("in", node.lineno, node.col_offset)
    machine.frame = Frame(
        frame.function, env, parameters[0] if own else None, owner, (*frame.context, place), frame.depth + 1
    )
    machine.running.append(function)
    statements.run(machine, function.body)
    machine.running.pop()
    result = _returned(machine, env)
    machine.frame, machine.env, (machine.loop_envs, machine.loop_exits) = frame, env, loop_state
    return result


def _returned(machine: Machine, env: Env) -> Value:
    """Join what the call returns, and let what it did to attributes last."""
    ends = [*machine.frame.exits, *([] if machine.env.dead else [machine.env])]
    meeting = Env(env)
    for end in ends:
        end.parent = env
    meeting.meet(ends)
    env.names.update({name: value for name, value in meeting.names.items() if name.startswith("self.")})
    returned = list(machine.frame.returned)
    if not machine.env.dead and not returned:
        return NONE
    same = {len(value.items) if isinstance(value, Many) else -1 for value in returned}
    if len(same) == 1:
        joined = returned[0]
        for value in returned[1:]:
            joined = join(joined, value)
        return joined
    return choice(option for value in returned for option in options(value)) if returned else NOTHING


def _bind(function: FunctionNode, names: tuple[str, ...], arguments: "Arguments") -> dict[str, Value] | None:
    """Give the parameters their arguments, or what they are by default."""
    spec = function.args
    if arguments.starred or arguments.rest or (len(arguments.positional) > len(names) and spec.vararg is None):
        return None
    bound: dict[str, Value] = dict(zip(names, arguments.positional, strict=False))
    bound |= {name: value for name, value in arguments.named.items() if name in names}
    defaults = spec.defaults
    places = (*spec.posonlyargs, *spec.args)
    for argument, default in zip(places[len(places) - len(defaults) :], defaults, strict=True):
        bound.setdefault(argument.arg, _default(default))
    for argument, keyword_default in zip(spec.kwonlyargs, spec.kw_defaults, strict=True):
        if keyword_default is not None:
            bound.setdefault(argument.arg, _default(keyword_default))
    for name in names:
        bound.setdefault(name, Data(frozenset({("parameter", name)})))
    return bound


def _default(node: ast.expr) -> Value:
    return Const(node.value) if isinstance(node, ast.Constant) and isinstance(node.value, int | str | None) else NOTHING
