"""The user's file as units: the statements of its top level, those inside of blocks each by itself.

Of every unit the names that it binds and reads are known, what these mean, and the objects and settings that it
changes. Names are taken from a statement's bytecode: the compiler decides what is local and what is global, so that
closures, comprehensions, `global` and annotations that are not evaluated mean what Python makes of them.
"""

import __future__

import ast
import builtins
import copy
import dis
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from types import CodeType
from typing import Any, TypeVar

from rnneval.errors import CheckpointError
from rnneval.lint.document import MOST_NOTEBOOK_BYTES, SourceFile, read_document
from rnneval.paths import read_regular

T = TypeVar("T")
Function = ast.FunctionDef | ast.AsyncFunctionDef
LOOPS = (ast.For, ast.AsyncFor, ast.While)
ENDINGS = (".py", ".ipynb")
# Full names are `numpy.zeros`, `@MyModel` in the same file, and `?.fit` of an object that is not known.
UNKNOWN, IN_FILE = "?", "@"

_BLOCK = ast.If | ast.For | ast.AsyncFor | ast.While | ast.With | ast.AsyncWith | ast.Try | ast.TryStar | ast.Match
_OPTIMIZED = 1  # the flag CO_OPTIMIZED of code objects: functions and comprehensions have it, class bodies do not
_LOADS = ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS")
_LIBRARIES = ("tensorflow", "keras", "tf_keras", "numpy")
_MOST = 8  # most values of one name that are followed; each is looked at where it is assigned, too
_MOST_SHOWN = 100
_LISTED = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
_PATTERNS = {key: re.compile("|".join(words.split())) for key, words in _LISTED.items()}
_CHANGING, _CHANGING_FUNCTIONS, _SETTING = (_PATTERNS[key] for key in ("methods", "functions", "settings"))


# Blocks and what is in them


def with_bodies(node: T, change: Callable[[list[ast.stmt]], list[ast.stmt]]) -> T:
    """Return a block whose lists of statements are changed; where Python needs a statement, it is `pass`."""
    changed: Any = copy.copy(node)
    for name in ("handlers", "cases"):
        setattr(changed, name, [with_bodies(each, change) for each in getattr(node, name, ())])
    for name in ("body", "orelse", "finalbody"):
        setattr(changed, name, change(getattr(node, name, [])))
    changed.body = changed.body or [ast.Pass(lineno=1, col_offset=0)]
    if isinstance(changed, ast.Try | ast.TryStar) and not changed.handlers and not changed.finalbody:
        changed.finalbody = [ast.Pass(lineno=1, col_offset=0)]
    block: T = changed
    return block


def header_of(node: ast.stmt) -> ast.stmt:
    """Return a block with empty bodies; a simple statement, function or class as it is."""
    return with_bodies(node, lambda _: []) if isinstance(node, _BLOCK) else node


def bodies_of(node: ast.stmt) -> list[list[ast.stmt]]:
    """Return the lists of statements in a block, in the order of the file; none for other statements."""
    if not isinstance(node, _BLOCK):
        return []
    inside = [each.body for each in (*getattr(node, "handlers", ()), *getattr(node, "cases", ()))]
    return [getattr(node, "body", []), *inside, getattr(node, "orelse", []), getattr(node, "finalbody", [])]


def is_main_guard(node: ast.stmt) -> bool:
    """Return whether a statement is `if __name__ == "__main__"`, with more conditions or without."""
    return isinstance(node, ast.If) and "__name__ == '__main__'" in ast.unparse(node.test)


