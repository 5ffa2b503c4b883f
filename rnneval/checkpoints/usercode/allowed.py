"""The list of what code may do before the user's builder is called: all that is not on it is refused.

A slice makes the values that a builder needs: sizes, vocabularies, configurations, layers. It may call the functions
that stand here, the user's own functions and classes whose bodies keep to the same rule, and methods without effects.
A function that is mentioned counts as called, since any other function may call it. The builder itself is trusted: of
it only the calls are refused that train or save, since they are mostly mistakes.
"""

import ast
import importlib
import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rnneval.checkpoints.usercode.neighbours import Neighbours, cache_places
from rnneval.checkpoints.usercode.source import (
    OWN,
    UNKNOWN,
    CodeUnit,
    Function,
    Scope,
    UserSource,
    imported_module,
)

_LISTED: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
_FUNCTIONS = frozenset(
    f"{module}.{name}" for module, names in _LISTED.pop("functions").items() for name in names.split()
)
_LISTS = {key: frozenset(names.split()) for key, names in _LISTED.items()}
_METHODS = _LISTS["methods"]
_EFFECTS = _LISTS["effects"]
_MISTAKES = re.compile(r"fit|fit_generator|partial_fit|train_on_batch|apply_gradients|minimize|save|save_\w+|export")
_READING = re.compile(r"r?[bt]?|[bt]r|rU")
_REACHING = re.compile(r"__\w+|(gi|cr|ag|tb)_\w+|f_(back|builtins|globals|locals|code)")
_FRAMEWORKS = (OWN, "builtins.", "keras.", "tensorflow.", "tf_keras.", "torch.nn.", "abc.", "typing.")
_PLACES = ("os.environ", "sys.path")  # what the slice may change of other modules, beside the register of Keras
_KERAS = re.compile(r"(tensorflow\.(compat\.v1\.)?|tensorflow\.python\.|tf_)keras\.|keras\.(api|src|engine)\.")
DOWNLOADS = "downloads"


class Refusal(Exception):  # noqa: N818 - it is caught and returned: a message is made of it where the slice is known
    """A statement that may not be run, and the unit that leads to it."""

    def __init__(self, source: UserSource, node: ast.AST, does: str) -> None:
        line = getattr(node, "lineno", 1)
        self.does = does  # verb and object: `calls os.system`
        self.place, self.text = source.place(line), source.line(line)
        self.unit: CodeUnit | None = None  # the unit of the slice from which it is reached


def first_refused(source: UserSource, units: Iterable[CodeUnit], neighbours: Neighbours) -> Refusal | None:
    """Return the first of these units that is not allowed; None if all may run."""
    rule = _Rule(neighbours)
    for unit in units:
        try:
            rule.statement(source, unit.header, source.scope)
        except Refusal as found:
            found.unit = unit
            return found
    return None


def likely_mistake(source: UserSource, name: str, neighbours: Neighbours) -> Refusal | None:
    """Return the first call in a builder, or in the user's functions that it calls, that trains or saves."""
    first, _, method = name.partition(".")
    try:
        _Rule(neighbours, trusted=True).own(source, first, method)
    except Refusal as found:
        found.unit = next(iter(source.definitions.get(first, ())), None)
        return found
    return None


