"""The user's file as units: the statements of its top level, those inside of blocks each by itself.

Of every unit the names that it binds and reads are known, what these mean, and the objects and settings that it
changes. Names are taken from a statement's bytecode: the compiler decides what is local and what is global, so that
closures, comprehensions, `global` and annotations that are not evaluated mean what Python makes of them.
"""

import ast
import builtins
import copy
import dis
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import CodeType
from typing import Any, TypeVar

from rnneval.errors import CheckpointError
from rnneval.lint.document import MOST_NOTEBOOK_BYTES, SourceFile, read_document
from rnneval.paths import read_regular

T = TypeVar("T")
Function = ast.FunctionDef | ast.AsyncFunctionDef
Block = ast.If | ast.For | ast.AsyncFor | ast.While | ast.With | ast.AsyncWith | ast.Try | ast.TryStar | ast.Match
_LATER = ("orelse", "finalbody")
LOOPS = (ast.For, ast.AsyncFor, ast.While)
BLOCK_ENDINGS = (ast.Break, ast.Continue, ast.Raise)
"""Statements that end a block early: they stay where their block stays."""
UNKNOWN = "?"  # first part of the name of an attribute whose object is not known, as in `?.fit`
OWN = "@"  # first part of the name of a function or class of the same file, as in `@MyModel`

_OPTIMIZED = 1  # the flag CO_OPTIMIZED of code objects: functions and comprehensions have it, class bodies do not
_LOADS = ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS")
_LIBRARIES = ("tensorflow", "keras", "tf_keras", "numpy")
_MOST = 8  # most values of one name that are followed; each is looked at where it is assigned, too
_CHANGING = re.compile(
    r"(add_|append|insert|register|set_|update_)\w*|add|extend|update|setdefault|pop|popitem|popleft|remove|discard|clear"
    r"|sort|reverse|rotate|adapt|fit_on_texts|build|intersection_update|difference_update|__setitem__|subtract"
    r"|read|read_dict|read_string|seek|assign"
)
"""Methods that change their object; not `fit`, `compile` and `load_weights`, since weights come from a file."""
_CHANGING_FUNCTIONS = frozenset(("builtins.setattr", "builtins.delattr", "random.shuffle", "numpy.random.shuffle"))
"""Functions that change their first argument."""
_SETTING = re.compile(
    r"(keras|tensorflow|tf_keras)\.([\w.]+\.)?(set_|enable_|disable_|experimental_enable_|experimental_set_)\w+"
    r"|keras\.config\.\w+|[\w.]+\.get_custom_objects\(\)|sys\.path(\.insert|\.append|\.extend|\.remove)?"
    r"|os\.environ(\.update|\.setdefault|\.pop)?|os\.(putenv|unsetenv)|sys\.setrecursionlimit"
    r"|(numpy\.)?random\.seed"
)