def _run_at_once(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that are evaluated with the module's names when a statement runs, no bodies of definitions."""
    yield node
    inside = list(ast.iter_child_nodes(node))
    if isinstance(node, Function):
        inside = [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]
    elif isinstance(node, ast.ClassDef):
        inside = [*node.decorator_list, *node.bases, *node.keywords]
    elif isinstance(node, ast.Lambda):
        inside = [*node.args.defaults]
    for inner in inside:
        yield from _run_at_once(inner)


# What names mean


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
                self._bind(name, f"{IN_FILE}{name}")
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
        found = [meaning for meaning in self._meanings.get(name, ()) if isinstance(meaning, str)]
        return name in self._modules or any(each.partition(".")[0] in _LIBRARIES for each in found)

    def knows(self, name: str) -> bool:
        """Return whether a name is bound here, by a scope around this one, or by Python."""
        return name in self._meanings or (self._outer.knows(name) if self._outer else hasattr(builtins, name))

    def full_names(self, node: ast.AST, before: frozenset[str] = frozenset()) -> set[str]:
        """Return the full names that an expression may have; `before` are those whose values led to it."""
        match node:
            case ast.Name(id=name):
                return self._of_name(name, before)
            case ast.Attribute(value=value, attr=attribute):
                return {f"{name}.{attribute}" for name in self.full_names(value, before)}
            case ast.IfExp():
                return self.full_names(node.body, before) | self.full_names(node.orelse, before)
            case ast.NamedExpr():
                return self.full_names(node.value, before)
        return {UNKNOWN}

    def _of_name(self, name: str, before: frozenset[str]) -> set[str]:
        if name in before:
            return {UNKNOWN}
        meanings = self._meanings.get(name)
        if meanings is None:
            if self._outer is not None:
                return self._outer._of_name(name, before)
            if name == "__builtins__":
                return {"builtins"}
            return {f"builtins.{name}"} if hasattr(builtins, name) else {UNKNOWN}
        found = {meaning for meaning in meanings if isinstance(meaning, str)}
        for value in [meaning for meaning in meanings if isinstance(meaning, ast.expr)][-_MOST:]:
            found |= self.full_names(value, before | {name})
        return found or {UNKNOWN}


def imported_module(node: ast.ImportFrom, package: str) -> str:
    """Return the module of `from … import`; `package` is the package of the file, "" for a file outside of one."""
    if not node.level:
        return node.module or ""
    parts = package.split(".") if package else []
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


# Units


@dataclass(frozen=True, kw_only=True, eq=False)
class CodeUnit:
    """A statement of the module, or the header of a block (`if`, `for`, `while`, `with`, `try`, `match`)."""

    node: ast.stmt
    blocks: "tuple[CodeUnit, ...]"  # the blocks around it, outermost first
    binds: set[str] = field(default_factory=set)  # names of the module
    reads: set[str] = field(default_factory=set)  # names that are read when the statement runs
    reads_later: set[str] = field(default_factory=set)  # those read when a function made by the statement is called
    changes: set[str] = field(default_factory=set)  # names of objects that it changes
    sets: bool = False  # whether it changes a setting of Keras or TensorFlow, a seed, `sys.path` or `os.environ`

    @property
    def order(self) -> tuple[int, int]:
        """Line and column."""
        return self.node.lineno, self.node.col_offset

    @property
    def when(self) -> tuple[int, int]:
        """Units before this place may have run when it is run: its own, or in a loop the end of the outermost loop."""
        loops = [each.node.end_lineno or 0 for each in (*self.blocks, self) if isinstance(each.node, LOOPS)]
        return (loops[0] + 1, 0) if loops else self.order

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
    label: str  # the path as the user gave it
    document: SourceFile
    body: list[ast.stmt]
    flags: int  # compiler flags of its `from __future__` imports
    units: tuple[CodeUnit, ...]
    scope: Scope
    package: str  # dotted name of the package it is in, for relative imports
    notes: tuple[str, ...]
    neighbours: dict[Path, "UserSource"] = field(default_factory=dict)
    """Files beside it that were read, which every part of it shares."""

    def only(self, units: Sequence[CodeUnit], names: Iterable[str] = ()) -> "UserSource":
        """Return the part of it that is run: some units, and names whose values are given and say nothing."""
        return replace(self, units=tuple(units), scope=self.scope.without(names))

    @cached_property
    def definitions(self) -> dict[str, list[CodeUnit]]:
        """The units that bind each name."""
        return _grouped((name, unit) for unit in self.units for name in unit.binds)

    @cached_property
    def touching(self) -> dict[str, list[CodeUnit]]:
        """The units that bind each name, or change its object."""
        return _grouped((name, unit) for unit in self.units for name in unit.binds | unit.changes)

    @cached_property
    def endings(self) -> dict[CodeUnit, list[CodeUnit]]:
        """The statements that end each block early and stay where it stays: of loops `break`, `continue`; `raise`."""
        endings: dict[CodeUnit, list[CodeUnit]] = {}
        for unit in self.units:
            loops = [block for block in unit.blocks if isinstance(block.node, LOOPS)]
            ended = unit.blocks if isinstance(unit.node, ast.Raise) else loops
            if isinstance(unit.node, ast.Raise | ast.Break | ast.Continue) and ended:
                endings.setdefault(ended[-1], []).append(unit)
        return endings

    @cached_property
    def _nodes(self) -> list[ast.AST]:
        return list(dict.fromkeys(inner for unit in self.units for inner in ast.walk(unit.node)))

    @cached_property
    def functions(self) -> dict[str, list[Function]]:
        """All functions and methods, by name."""
        return _grouped((inner.name, inner) for inner in self._nodes if isinstance(inner, Function))

    @cached_property
    def member_names(self) -> frozenset[str]:
        """The names of methods, and of attributes that the code gives to objects and classes."""
        of_classes = [inner for node in self._nodes if isinstance(node, ast.ClassDef) for inner in ast.walk(node)]
        stored = (each for each in self._nodes if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store))
        bound = (each for each in of_classes if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store))
        return frozenset((*self.functions, *(each.attr for each in stored), *(each.id for each in bound)))

    @property
    def literals(self) -> set[str]:
        """The strings that are written in it."""
        return {each.value for each in self._nodes if isinstance(each, ast.Constant) and isinstance(each.value, str)}

    def place(self, line: int) -> str:
        """Return a line for messages: `train.py:12`, or `train.ipynb, cell 3, line 2`, which counts text cells, too."""
        cell, within = self.document.place(line)
        return f"{self.label}:{line}" if cell.number is None else f"{self.label}, cell {cell.number}, line {within}"

    def line(self, number: int) -> str:
        """Return the text of a line, shortened."""
        cell, within = self.document.place(number)
        text = cell.lines[within - 1].strip() if 0 < within <= len(cell.lines) else ""
        return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def _grouped(pairs: Iterable[tuple[str, T]]) -> dict[str, list[T]]:
    """Return the values of each name, in their order."""
    groups: dict[str, list[T]] = {}
    for name, value in pairs:
        groups.setdefault(name, []).append(value)
    return groups


