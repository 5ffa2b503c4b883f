"""What a test shows about a name: inside `if states is None`, `states` is None."""

import ast

from rnneval.wiring.lint.flow.machine import Machine
from rnneval.wiring.lint.flow.values import NONE, Value, options
from rnneval.wiring.lint.flow.views import is_none

Known = dict[str, Value] | None
"""Names with what they hold; None where the branch cannot be taken."""


def narrow(machine: Machine, test: ast.expr) -> tuple[Known, Known]:
    """Give what is known when the test holds, and when it does not."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        when_true, when_false = narrow(machine, test.operand)
        return when_false, when_true
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and _is_none_literal(test.comparators[0]):
        name = _name(machine, test.left)
        if name is not None and isinstance(test.ops[0], ast.Is | ast.Eq):
            return _about_none(machine, name, test.left)
        if name is not None and isinstance(test.ops[0], ast.IsNot | ast.NotEq):
            when_none, when_some = _about_none(machine, name, test.left)
            return when_some, when_none
    if isinstance(test, ast.BoolOp):
        return _several(machine, test)
    if isinstance(test, ast.Constant):
        return ({}, None) if test.value else (None, {})
    name = _name(machine, test)
    if name is not None:
        when_none, when_some = _about_none(machine, name, test)
        # Falsy is not None only: an empty list may come in too, but then there is nothing to carry either.
        return when_some, (when_none if when_none is not None else {})
    return {}, {}


def _several(machine: Machine, test: ast.BoolOp) -> tuple[Known, Known]:
    together: dict[str, Value] = {}
    for value in test.values:
        when_true, when_false = narrow(machine, value)
        known = when_true if isinstance(test.op, ast.And) else when_false
        if known is None:
            return (None, {}) if isinstance(test.op, ast.And) else ({}, None)
        together |= known
    return (together, {}) if isinstance(test.op, ast.And) else ({}, together)


def _about_none(machine: Machine, name: str, node: ast.expr) -> tuple[Known, Known]:
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


def _is_none_literal(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
