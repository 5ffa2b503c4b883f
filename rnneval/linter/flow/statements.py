"""Statements: each changes the scope it runs in."""

import ast
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rnneval.linter.flow import classes, looping
from rnneval.linter.flow.env import Env
from rnneval.linter.flow.expressions import value_of
from rnneval.linter.flow.machine import FunctionNode, Machine
from rnneval.linter.flow.narrowing import narrow
from rnneval.linter.flow.targets import assign, target_names
from rnneval.linter.flow.values import NONE, NOTHING, Many, Value, blend
from rnneval.linter.flow.views import data_of


def run(machine: Machine, body: Iterable[ast.stmt]) -> None:
    """Run statements until one of them leaves."""
    for statement in body:
        if machine.env.dead:
            return
        handler = _HANDLERS.get(type(statement))
        if handler is not None:
            handler(machine, statement)


def _assign(machine: Machine, node: ast.Assign) -> None:
    machine.targets = target_names(node.targets[-1])
    value = value_of(machine, node.value)
    machine.targets = ()
    for target in node.targets:
        assign(machine, target, value, node.value)


def _annotated(machine: Machine, node: ast.AnnAssign) -> None:
    if node.value is not None:
        assign(machine, node.target, value_of(machine, node.value), node.value)


def _augmented(machine: Machine, node: ast.AugAssign) -> None:
    held, added = value_of(machine, node.target, quiet=True), value_of(machine, node.value)
    if isinstance(held, Many) and isinstance(added, Many) and isinstance(node.op, ast.Add):
        both: Value = Many((*held.items, *added.items), held.open or added.open or bool(machine.loops))
    else:
        both = blend((data_of(machine, held), data_of(machine, added)))
    assign(machine, node.target, both, node.value)


def _expression(machine: Machine, node: ast.Expr) -> None:
    if not isinstance(node.value, ast.Constant):
        value_of(machine, node.value)


def _if(machine: Machine, node: ast.If) -> None:
    value_of(machine, node.test, quiet=True)
    when_true, when_false = narrow(machine, node.test)
    branch(machine, ((when_true, node.body), (when_false, node.orelse)))


def branch(machine: Machine, ways: Sequence[tuple[dict[str, Value] | None, Sequence[ast.stmt]]]) -> None:
    """Run every way that can be taken, and join what they leave."""
    base, ends = machine.env, []
    for known, body in ways:
        if known is None:
            continue
        machine.env = Env(base)
        machine.env.names.update(known)
        run(machine, body)
        # What a test has shown about a name holds inside of the branch only, unless the branch assigns it.
        for name, value in known.items():
            if machine.env.names.get(name) is value:
                del machine.env.names[name]
        ends.append(machine.env)
    machine.env = base
    base.meet(ends)


def _for(machine: Machine, node: ast.For) -> None:
    looping.over(
        machine,
        node.iter,
        lambda value: assign(machine, node.target, value, node.iter),
        lambda: run(machine, node.body),
    )
    run(machine, node.orelse)


def _while(machine: Machine, node: ast.While) -> None:
    value_of(machine, node.test, quiet=True)
    looping.again(machine, lambda: run(machine, node.body))
    run(machine, node.orelse)


def _with(machine: Machine, node: ast.With) -> None:
    for item in node.items:
        value = value_of(machine, item.context_expr)
        if item.optional_vars is not None:
            assign(machine, item.optional_vars, data_of(machine, value), item.context_expr)
    run(machine, node.body)


def _try(machine: Machine, node: ast.Try) -> None:
    ways: list[tuple[dict[str, Value] | None, Sequence[ast.stmt]]] = [({}, [*node.body, *node.orelse])]
    ways += [({}, handler.body) for handler in node.handlers]
    branch(machine, ways)
    run(machine, node.finalbody)


def _match(machine: Machine, node: ast.Match) -> None:
    value_of(machine, node.subject)
    branch(machine, [({}, case.body) for case in node.cases] + [({}, [])])


def _return(machine: Machine, node: ast.Return) -> None:
    value = NONE if node.value is None else value_of(machine, node.value)
    machine.frame.returned.append(value)
    if machine.frame.depth == 0:
        machine.frame.function.returns.append((node, value))
    machine.frame.exits.append(machine.env.flattened(machine.frame.base))
    machine.env.dead = True


def _leave(machine: Machine, node: ast.stmt) -> None:
    if not isinstance(node, ast.Raise) and machine.loop_envs:
        machine.loop_exits[-1].append(machine.env.flattened(machine.loop_envs[-1]))
    machine.env.dead = True


def _function(machine: Machine, node: FunctionNode) -> None:
    machine.env.names[node.name] = classes.local_function(machine, node)


def _class(machine: Machine, node: ast.ClassDef) -> None:
    classes.define(machine, node)
    machine.env.names.pop(node.name, None)


def _delete(machine: Machine, node: ast.Delete) -> None:
    for target in node.targets:
        if isinstance(target, ast.Name):
            machine.env.names[target.id] = NOTHING


_HANDLERS: dict[type[ast.stmt], Callable[[Machine, Any], None]] = {
    ast.Assign: _assign,
    ast.AnnAssign: _annotated,
    ast.AugAssign: _augmented,
    ast.Expr: _expression,
    ast.If: _if,
    ast.For: _for,
    ast.AsyncFor: _for,
    ast.While: _while,
    ast.With: _with,
    ast.AsyncWith: _with,
    ast.Try: _try,
    ast.TryStar: _try,
    ast.Match: _match,
    ast.Return: _return,
    ast.Raise: _leave,
    ast.Break: _leave,
    ast.Continue: _leave,
    ast.FunctionDef: _function,
    ast.AsyncFunctionDef: _function,
    ast.ClassDef: _class,
    ast.Delete: _delete,
}
