"""The names that code mentions, in full: in the statements of a slice, and in the user's own code that they lead to.

Bodies of the user's functions and classes are looked at where their names are mentioned, since any function may call
what it is given.
"""

import ast
import re
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

from rnneval.checkpoints.usercode.allowed import CALLED_BY_LIBRARIES, CALLERS, EFFECTS, is_namespace, reaches
from rnneval.checkpoints.usercode.neighbours import Neighbours
from rnneval.checkpoints.usercode.source import IN_FILE, UNKNOWN, Function, Scope, UserSource, imported_module

_FIELD = re.compile(r"\{([^{}:!]*)")  # what a field of a format string reads
_FRAMEWORKS = (IN_FILE, "builtins.", "keras.", "tensorflow.", "tf_keras.", "torch.nn.", "abc.", "typing.")


@dataclass(frozen=True, kw_only=True)
class Use:
    """A full name that code mentions."""

    source: UserSource
    node: ast.AST
    name: str
    call: ast.Call | None = None  # the call of it
    is_callback: bool = False  # whether it is handed to a function that calls it
    is_change: bool = False  # whether an attribute or item of it is assigned or deleted
    is_users: bool = False  # whether it is the user's own function, class or method


class UseWalk:
    """One walk over statements and the user's own code, each function and class once; what a name leads to is first.

    ```text
    uses ─► _uses_of ─► _mentions ─► follow ─► _class, _body, _bodies ─► uses, of each statement in them
      │         └─────► _callbacks ────┘
      └───► _parts ─► uses, of each part that runs when the node does
    ```
    """

    def __init__(self, neighbours: Neighbours) -> None:
        self._neighbours = neighbours
        self._visited: set[ast.AST] = set()

    def uses(self, source: UserSource, node: ast.AST, scope: Scope) -> Iterator[Use]:
        """Yield the uses in a statement or an expression: those of the node itself, then those of its parts."""
        yield from self._uses_of(source, node, scope)
        parts = _parts(node, scope)
        if isinstance(node, ast.ClassDef | ast.Lambda):
            inside = node.body if isinstance(node, ast.ClassDef) else list(ast.walk(node))[1:]
            scope = Scope(inside, source.package, scope)
        for part in parts:
            yield from self.uses(source, part, scope)

    def _uses_of(self, source: UserSource, node: ast.AST, scope: Scope) -> Iterator[Use]:
        """Yield what a node itself mentions, calls, hands to a function that calls it, or changes."""
        match node:
            case ast.Constant(str(text)):
                yield from (Use(source=source, node=node, name=name) for name in _format_fields(text))
            case ast.Call(func=ast.Name() | ast.Attribute() as callee):
                yield from self._mentions(source, callee, scope, node)
                yield from self._callbacks(source, scope, node)
            case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                for name in scope.full_names(node.value):
                    yield Use(source=source, node=node, name=name, is_change=True)
            case ast.Name(ctx=ast.Load()) | ast.Attribute():
                yield from self._mentions(source, node, scope)

    def _callbacks(self, source: UserSource, scope: Scope, call: ast.Call) -> Iterator[Use]:
        """Yield the methods among the arguments that a function on the list, or the user's own function, calls."""
        arguments = dict[int | str | None, ast.expr](enumerate(call.args)) | {k.arg: k.value for k in call.keywords}
        for callee in scope.full_names(call.func):
            places = [*CALLERS.get(callee, ()), *CALLERS.get(f"{UNKNOWN}.{callee.rpartition('.')[2]}", ())]
            users = source.functions.get(callee.removeprefix(IN_FILE), ()) if callee.startswith(IN_FILE) else ()
            for function in users:
                calls = {ast.unparse(each.func) for each in ast.walk(function) if isinstance(each, ast.Call)}
                for place, parameter in enumerate(function.args.args):
                    places += [place, parameter.arg] if parameter.arg in calls else []
            values = [arguments[place] for place in places if place in arguments]
            nodes = (n for each in values for n in (ast.walk(each) if isinstance(each, ast.Starred) else [each]))
            for node in nodes:
                for name in (name for name in scope.full_names(node) if name.startswith(f"{UNKNOWN}.")):
                    is_users = yield from self.follow(source, name)
                    yield Use(source=source, node=node, name=name, is_callback=True, is_users=is_users)

    def _mentions(
        self, source: UserSource, node: ast.Name | ast.Attribute, scope: Scope, call: ast.Call | None = None
    ) -> Iterator[Use]:
        """Yield a name or attribute by its full names, those in the user's own code that it leads to first."""
        names, written = sorted(scope.full_names(node)), ast.unparse(node)
        if _is_chain(node) and not scope.knows(written.partition(".")[0]):
            stars = [unit.node for unit in source.units if unit.is_star and isinstance(unit.node, ast.ImportFrom)]
            names = [f"{imported_module(star, source.package)}.{written}" for star in stars] or names
        for name in names:
            is_users = yield from self.follow(source, name)
            yield Use(source=source, node=node, name=name, call=call, is_users=is_users and not reaches(name))

    def follow(self, source: UserSource, name: str) -> Generator[Use, None, bool]:
        """Yield the uses in the user's own function, class or methods of a full name; return whether it is one."""
        first, *methods = name.split(".")
        if first == UNKNOWN:
            yield from self._bodies(methods[-1:])
            is_users = any(name in file.member_names for file in self._neighbours.files() for name in methods[-1:])
            return is_users and methods[-1] not in EFFECTS
        if first.startswith(IN_FILE):
            first = first.removeprefix(IN_FILE)
            for unit in source.definitions.get(first, ()):
                if isinstance(unit.node, ast.ClassDef):
                    yield from self._class(source, unit.node)
            for function in source.functions.get(first, ()):
                yield from self._body(source, function, source.scope)
            yield from self._bodies(methods)
            return True
        other, inner = self._neighbours.split(name) or (source, "")
        if inner.partition(".")[0] not in other.definitions:
            return False
        for full in sorted(other.scope.full_names(parsed(inner))):  # it may have imported it from elsewhere
            is_users = yield from self.follow(other, full)
            yield Use(source=other, node=ast.Pass(), name=full, is_users=is_users)
        return True

    def _bodies(self, names: Iterable[str]) -> Iterator[Use]:
        """Look at all of the user's functions and methods with these names, whatever the class of the object is."""
        for name in names:
            for source in self._neighbours.files():
                for function in source.functions.get(name, ()):
                    yield from self._body(source, function, source.scope)

    def _class(self, source: UserSource, node: ast.ClassDef) -> Iterator[Use]:
        """Look at the methods that run when an object of a class is made or used by a framework."""
        if node in self._visited:
            return
        self._visited.add(node)
        bases = {full for base in node.bases for full in source.scope.full_names(base)}
        foreign = not all(base.startswith(_FRAMEWORKS) for base in bases)  # its base may call any method
        for method in (item for item in node.body if isinstance(item, Function)):
            runs = method.name.startswith("__") or method.name in CALLED_BY_LIBRARIES or method.decorator_list
            if foreign or runs:
                yield from self._body(source, method, source.scope)
        for base in sorted(bases):
            yield from self.follow(source, base)

    def _body(self, source: UserSource, node: Function, outer: Scope) -> Iterator[Use]:
        if node in self._visited:
            return
        self._visited.add(node)
        inside = list(ast.walk(node))[1:]
        scope = Scope(inside, source.package, outer)
        for inner in inside:
            if isinstance(inner, Function):
                yield from self._body(source, inner, scope)
        for statement in node.body:
            yield from self.uses(source, statement, scope)