def grouped(pairs: Iterable[tuple[str, T]]) -> dict[str, list[T]]:
    """Return the values of each name, in their order."""
    found: dict[str, list[T]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _names_of(node: ast.stmt, flags: int, shown: str) -> tuple[set[str], set[str], set[str]]:
    """Return the names that a statement (of a block, the header) binds, reads, and reads when a function is called."""
    names: tuple[set[str], set[str], set[str]] = (set(), set(), set())
    if isinstance(node, ast.Break | ast.Continue | ast.Pass):
        return names
    module = ast.Module(body=[header_of(node)], type_ignores=[])
    try:
        code = compile(module, shown, "exec", flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True, optimize=0)
    except SyntaxError as error:
        raise CheckpointError(f"{shown}: line {error.lineno}: {error.msg}") from error
    _add_names(code, *names)
    return names


def _add_names(code: CodeType, binds: set[str], reads: set[str], reads_later: set[str]) -> None:
    """Add the names of the module that the module's own code, a function, a class body or a comprehension touches."""
    if code.co_flags & _OPTIMIZED and (code.co_name == "<lambda>" or not code.co_name.startswith("<")):
        binds, reads = set(), reads_later  # of a function: it binds and reads nothing when the statement runs
    own: set[str] = set()
    for instruction in dis.get_instructions(code):
        name = instruction.argval
        if instruction.opname in _LOADS and name not in own:
            reads.add(name)
        elif instruction.opname == "STORE_NAME" and code.co_name != "<module>":
            own.add(name)
        elif instruction.opname in ("STORE_NAME", "STORE_GLOBAL"):
            binds.add(name)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _add_names(constant, binds, reads, reads_later)


def header_of(node: ast.stmt) -> ast.stmt:
    """Return a block with empty bodies; a simple statement, function or class as it is."""
    return with_bodies(node, lambda _: []) if isinstance(node, Block) else node


def with_bodies(node: T, change: Callable[[list[ast.stmt]], list[ast.stmt]]) -> T:
    """Return a block whose lists of statements are changed; where Python needs a statement, it is `pass`."""
    made: Any = copy.copy(node)
    for name in ("handlers", "cases"):
        setattr(made, name, [with_bodies(each, change) for each in getattr(node, name, ())])
    for name in ("body", "orelse", "finalbody"):
        setattr(made, name, change(getattr(node, name, [])))
    made.body = made.body or [ast.Pass(lineno=1, col_offset=0)]
    if isinstance(made, ast.Try | ast.TryStar) and not made.handlers and not made.finalbody:
        made.finalbody = [ast.Pass(lineno=1, col_offset=0)]
    block: T = made
    return block


def run_at_once(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that are evaluated when a statement runs: of a function its decorators and defaults alone."""
    yield node
    inside = ast.iter_child_nodes(node)
    if isinstance(node, Function):
        inside = iter([*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)])
    for inner in inside:
        yield from run_at_once(inner)


def is_main_guard(node: ast.stmt) -> bool:
    """Return whether a statement is `if __name__ == "__main__"`, with more conditions or without."""
    return isinstance(node, ast.If) and "__name__ == '__main__'" in ast.unparse(node.test)


def bodies_of(node: ast.stmt) -> list[list[ast.stmt]]:
    """Return the lists of statements in a block, in the order of the file; none for other statements."""
    if not isinstance(node, Block):
        return []
    inside = (*getattr(node, "handlers", ()), *getattr(node, "cases", ()))
    return [getattr(node, "body", []), *(each.body for each in inside), *(getattr(node, name, []) for name in _LATER)]


class Scope:
    """Meanings of the names of a file, or of a function in it; a name that is bound several times has several."""

    def __init__(self, nodes: Iterable[ast.AST], package: str = "", outer: "Scope | None" = None) -> None:
        self._package, self._outer = package, outer
        self._meanings: dict[str, list[str | ast.expr]] = {}
        self._modules: set[str] = set()
        for node in nodes:
            self._add(node)

    def _add(self, node: ast.AST) -> None:
        match node:
            case ast.Import():
                for alias in node.names:
                    first = alias.name if alias.asname else alias.name.partition(".")[0]
                    self._bind(alias.asname or first, first)
                    self._modules.add(alias.asname or first)
            case ast.ImportFrom():
                for alias in node.names:
                    self._bind(alias.asname or alias.name, f"{imported_module(node, self._package)}.{alias.name}")
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                self._bind(name, f"{OWN}{name}")
            case ast.Assign():
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        self._bind(target.id, node.value)
            case ast.NamedExpr(target=ast.Name(id=name)) | ast.AnnAssign(target=ast.Name(id=name)) if node.value:
                self._bind(name, node.value)
            case ast.arg(arg=name):
                self._bind(name, UNKNOWN)
            case ast.Name(id=name, ctx=ast.Store()):
                self._meanings.setdefault(name, [])

    def _bind(self, name: str, meaning: str | ast.expr) -> None:
        self._meanings.setdefault(name, []).append(meaning)

    def without(self, names: Iterable[str]) -> "Scope":
        """Return the same meanings but for names that get values from elsewhere: nothing is known of those."""
        scope = Scope((), self._package, self._outer)
        scope._meanings = {**self._meanings, **{name: [] for name in names}}
        scope._modules = self._modules.difference(names)
        return scope

    def is_library(self, name: str) -> bool:
        """Return whether a name is a module, or a part of Keras, TensorFlow or NumPy: its functions change nothing."""
        if name in self._meanings:
            found = {meaning for meaning in self._meanings[name] if isinstance(meaning, str)}
            return name in self._modules or any(each.partition(".")[0] in _LIBRARIES for each in found)
        return self._outer is not None and self._outer.is_library(name)

    def knows(self, name: str) -> bool:
        """Return whether a name is bound here, by a scope around this one, or by Python."""
        return name in self._meanings or (self._outer.knows(name) if self._outer else hasattr(builtins, name))

    def full_names(self, node: ast.AST) -> set[str]:
        """Return the full names that an expression may have."""
        return self._found(node, set())

    def _found(self, node: ast.AST, seen: set[str]) -> set[str]:
        if isinstance(node, ast.Name):
            return self._of_name(node.id, seen)
        if isinstance(node, ast.Attribute):
            return {f"{name}.{node.attr}" for name in self._found(node.value, seen)}
        if isinstance(node, ast.IfExp):
            return self._found(node.body, seen) | self._found(node.orelse, seen)
        return self._found(node.value, seen) if isinstance(node, ast.NamedExpr) else {UNKNOWN}

    def _of_name(self, name: str, seen: set[str]) -> set[str]:
        if name in seen:
            return {UNKNOWN}
        meanings = self._meanings.get(name)
        if meanings is None:
            if self._outer is not None:
                return self._outer._found(ast.Name(id=name), seen)
            if name == "__builtins__":
                return {"builtins"}
            return {f"builtins.{name}"} if hasattr(builtins, name) else {UNKNOWN}
        found = {meaning for meaning in meanings if isinstance(meaning, str)}
        for value in [meaning for meaning in meanings if isinstance(meaning, ast.expr)][-_MOST:]:
            found |= self._found(value, seen | {name})
        return found or {UNKNOWN}


def imported_module(node: ast.ImportFrom, package: str) -> str:
    """Return the module of `from … import`; `package` is the package of the file, "" for a file outside of one."""
    if not node.level:
        return node.module or ""
    parts = package.split(".") if package else []
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def root_of(node: ast.AST) -> str | None:
    """Return the name at the root of attributes, items and calls of methods: `a` of `a.b[0].c()`; else None."""
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
            node = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            node = node.func
        else:
            return None
    return node.id


def changed_names(nodes: Iterable[ast.AST], scope: Scope) -> set[str]:
    """Return the names whose objects change when these nodes are evaluated; calls of functions are not followed."""
    roots: set[str | None] = set()
    for node in nodes:
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and _CHANGING.fullmatch(node.func.attr):
                root = root_of(node.func)
                roots |= {root} if root is not None and not scope.is_library(root) else set()
            if node.args and scope.full_names(node.func) & _CHANGING_FUNCTIONS:
                roots.add(root_of(node.args[0]))
        elif isinstance(node, ast.AugAssign):
            roots.add(root_of(node.target))
        elif isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            roots |= {root_of(node)} if ".optimizer" not in ast.unparse(node) else set()
    return {root for root in roots if root is not None}


def sets_something(nodes: Iterable[ast.AST], scope: Scope) -> bool:
    """Return whether a statement changes a setting of Keras or TensorFlow, a seed, `sys.path` or `os.environ`."""
    for node in nodes:
        names = scope.full_names(node.func) if isinstance(node, ast.Call) else set[str]()
        target = node.func if isinstance(node, ast.Call) else node
        inner = target.value if isinstance(target, ast.Attribute | ast.Subscript) else None
        if isinstance(inner, ast.Call):  # Keras' register of custom objects
            names |= {f"{name}()" for name in scope.full_names(inner.func)}
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            names |= scope.full_names(node.value)
        if any(map(_SETTING.fullmatch, names)):
            return True
    return False


Blocks = tuple[ast.stmt, ...]
ENDINGS = (".py", ".ipynb")
_FLAGS = {"annotations": 0x1000000}
_MOST_SHOWN = 100


@dataclass(frozen=True, kw_only=True, eq=False)
class CodeUnit:
    """A statement of the module, or the header of a block (`if`, `for`, `while`, `with`, `try`, `match`)."""

    node: ast.stmt
    order: tuple[int, int]  # line and column
    blocks: "tuple[CodeUnit, ...]"  # the blocks around it, outermost first
    binds: set[str]  # names of the module
    reads: set[str]  # names that are read when the statement runs
    reads_later: set[str]  # names that are read when a function made by the statement is called
    changes: set[str]  # names of objects that it changes
    sets: bool  # whether it changes a setting of Keras or TensorFlow, a random seed, `sys.path` or `os.environ`
    when: tuple[int, int]
    """Units before this one may have run when it is run: its order, or in a loop the end of the outermost loop."""

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


@dataclass(frozen=True, kw_only=True, eq=False)
class UserSource:
    """A file of the user's, read and taken apart; nothing of it is run."""

    path: Path
    shown: str  # the path as the user gave it
    document: SourceFile
    body: list[ast.stmt]
    flags: int  # compiler flags of its `from __future__` imports
    units: tuple[CodeUnit, ...]
    scope: Scope
    package: str  # dotted name of the package it is in, for relative imports
    guarded: frozenset[str]  # names that are bound under `if __name__ == "__main__"` alone
    notes: tuple[str, ...]
    neighbours: dict[Path, "UserSource"] = field(default_factory=dict)
    """Files beside it that were read, which every part of it shares."""

    def only(self, units: Sequence[CodeUnit], given: Iterable[str] = ()) -> "UserSource":
        """Return the part of it that is run: some units, and names whose values are given and say nothing."""
        return replace(self, units=tuple(units), scope=self.scope.without(given))

    @cached_property
    def definitions(self) -> dict[str, list[CodeUnit]]:
        """The units that bind each name."""
        return grouped((name, unit) for unit in self.units for name in unit.binds)

    @cached_property
    def touching(self) -> dict[str, list[CodeUnit]]:
        """The units that bind each name, or change its object."""
        return grouped((name, unit) for unit in self.units for name in unit.binds | unit.changes)

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

    @property
    def literals(self) -> set[str]:
        """The strings that are written in it."""
        inside = (inner for unit in self.units for inner in ast.walk(unit.node))
        return {each.value for each in inside if isinstance(each, ast.Constant) and isinstance(each.value, str)}

    def place(self, line: int) -> str:
        """Return a line for messages: `train.py:12`, or `train.ipynb, cell 3, line 2`, which counts text cells, too."""
        cell, within = self.document.place(line)
        return f"{self.shown}:{line}" if cell.number is None else f"{self.shown}, cell {cell.number}, line {within}"

    def line(self, number: int) -> str:
        """Return the text of a line, shortened."""
        cell, within = self.document.place(number)
        text = cell.lines[within - 1].strip() if 0 < within <= len(cell.lines) else ""
        return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def read_source(path: Path, shown: str | None = None, package: str = "") -> UserSource:
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
    scope = Scope((inner for node, _ in laid for inner in _module_level(header_of(node))), package)
    guards = [getattr(node, "body", []) for node in body if is_main_guard(node)]
    guarded = [_names_of(node, flags, shown)[0] for inner in guards for node, _ in _laid_out(inner)]
    return UserSource(
        path=path,
        shown=shown,
        document=document,
        body=body,
        flags=flags,
        units=_units(laid, scope, document, flags),
        scope=scope,
        package=package,
        guarded=frozenset().union(*guarded),
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
            continue
        yield node, blocks
        for inner in bodies_of(node):
            yield from _laid_out(inner, (*blocks, node))


def _module_level(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a unit that bind names of the module: nothing inside of functions, classes and lambdas."""
    yield node
    if not isinstance(node, Function | ast.ClassDef | ast.Lambda):
        for inner in ast.iter_child_nodes(node):
            yield from _module_level(inner)


def _units(
    laid: Sequence[tuple[ast.stmt, Blocks]], scope: Scope, document: SourceFile, flags: int
) -> tuple[CodeUnit, ...]:
    made: dict[ast.stmt, CodeUnit] = {}
    for node, blocks in laid:
        run, place = list(run_at_once(header_of(node))), (node.lineno, node.col_offset)
        binds, reads, reads_later = _names_of(node, flags, document.path)
        loop = next((each for each in (*blocks, node) if isinstance(each, LOOPS)), None)
        made[node] = CodeUnit(
            node=node,
            order=place,
            blocks=tuple(made[block] for block in blocks),
            binds=binds,
            reads=reads,
            reads_later=reads_later,
            changes=changed_names(run, scope),
            sets=sets_something(run, scope),
            when=place if loop is None else ((loop.end_lineno or 0) + 1, 0),
        )
    return tuple(made.values())
