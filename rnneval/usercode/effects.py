"""Names that a statement binds and reads, taken from its bytecode, and the part of a statement that runs at once."""

import ast
import dis
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType

from rnneval.errors import CheckpointError

Function = ast.FunctionDef | ast.AsyncFunctionDef
Block = ast.If | ast.For | ast.AsyncFor | ast.While | ast.With | ast.AsyncWith | ast.Try | ast.TryStar | ast.Match
LOOPS = (ast.For, ast.AsyncFor, ast.While)
ENDINGS = (ast.Break, ast.Continue, ast.Raise)
"""Statements that end a block early: they stay where their block stays."""

_OPTIMIZED = 1
"""The flag CO_OPTIMIZED of code objects: functions and comprehensions have it, class bodies do not."""
_LOADS = ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS")
_STORES = ("STORE_NAME", "STORE_GLOBAL")


@dataclass(frozen=True, kw_only=True)
class Names:
    """Names of the module that a statement touches."""

    binds: set[str] = field(default_factory=set)
    reads: set[str] = field(default_factory=set)
    """Names that are read when the statement runs."""
    reads_later: set[str] = field(default_factory=set)
    """Names that are read when a function made by the statement is called."""
    binds_later: set[str] = field(default_factory=set)
    """Names that such a function declares `global` and binds."""


def names_of(node: ast.stmt, flags: int, shown: str) -> Names:
    """Return the names of a simple statement, or of the header of a block without its body.

    The compiler decides what is local and what is global, so that closures, comprehensions, `global` and annotations
    that are not evaluated mean what Python makes of them.

    Args:
        node: The statement.
        flags: Compiler flags of the file's `from __future__` imports.
        shown: Name of the file for messages.

    Raises:
        CheckpointError: the statement does not compile, such as a `return` outside of a function.
    """
    names = Names()
    if isinstance(node, ast.Break | ast.Continue | ast.Pass):
        return names
    module = ast.Module(body=[header_of(node)], type_ignores=[])
    try:
        code = compile(module, shown, "exec", flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True, optimize=0)
    except SyntaxError as error:
        raise CheckpointError(f"{shown}: line {error.lineno}: {error.msg}") from error
    _of_module(code, names)
    return names


def header_of(node: ast.stmt) -> ast.stmt:
    r"""Return a block with empty bodies; a simple statement, function or class as it is.

    >>> print(ast.unparse(header_of(ast.parse("for x in y:\n    f(x)").body[0])))
    for x in y:
        pass
    """
    if not isinstance(node, Block):
        return node
    made = type(node)(**dict(ast.iter_fields(node)))
    empty: list[ast.stmt] = [ast.copy_location(ast.Pass(), node)]
    if isinstance(made, ast.Match):
        made.cases = [ast.match_case(pattern=case.pattern, guard=case.guard, body=list(empty)) for case in made.cases]
        return ast.copy_location(made, node)
    made.body = list(empty)
    if isinstance(made, ast.Try | ast.TryStar):
        made.handlers = [
            ast.copy_location(ast.ExceptHandler(type=each.type, name=each.name, body=list(empty)), each)
            for each in made.handlers
        ]
        made.finalbody = [] if made.handlers else list(empty)
    if not isinstance(made, ast.With | ast.AsyncWith):
        made.orelse = []
    return ast.copy_location(made, node)


def _of_module(code: CodeType, names: Names) -> None:
    for instruction in dis.get_instructions(code):
        if instruction.opname in _LOADS:
            names.reads.add(instruction.argval)
        elif instruction.opname in _STORES:
            names.binds.add(instruction.argval)
    for inner in _inner(code):
        _of_inner(inner, names, later=False)


def _of_inner(code: CodeType, names: Names, *, later: bool) -> None:
    """Add the names of the module that a function, class body or comprehension touches."""
    is_class = not code.co_flags & _OPTIMIZED
    later = later or not (is_class or (code.co_name.startswith("<") and code.co_name != "<lambda>"))
    own: set[str] = set()
    for instruction in dis.get_instructions(code):
        name = instruction.argval
        if instruction.opname in _LOADS and name not in own:
            (names.reads_later if later else names.reads).add(name)
        elif instruction.opname == "STORE_GLOBAL":
            (names.binds_later if later else names.binds).add(name)
        elif instruction.opname == "STORE_NAME" and is_class:
            own.add(name)
    for inner in _inner(code):
        _of_inner(inner, names, later=later)


def _inner(code: CodeType) -> Iterator[CodeType]:
    return (constant for constant in code.co_consts if isinstance(constant, CodeType))


def run_at_once(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that are evaluated when a statement runs: of a function its decorators and defaults alone.

    Of a lambda the body is yielded too, since it is mostly made to be called soon. Of a block, give the header.
    """
    waiting: list[ast.AST] = [node]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, Function):
            defaults = [*node.args.defaults, *(each for each in node.args.kw_defaults if each is not None)]
            waiting += [*node.decorator_list, *defaults]
        elif isinstance(node, ast.If) and is_main_guard(node):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def is_main_guard(node: ast.stmt) -> bool:
    """Return whether a statement is `if __name__ == "__main__"`, with more conditions or without."""
    if not isinstance(node, ast.If):
        return False
    tests = node.test.values if isinstance(node.test, ast.BoolOp) and isinstance(node.test.op, ast.And) else [node.test]
    return any(
        isinstance(test, ast.Compare)
        and isinstance(test.ops[0], ast.Eq)
        and {ast.unparse(test.left), ast.unparse(test.comparators[0])} == {"__name__", "'__main__'"}
        for test in tests
    )


def bodies_of(node: ast.stmt) -> list[list[ast.stmt]]:
    """Return the lists of statements in a block, in the order of the file; none for other statements."""
    if isinstance(node, ast.Match):
        return [case.body for case in node.cases]
    if isinstance(node, ast.Try | ast.TryStar):
        return [node.body, *(handler.body for handler in node.handlers), node.orelse, node.finalbody]
    if isinstance(node, ast.With | ast.AsyncWith):
        return [node.body]
    if isinstance(node, ast.If | ast.For | ast.AsyncFor | ast.While):
        return [node.body, node.orelse]
    return []