def _format_fields(text: str) -> Iterator[str]:
    """Yield what the fields of a text reach, as in `"{0.__class__}"`: any text may be given to `format`."""
    names = (f"{UNKNOWN}.{part}" for field in _FIELD.findall(text) for part in re.findall(r"\.(\w+)", field))
    yield from filter(reaches, names)


def _parts(node: ast.AST, scope: Scope) -> Iterable[ast.AST]:  # noqa: PLR0911 - one for each kind of node
    """Return the parts of a node that run when it does; the names in them are looked for in turn."""
    parts = list(ast.iter_child_nodes(node))
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():  # the body runs where its name is mentioned
            annotations = [each.annotation for each in ast.walk(node.args) if isinstance(each, ast.arg)]
            defaults = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
            return [*node.decorator_list, *defaults, *_calls([*annotations, node.returns])]
        case ast.ClassDef():
            foreign = [base for base in node.bases if not any(n.startswith(IN_FILE) for n in scope.full_names(base))]
            return [*node.decorator_list, *node.keywords, *foreign, *node.body]
        case ast.AnnAssign():
            return [*(part for part in parts if part is not node.annotation), *_calls([node.annotation])]
        case ast.Assign() if _is_alias(node, scope):
            return [*node.targets]
        case ast.Compare(ops=[ast.Is() | ast.IsNot()], comparators=[ast.Constant(None)]) if _is_chain(node.left):
            return []  # whether an optional module could be imported
        case ast.Call(func=ast.Name() | ast.Attribute() as callee):  # its function is mentioned by the call itself
            inner = [] if _is_chain(callee) else ast.iter_child_nodes(callee)
            return [*inner, *node.args, *node.keywords]
        case ast.Attribute(ctx=ast.Load()) if _is_chain(node):
            return []  # mentioned as a whole
    return parts


def _is_alias(node: ast.Assign, scope: Scope) -> bool:
    """Return whether a statement gives a module, such as `keras.layers`, another name, whose uses are looked at."""
    plain = all(isinstance(target, ast.Name) for target in node.targets) and _is_chain(node.value)
    return plain and all(map(is_namespace, scope.full_names(node.value)))


def _calls(annotations: Iterable[ast.expr | None]) -> list[ast.expr]:
    """Return the calls in annotations, which run; the types that they name need not be on the list."""
    every = (node for each in annotations if each is not None for node in ast.walk(each))
    return [node for node in every if isinstance(node, ast.Call)]


def _is_chain(node: ast.AST) -> bool:
    """Return whether an expression is a name with attributes, as in `tf.keras.layers`."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name)


def parsed(name: str) -> ast.expr:
    """Return a dotted name as an expression."""
    return ast.parse(name, mode="eval").body