def read_source(path: Path, label: str | None = None, package: str = "") -> UserSource:
    """Read a Python file or a notebook; refuse one that cannot be read or parsed."""
    label = label or str(path)
    try:
        document = read_document(str(path), read_regular(path, MOST_NOTEBOOK_BYTES))
    except OSError as error:
        raise CheckpointError(f"builder {label}: cannot be read: {error.strerror or error}") from error
    notes = []
    for trouble in document.troubles:
        if trouble.cell is None:
            raise CheckpointError(f"builder {label}: SyntaxError: {trouble.message} ({label}:{trouble.line})")
        notes.append(f"cell {trouble.cell} of {label} was left out: line {trouble.line}: {trouble.message}")
    body = _OneName().visit(document.tree).body
    futures = [node.names[0].name for node in body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    flags = __future__.annotations.compiler_flag if "annotations" in futures else 0
    scope = Scope((inner for node in body if not is_main_guard(node) for inner in _run_at_once(node)), package)
    return UserSource(
        path=path,
        label=label,
        document=document,
        body=body,
        flags=flags,
        units=tuple(_units(body, scope, partial(_compiled, flags=flags, label=document.path))),
        scope=scope,
        package=package,
        notes=tuple(notes),
    )


class _OneName(ast.NodeTransformer):
    """Split imports into one for each name, so that names can be left out one by one."""

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.Import):
            split: list[ast.stmt] = [ast.Import(names=[alias]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            split = [ast.ImportFrom(module=node.module, names=[alias], level=node.level) for alias in node.names]
        else:
            return node if isinstance(node, Function | ast.ClassDef) else self.generic_visit(node)
        return [ast.copy_location(each, node) for each in split]


def _units(
    body: list[ast.stmt], scope: Scope, compiled: Callable[[ast.stmt], CodeType], blocks: tuple[CodeUnit, ...] = ()
) -> Iterator[CodeUnit]:
    """Yield every statement in the order of the file; none of a main guard."""
    for node in body:
        if is_main_guard(node):
            continue
        header = header_of(node)
        run = list(_run_at_once(header))
        unit = CodeUnit(node=node, blocks=blocks, changes=_changed_names(run, scope), sets=_sets_something(run, scope))
        if not isinstance(node, ast.Break | ast.Continue):
            _add_names(compiled(header), unit.binds, unit.reads, unit.reads_later)
        yield unit
        for inner in bodies_of(node):
            yield from _units(inner, scope, compiled, (*blocks, unit))


def _compiled(statement: ast.stmt, flags: int, label: str) -> CodeType:
    module = ast.Module(body=[statement], type_ignores=[])
    flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    try:
        code: CodeType = compile(module, label, "exec", flags, dont_inherit=True, optimize=0)
    except SyntaxError as error:
        raise CheckpointError(f"{label}: line {error.lineno}: {error.msg}") from error
    return code


def _add_names(code: CodeType, binds: set[str], reads: set[str], reads_later: set[str]) -> None:
    """Add the names of the module that the module's own code, a function, a class body or a comprehension touches."""
    if code.co_flags & _OPTIMIZED and (code.co_name == "<lambda>" or not code.co_name.startswith("<")):
        binds, reads = set(), reads_later  # of a function: it binds and reads nothing when the statement runs
    local: set[str] = set()
    for instruction in dis.get_instructions(code):
        name = instruction.argval
        if instruction.opname in _LOADS and name not in local:
            reads.add(name)
        elif instruction.opname == "STORE_NAME" and code.co_name != "<module>":
            local.add(name)
        elif instruction.opname in ("STORE_NAME", "STORE_GLOBAL"):
            binds.add(name)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _add_names(constant, binds, reads, reads_later)


def _root_of(node: ast.AST) -> str | None:
    """Return the name at the root of attributes, items and calls of methods: `a` of `a.b[0].c()`; else None."""
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
            node = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            node = node.func
        else:
            return None
    return node.id


def _changed_names(nodes: Iterable[ast.AST], scope: Scope) -> set[str]:
    """Return the names whose objects change when these nodes are evaluated; calls of functions are not followed."""
    roots: set[str | None] = set()
    for node in nodes:
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and _CHANGING.fullmatch(node.func.attr):
                root = _root_of(node.func)
                roots |= {root} if root is not None and not scope.is_library(root) else set()
            if node.args and any(map(_CHANGING_FUNCTIONS.fullmatch, scope.full_names(node.func))):
                roots.add(_root_of(node.args[0]))
        elif isinstance(node, ast.AugAssign):
            roots.add(_root_of(node.target))
        elif isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            roots |= {_root_of(node)} if ".optimizer" not in ast.unparse(node) else set()
    return {root for root in roots if root is not None}


def _sets_something(nodes: Iterable[ast.AST], scope: Scope) -> bool:
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