class _Rule:
    """One look at statements and all that they call; nothing is looked at twice.

    With `trusted`, only calls are refused that train or save.
    """

    def __init__(self, neighbours: Neighbours, *, trusted: bool = False) -> None:
        self._neighbours, self._trusted = neighbours, trusted
        self._seen: set[object] = set()

    def statement(self, source: UserSource, node: ast.AST, scope: Scope) -> None:
        """Refuse a statement that is not allowed, or runs what is not."""
        if isinstance(node, ast.Import | ast.ImportFrom):
            return  # of the user's own files only what is allowed is run when they are imported
        if isinstance(node, Function):
            for each in [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]:
                self.value(source, each, scope)
            return
        if isinstance(node, ast.ClassDef):
            self._class_body(source, node, scope)
            return
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete | ast.For):
            self._targets(source, node, scope)
            if isinstance(node, ast.Assign) and self._is_alias(node, scope):
                return
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.expr):
                self.statement(source, child, scope)
            elif child is not getattr(node, "annotation", None):
                self.value(source, child, scope)

    def _targets(self, source: UserSource, node: ast.AST, scope: Scope) -> None:
        for target in ast.walk(node):
            if isinstance(target, ast.Attribute | ast.Subscript) and isinstance(target.ctx, ast.Store | ast.Del):
                for name in scope.full_names(target.value):
                    inside = name.startswith((UNKNOWN, OWN)) or name in _PLACES
                    if not inside and not self._trusted:
                        raise Refusal(source, target, f"changes {name}")

    def _is_alias(self, node: ast.Assign, scope: Scope) -> bool:
        """Return whether a statement gives a module another name, whose uses are then looked at."""
        plain = all(isinstance(target, ast.Name) for target in node.targets)
        return plain and _is_chain(node.value) and all(map(_is_namespace, scope.full_names(node.value)))

    def _class_body(self, source: UserSource, node: ast.ClassDef, scope: Scope) -> None:
        for each in [*node.decorator_list, *(keyword.value for keyword in node.keywords)]:
            self.value(source, each, scope)
        for base in node.bases:
            if not any(name.startswith(OWN) for name in scope.full_names(base)):
                self.value(source, base, scope)
        inside = Scope(node.body, source.package, scope)
        for statement in node.body:
            self.statement(source, statement, inside)

    def value(self, source: UserSource, node: ast.AST, scope: Scope) -> None:
        """Refuse an expression that is not allowed."""
        if isinstance(node, ast.Call):
            self._call(source, node, scope)
            return
        if isinstance(node, ast.Name | ast.Attribute):
            if isinstance(node.ctx, ast.Load):
                self._mention(source, node, scope)
            if _is_chain(node):
                return
        if isinstance(node, ast.Compare) and ast.unparse(node).endswith((" is None", " is not None")):
            node = node.left
            if _is_chain(node):
                return  # whether an optional module could be imported
        if isinstance(node, ast.Lambda):
            scope = Scope(list(ast.walk(node))[1:], source.package, scope)
        for child in ast.iter_child_nodes(node):
            self.value(source, child, scope)

    def _names(self, source: UserSource, node: ast.AST, scope: Scope) -> list[str]:
        """Return the full names that a name or an attribute may have, those of `from module import *` among them."""
        if not isinstance(node, ast.Name | ast.Attribute):
            return []
        found = sorted(scope.full_names(node))
        if not _is_chain(node) or scope.knows(ast.unparse(node).partition(".")[0]):
            return found
        stars = [unit.node for unit in source.units if unit.is_star and isinstance(unit.node, ast.ImportFrom)]
        return [f"{imported_module(star, source.package)}.{ast.unparse(node)}" for star in stars] or found

    def _call(self, source: UserSource, node: ast.Call, scope: Scope) -> None:
        names = self._names(source, node.func, scope)
        for name in names:
            self._called(source, node, name)
        if not names or not _is_chain(node.func):
            self.value(source, node.func, scope)
        for each in [*node.args, *(keyword.value for keyword in node.keywords)]:
            self.value(source, each, scope)

    def _called(self, source: UserSource, node: ast.Call, name: str) -> None:
        last = name.rpartition(".")[2]
        own = self._follow(source, name) and not _reaches(name)
        if self._trusted:
            if isinstance(node.func, ast.Attribute) and _MISTAKES.fullmatch(last) and not own:
                does = "saves a file" if last.startswith(("save", "export")) else "trains a model"
                raise Refusal(source, node, does)
            return
        if name in {"builtins.open", "io.open", "codecs.open"} or (name.startswith(UNKNOWN) and last == "open"):
            if not _reads(node, 0 if name.startswith(UNKNOWN) else 1):
                raise Refusal(source, node, "opens a file in another mode than reading")
            return
        if is_download(name):
            self._downloads(source, node)
            return
        if last == "replace" and name.startswith(UNKNOWN) and len(node.args) < 2:
            raise Refusal(source, node, "calls replace with one argument, which may move a file")
        if not own and not _is_allowed(name, called=True):
            raise Refusal(source, node, f"calls {_shown(name)}")

    def _downloads(self, source: UserSource, node: ast.Call) -> None:
        """Refuse a file that is not in Keras' cache, as far as the arguments are literals."""
        try:
            positional = [ast.literal_eval(each) for each in node.args]
            keywords = {each.arg: ast.literal_eval(each.value) for each in node.keywords if each.arg}
        except ValueError:
            return  # it is looked for when the statement runs
        looked = cache_places(*positional, **keywords)
        if not any(path.exists() for path in looked):
            raise Refusal(source, node, f"{DOWNLOADS} {looked[-1].name}, which is not in Keras' cache ({looked[-1]})")

    def _mention(self, source: UserSource, node: ast.Name | ast.Attribute, scope: Scope) -> None:
        """Refuse a name that is not allowed; a function that is mentioned counts as called."""
        for name in self._names(source, node, scope):
            own = self._follow(source, name) and not _reaches(name)
            if not own and not self._trusted and not _is_allowed(name, called=False):
                raise Refusal(source, node, f"uses {_shown(name)}")

    def _follow(self, source: UserSource, name: str) -> bool:
        """Look at the user's own function, class or method of a name; return whether there is one."""
        if name.startswith(UNKNOWN):
            last = name.rpartition(".")[2]
            for each in self._neighbours.files():
                for function in each.functions.get(last, ()):
                    self._body(each, function, each.scope)
            return "." in name and last not in _EFFECTS and any(last in each.own for each in self._neighbours.files())
        if name.startswith(OWN):
            first, _, rest = name.removeprefix(OWN).partition(".")
            self.own(source, first, rest)
            return True
        elsewhere = self._neighbours.split(name)
        if elsewhere is None:
            return False
        other, inner = elsewhere
        first, _, rest = inner.partition(".")
        if first not in other.definitions:
            if self._trusted:
                return False
            raise Refusal(source, ast.Pass(), f"needs {name}, which {other.shown} does not define")
        self.own(other, first, rest)
        return True

    def own(self, source: UserSource, name: str, rest: str = "") -> None:
        """Look at what a call of a name of the user's own file runs."""
        if (source, name, rest) in self._seen:
            return
        self._seen.add((source, name, rest))
        if name not in source.definitions:  # a function inside of another, or one that a star import brings
            for function in source.functions.get(name, ()):
                self._body(source, function, source.scope)
        for unit in source.definitions.get(name, ()):
            if isinstance(unit.node, Function):
                self._body(source, unit.node, source.scope)
            elif isinstance(unit.node, ast.ClassDef):
                self._own_methods(source, name, tuple(rest.split(".")) if rest else ())
            elif isinstance(unit.node, ast.Import | ast.ImportFrom):
                for full in source.scope.full_names(ast.Name(id=name, ctx=ast.Load())):
                    whole = f"{full}.{rest}" if rest else full
                    if not self._follow(source, whole) and not self._trusted and not _is_allowed(whole, called=True):
                        raise Refusal(source, unit.node, f"uses {_shown(whole)}")

    def _own_methods(self, source: UserSource, name: str, more: Sequence[str]) -> None:
        """Look at the methods that run when an object of a class is made or used, and at further ones by name."""
        for node in (unit.node for unit in source.definitions.get(name, ())):
            if not isinstance(node, ast.ClassDef) or (node, *more) in self._seen:
                continue
            self._seen.add((node, *more))
            bases = {full for base in node.bases for full in source.scope.full_names(base)}
            foreign = not all(base.startswith(_FRAMEWORKS) for base in bases)  # its base may call any method
            for each in (each for each in node.body if isinstance(each, Function)):
                made = foreign or each.name.startswith("__") or each.name in _LISTS["when_made"] or each.decorator_list
                if each.name in more or made:
                    self._body(source, each, source.scope)
            for base in bases:
                found = (source, base.removeprefix(OWN)) if base.startswith(OWN) else self._neighbours.split(base)
                if found is not None:
                    self._own_methods(*found, more)

    def _body(self, source: UserSource, node: Function, outer: Scope) -> None:
        if node in self._seen:
            return
        self._seen.add(node)
        inside = list(ast.walk(node))[1:]
        scope = Scope(inside, source.package, outer)
        for statement in node.body:
            self.statement(source, statement, scope)
        for each in inside:
            if isinstance(each, Function):
                self._body(source, each, scope)


