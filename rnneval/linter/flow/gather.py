"""The way in: a parsed file in, its facts out."""

import ast

from rnneval.linter.flow import carry, classes, statements
from rnneval.linter.flow.facts import Facts
from rnneval.linter.flow.machine import Machine


def gather(tree: ast.Module) -> Facts:
    """Run a file once and give what was seen."""
    machine = Machine(tree)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            machine.functions[node.name] = node
    statements.run(machine, tree.body)
    machine.facts.functions[0].carried = carry.carried(machine, machine.facts.functions[0], machine.env)
    classes.run_functions(machine)
    return machine.facts
