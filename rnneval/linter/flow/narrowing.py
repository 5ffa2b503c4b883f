"""What a test shows about a name: inside `if states is None`, `states` is None."""

import ast

from rnneval.linter.flow.machine import Machine
from rnneval.linter.flow.values import NONE, Value, options
from rnneval.linter.flow.views import is_none

Known = dict[str, Value] | None
"""Names with what they hold; None where the branch cannot be taken."""


def narrow(machine: Machine, test: ast.expr) -> tuple[Known, Known]:
    """Give what is known when the test holds, and when it does not."""
    match test:
        case ast.UnaryOp(op=ast.Not()):
            when_true, when_false = narrow(machine, test.operand)
            known = when_false, when_true
        case ast.Compare(ops=[ast.Is() | ast.Eq()], comparators=[ast.Constant(value=None)]):
            known = _about_none(machine, test.left)
        case ast.Compare(ops=[ast.IsNot() | ast.NotEq()], comparators=[ast.Constant(value=None)]):
            when_none, when_some = _about_none(machine, test.left)
            known = when_some, when_none
        case ast.BoolOp():
            known = _several(machine, test)
        case ast.Constant():
            known = ({}, None) if test.value else (None, {})
        case _:
            # Falsy is not None only: an empty list may come in too, but then there is nothing to carry either.
            when_none, when_some = _about_none(machine, test)
            known = when_some, (when_none if when_none is not None else {})
    return known


def _several(machine: Machine, test: ast.BoolOp) -> tuple[Known, Known]:
    together: dict[str, Value] = {}
    for value in test.values:
        when_true, when_false = narrow(machine, value)
        known = when_true if isinstance(test.op, ast.And) else when_false
        if known is None:
            return (None, {}) if isinstance(test.op, ast.And) else ({}, None)
        together |= known
    return (together, {}) if isinstance(test.op, ast.And) else ({}, together)


def _about_none(machine: Machine, node: ast.expr) -> tuple[Known, Known]:
    """Give what is known where a name is None, and where it is not."""
    name = _name(machine, node)
    if name is None:
        return {}, {}
    held = machine.attribute(name[5:]) if name.startswith("self.") else machine.lookup(name)
    told = is_none(held)
    if told is not None:
        return ({}, None) if told else (None, {})
    rest = frozenset(option for option in options(held) if option != NONE)
    some = {} if len(rest) != 1 or len(options(held)) == 1 else {name: next(iter(rest))}
    return {name: NONE}, some


def _name(machine: Machine, node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == machine.frame.self_name
    ):
        return f"self.{node.attr}"
    return None