def _reads(node: ast.Call, position: int) -> bool:
    if any(isinstance(each, ast.Starred) for each in node.args):
        return False
    if any(each.arg is None or each.arg == "opener" for each in node.keywords):
        return False
    modes = [*node.args[position : position + 1], *(each.value for each in node.keywords if each.arg == "mode")]
    values = [each.value if isinstance(each, ast.Constant) else None for each in modes]
    return all(isinstance(value, str) and _READING.fullmatch(value) for value in values)


def _is_chain(node: ast.AST) -> bool:
    """Return whether an expression is a name with attributes, as in `tf.keras.layers`."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name)


def _plain(name: str) -> str:
    """Return a name of Keras without the package that brings Keras."""
    return _KERAS.sub("keras.", name, count=1)


def is_download(name: str) -> bool:
    """Return whether a full name is that of Keras' `get_file`."""
    return _plain(name) == "keras.utils.get_file"


def _is_namespace(name: str) -> bool:
    """Return whether a name is a module, such as `keras.layers`, below which something is allowed."""
    start = _plain(f"{name}.")
    listed = (*_LISTS["namespaces"], *_LISTS["modules"], *_FUNCTIONS)
    return not name.startswith((UNKNOWN, OWN)) and any(f"{each}.".startswith(start) for each in listed)


