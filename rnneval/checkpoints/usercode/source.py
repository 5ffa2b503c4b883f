"""The user's file as units: the statements of its top level, those inside of blocks each by itself."""

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rnneval.checkpoints.usercode.statements import (
    LOOPS,
    ChangeFinder,
    Function,
    Names,
    Scope,
    aliases_of,
    bodies_of,
    grouped,
    header_of,
    is_main_guard,
    names_of,
    run_at_once,
    sets_something,
)
from rnneval.errors import CheckpointError
from rnneval.lint.document import MOST_NOTEBOOK_BYTES, SourceFile, plain_lines, read_document
from rnneval.records.paths import read_regular

Blocks = tuple[ast.stmt, ...]
ENDINGS = (".py", ".ipynb")
_FLAGS = {"annotations": 0x1000000}
_ASSIGNED_COMMAND = re.compile(r"^[\w,\s]+=\s*[!%]")
_MOST_SHOWN = 100


@dataclass(frozen=True, kw_only=True, eq=False)
class Unit:
    """A statement of the module, or the header of a block (`if`, `for`, `while`, `with`, `try`, `match`)."""

    node: ast.stmt
    order: tuple[int, int]  # line and column
    blocks: "tuple[Unit, ...]"  # the blocks around it, outermost first
    names: Names
    changes: set[str]  # names of objects that it changes, or of globals that a called function binds
    sets: bool  # whether it changes a setting of Keras or TensorFlow, a random seed, `sys.path` or `os.environ`
    when: tuple[int, int]
    """Units before this one may have run when it is run: its order, or in a loop the end of the outermost loop."""
    is_command: bool  # whether it binds the output of a notebook's command, as in `files = !ls`

    @property
    def is_certain(self) -> bool:
        """Return whether its names mean nothing but its own values from here on, as it is run in any case."""
        node = self.node
        part = isinstance(node, ast.Import) and node.names[0].asname is None and "." in node.names[0].name
        around = [each.node for each in (*self.blocks, self) if bodies_of(each.node)]
        return not part and all(isinstance(block, ast.With | ast.AsyncWith) for block in around)

    @property
    def is_star(self) -> bool:
        """Return whether it is `from module import *`."""
        return isinstance(self.node, ast.ImportFrom) and self.node.names[0].name == "*"

    @cached_property
    def header(self) -> ast.stmt:
        """The statement; of a block the header without the statements inside."""
        return header_of(self.node)


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """A file of the user's, read and taken apart; nothing of it is run."""

    path: Path
    shown: str  # the path as the user gave it
    document: SourceFile
    body: list[ast.stmt]
    flags: int  # compiler flags of its `from __future__` imports
    units: tuple[Unit, ...]
    scope: Scope
    package: str  # dotted name of the package it is in, for relative imports
    guarded: frozenset[str]
    """Names that are bound under `if __name__ == "__main__"` alone."""
    notes: tuple[str, ...]
    neighbours: dict[Path, "Source"] = field(default_factory=dict)
    """Files beside it that were read, which every part of it shares."""

    def only(self, units: Sequence[Unit], given: Iterable[str] = ()) -> "Source":
        """Return the part of it that is run: some units, and names whose values are given and say nothing."""
        return replace(self, units=tuple(units), scope=self.scope.without(given))

    @cached_property
    def definitions(self) -> dict[str, list[Unit]]:
        """The units that bind each name."""
        return grouped((name, unit) for unit in self.units for name in unit.names.binds)

    @cached_property
    def functions(self) -> dict[str, list[Function]]:
        """All functions and methods, by name."""
        inside = (inner for unit in self.units for inner in ast.walk(unit.node))
        return grouped((inner.name, inner) for inner in dict.fromkeys(inside) if isinstance(inner, Function))

    @cached_property
    def own(self) -> frozenset[str]:
        """The names of methods, and of attributes that the code gives to objects and classes."""
        inside = [inner for unit in self.units for inner in ast.walk(unit.node)]
        of_classes = [inner for node in inside if isinstance(node, ast.ClassDef) for inner in ast.walk(node)]
        given = {each.attr for each in inside if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store)}
        bound = {each.id for each in of_classes if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
        return frozenset(given | bound | set(self.functions))

    def place(self, line: int) -> str:
        """Return a line for messages: `train.py:12`, or `train.ipynb, cell 3, line 2`.

        A cell's number counts the code and text cells from 1.
        """
        cell, within = self.document.place(line)
        return f"{self.shown}:{line}" if cell.number is None else f"{self.shown}, cell {cell.number}, line {within}"

    def line(self, number: int) -> str:
        """Return the text of a line, shortened."""
        cell, within = self.document.place(number)
        text = cell.lines[within - 1].strip() if 0 < within <= len(cell.lines) else ""
        return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the file; of a notebook those of its code cells, one cell below the other."""
        return [line for cell in self.document.cells for line in cell.lines]

    @cached_property
    def plain_lines(self) -> list[str]:
        """The same lines, without the commands of IPython: they can be parsed."""
        if self.path.suffix != ".ipynb":
            return self.lines
        return [line for cell in self.document.cells for line in plain_lines("\n".join(cell.lines))]


def read_source(path: Path, shown: str | None = None, package: str = "") -> Source:
    """Read a Python file or a notebook; refuse one that cannot be read or parsed."""
    shown = shown or str(path)
    try:
        document = read_document(str(path), read_regular(path, MOST_NOTEBOOK_BYTES))
    except OSError as error:
        raise CheckpointError(f"builder {shown}: cannot be read: {error.strerror or error}") from error
    notes = []
    for trouble in document.troubles:
        if trouble.cell is None or document.tree is None:
            raise CheckpointError(f"builder {shown}: SyntaxError: {trouble.message} ({shown}:{trouble.line})")
        notes.append(f"cell {trouble.cell} of {shown} was left out: line {trouble.line}: {trouble.message}")
    assert document.tree is not None  # noqa: S101 - else there was trouble
    body = _OneName().visit(document.tree).body
    futures = [node for node in body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    flags = sum(_FLAGS.get(node.names[0].name, 0) for node in futures)
    laid = list(_laid_out(body))
    inside = [inner for node, _ in laid for inner in _module_level(node)]
    scope = Scope(inside, package)
    # Of the main guards at the top level the simple statements, functions and classes.
    guards = [getattr(node, "body", []) for node in body if is_main_guard(node)]
    simple = [node for inner in guards for node, _ in _laid_out(inner) if not bodies_of(node)]
    guarded = frozenset(name for node in simple for name in names_of(node, flags, shown).binds)
    return Source(
        path=path,
        shown=shown,
        document=document,
        body=body,
        flags=flags,
        units=_units(laid, inside, scope, document, flags),
        scope=scope,
        package=package,
        guarded=guarded,
        notes=tuple(notes),
    )


class _OneName(ast.NodeTransformer):
    """Split imports into one for each name, so that names can be left out one by one."""

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.Import):
            made: list[ast.stmt] = [ast.Import(names=[alias]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            made = [ast.ImportFrom(module=node.module, names=[alias], level=node.level) for alias in node.names]
        else:
            return node if isinstance(node, Function | ast.ClassDef) else self.generic_visit(node)
        return [ast.copy_location(each, node) for each in made]


def _laid_out(body: list[ast.stmt], blocks: tuple[ast.stmt, ...] = ()) -> Iterator[tuple[ast.stmt, Blocks]]:
    """Yield every statement with the blocks around it, in the order of the file; no main guard."""
    for node in body:
        if is_main_guard(node):
            yield from _laid_out(getattr(node, "orelse", []), blocks)
            continue
        yield node, blocks
        for inner in bodies_of(node):
            yield from _laid_out(inner, (*blocks, node))


def _module_level(node: ast.stmt) -> Iterator[ast.AST]:
    """Yield the nodes of a unit that bind names of the module: nothing inside of functions, classes and lambdas."""
    waiting: list[ast.AST] = [header_of(node)]
    while waiting:
        inner = waiting.pop()
        yield inner
        if not isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            waiting += ast.iter_child_nodes(inner)


def _units(
    laid: Sequence[tuple[ast.stmt, Blocks]], inside: Sequence[ast.AST], scope: Scope, document: SourceFile, flags: int
) -> tuple[Unit, ...]:
    finder, aliases = ChangeFinder(inside, scope), aliases_of(inside)
    made: dict[ast.stmt, Unit] = {}
    for node, blocks in laid:
        run, place = list(run_at_once(header_of(node))), (node.lineno, node.col_offset)
        loop = next((each for each in (*blocks, node) if isinstance(each, LOOPS)), None)
        changed = finder.changed(run, scope)
        # A command of a notebook was replaced by None, as in `files = !ls`.
        is_none = isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and node.value.value is None
        cell, within = document.place(node.lineno)
        made[node] = Unit(
            node=node,
            order=place,
            blocks=tuple(made[block] for block in blocks),
            names=names_of(node, flags, document.path),
            changes=changed.union(*(aliases.get(name, ()) for name in changed)),
            sets=sets_something(run, scope),
            when=place if loop is None else ((loop.end_lineno or 0) + 1, 0),
            is_command=is_none and _ASSIGNED_COMMAND.match(cell.lines[within - 1]) is not None,
        )
    return tuple(made.values())