def _reaches(name: str) -> bool:
    """Return whether a name leads to frames, globals or modules that other objects hold."""
    parts = name.split(".")[1:]
    return any(
        (_REACHING.fullmatch(part) and part not in _LISTS["dunders"]) or part in _LISTS["roots"] for part in parts
    )


def _is_allowed(name: str, *, called: bool) -> bool:  # noqa: PLR0911 - a table of the roots of names
    """Return whether a full name may be used; of an object that is not known, the methods without effects may."""
    root, _, rest = name.partition(".")
    parts = rest.split(".") if rest else []
    plain = _plain(name)
    if plain in _FUNCTIONS:
        return True
    if _reaches(name):
        return False
    if root == UNKNOWN:
        known = not parts or parts[-1] in _METHODS or parts[-1].startswith("__")
        return not _EFFECTS.intersection(parts) and (known or not called)
    if root == "builtins":
        if not parts:
            return False
        is_error = re.fullmatch(r"[A-Z]\w+", parts[0]) is not None
        plain_parts = all(part in _METHODS or part in {"__init__", "__getitem__"} for part in parts[1:])
        return (parts[0] in _LISTS["builtins"] or is_error) and plain_parts
    module, _, last = plain.rpartition(".")
    if plain in _LISTS["except"] or last.startswith("_"):
        return False
    if module in _LISTS["modules"]:
        found = importlib.import_module(module)
        return last in getattr(found, "__all__", dir(found))
    # A method of a class of such a namespace, as in `datetime.datetime.now` or `keras.layers.GRU.from_config`.
    unbound = last in _METHODS - {"open", "replace", "write"}
    return module in _LISTS["namespaces"] or (unbound and module != root and _is_allowed(module, called=False))


def _shown(name: str) -> str:
    return name.removeprefix(f"{UNKNOWN}.").removeprefix(OWN).removeprefix("builtins.")
