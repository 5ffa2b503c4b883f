"""The list of what code may do before the user's builder is called: all that is not on it is refused.

The list is `allowed.toml`; `is_allowed` reads it. Each name that the statements of a slice mention must be on it, and
so must the names in the bodies of the user's own functions and classes among them, since any function may call what it
is given. Of the builder itself only the calls are refused that train or save, since they are mostly mistakes.
"""

import ast
import importlib
import re
import tomllib
from collections.abc import Iterable
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
    header_of,
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
_OPENING = {"builtins.open", "io.open", "codecs.open"}
_READING = re.compile(r"r?[bt]?|[bt]r|rU")
_REACHING = re.compile(r"__\w+|(gi|cr|ag|tb)_\w+|f_(back|builtins|globals|locals|code)")
_FRAMEWORKS = (OWN, "builtins.", "keras.", "tensorflow.", "tf_keras.", "torch.nn.", "abc.", "typing.")
_PLACES = ("os.environ", "sys.path")  # what the slice may change of other modules, beside the register of Keras
_KERAS = re.compile(r"(tensorflow\.(compat\.v1\.)?|tensorflow\.python\.|tf_)keras\.|keras\.(api|src|engine)\.")
DOWNLOADS = "downloads"


# The list


def _plain(name: str) -> str:
    """Return a name of Keras without the package that brings Keras."""
    return _KERAS.sub("keras.", name, count=1)


def is_download(name: str) -> bool:
    """Return whether a full name is that of Keras' `get_file`."""
    return _plain(name) == "keras.utils.get_file"


def is_allowed(name: str, *, called: bool) -> bool:
    """Return whether the list has a full name; a method of an object of an unknown class is judged by its name."""
    root, *parts = name.split(".")
    plain = _plain(name)
    if plain in _FUNCTIONS or _reaches(name) or not parts:
        return plain in _FUNCTIONS or name == UNKNOWN
    if root == UNKNOWN:
        known = parts[-1] in _METHODS or parts[-1].startswith("__")
        return not _EFFECTS.intersection(parts) and (known or not called)
    if root == "builtins":
        is_error = re.fullmatch(r"[A-Z]\w+", parts[0]) is not None
        plain_parts = all(part in _METHODS or part in {"__init__", "__getitem__"} for part in parts[1:])
        return (parts[0] in _LISTS["builtins"] or is_error) and plain_parts
    module, _, last = plain.rpartition(".")
    if plain in _LISTS["except"] or last.startswith("_"):
        return False
    if module in _LISTS["modules"]:
        imported = importlib.import_module(module)
        return last in getattr(imported, "__all__", dir(imported))
    # A method of a class of such a namespace, as in `datetime.datetime.now` or `keras.layers.GRU.from_config`.
    unbound = last in _METHODS - {"open", "replace", "write"}
    return module in _LISTS["namespaces"] or (unbound and module != root and is_allowed(module, called=False))


def _reaches(name: str) -> bool:
    """Return whether a name leads to frames, globals or modules that other objects hold."""
    hidden = (part for part in name.split(".")[1:] if part not in _LISTS["dunders"])
    return any(_REACHING.fullmatch(part) or part in _LISTS["roots"] for part in hidden)


def _is_namespace(name: str) -> bool:
    """Return whether a name is a module, such as `keras.layers`, below which something is allowed."""
    start = _plain(f"{name}.")
    listed = (*_LISTS["namespaces"], *_LISTS["modules"], *_FUNCTIONS)
    return not name.startswith((UNKNOWN, OWN)) and any(f"{place}.".startswith(start) for place in listed)


# The walk over statements


class Refusal(Exception):  # noqa: N818 - it is caught and returned: a message is made of it where the slice is known
    """A statement that may not be run, and the unit that leads to it."""

    def __init__(self, source: UserSource, node: ast.AST, does: str) -> None:
        line = getattr(node, "lineno", 1)
        self.does = does  # verb and object: `calls os.system`
        self.place, self.text = source.place(line), source.line(line)
        self.unit: CodeUnit | None = None  # the unit of the slice from which it is reached


def first_refused(source: UserSource, called: str | None = None) -> Refusal | None:
    """Return the first unit that is not allowed, or the first likely mistake in what a call of `called` runs."""
    neighbours = Neighbours(source)
    unit: CodeUnit | None = None
    try:
        walk = _Walk(neighbours)
        for unit in source.units:
            walk.look(source, header_of(unit.node), source.scope)
        if called is not None:
            unit = next(iter(source.definitions.get(called.partition(".")[0], ())), None)
            trusting = _Walk(neighbours, trusted=True)
            for name in sorted(source.scope.full_names(_parsed(called))):
                trusting.follow(source, name)
    except Refusal as refusal:
        refusal.unit = unit
        return refusal
    return None


class _Walk:
    """One walk over statements and the user's code they mention; `trusted`: only training and saving are refused."""

    def __init__(self, neighbours: Neighbours, *, trusted: bool = False) -> None:
        self._neighbours, self._trusted = neighbours, trusted
        self._seen: set[ast.AST] = set()

    def look(self, source: UserSource, node: ast.AST, scope: Scope) -> None:
        """Refuse a statement or an expression that is not allowed, or runs what is not."""
        inside = list(ast.iter_child_nodes(node))
        match node:
            case ast.Import() | ast.ImportFrom():  # of the user's own files only what is allowed runs
                return
            case ast.FunctionDef() | ast.AsyncFunctionDef():  # the body is looked at where its name is mentioned
                inside = [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]
            case ast.ClassDef():
                own = [base for base in node.bases if any(n.startswith(OWN) for n in scope.full_names(base))]
                foreign = [base for base in node.bases if base not in own]
                inside = [*node.decorator_list, *node.keywords, *foreign, *node.body]
                scope = Scope(node.body, source.package, scope)
            case ast.AnnAssign():
                inside.remove(node.annotation)
            case ast.Assign() if self._is_alias(node, scope):
                inside = [*node.targets]
            case ast.Compare() if _is_chain(node.left) and re.search(r" is (not )?None$", ast.unparse(node)):
                return  # whether an optional module could be imported
            case ast.Lambda():
                scope = Scope(list(ast.walk(node))[1:], source.package, scope)
            case ast.Call() if self._use(source, node.func, scope, node):
                inside = [*node.args, *node.keywords]
            case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                self._change(source, node, scope)
            case ast.Name(ctx=ast.Load()) | ast.Attribute() if self._use(source, node, scope):
                return
        for child in inside:
            self.look(source, child, scope)

    def _is_alias(self, node: ast.Assign, scope: Scope) -> bool:
        """Return whether a statement gives a module another name, whose uses are then looked at."""
        plain = all(isinstance(target, ast.Name) for target in node.targets)
        return plain and _is_chain(node.value) and all(map(_is_namespace, scope.full_names(node.value)))

    def _change(self, source: UserSource, target: ast.Attribute | ast.Subscript, scope: Scope) -> None:
        for name in scope.full_names(target.value):
            if not self._trusted and not name.startswith((UNKNOWN, OWN)) and name not in _PLACES:
                raise Refusal(source, target, f"changes {name}")

    def _use(self, source: UserSource, node: ast.expr, scope: Scope, call: ast.Call | None = None) -> bool:
        """Refuse a name or attribute that is not allowed; return whether there is nothing else in the expression."""
        if not isinstance(node, ast.Name | ast.Attribute):
            return False
        names, is_chain = sorted(scope.full_names(node)), _is_chain(node)
        if is_chain and not scope.knows(ast.unparse(node).partition(".")[0]):
            stars = [unit.node for unit in source.units if unit.is_star and isinstance(unit.node, ast.ImportFrom)]
            names = [f"{imported_module(star, source.package)}.{ast.unparse(node)}" for star in stars] or names
        for name in names:
            own = self.follow(source, name) and not _reaches(name)
            if call is not None and self._is_call_allowed(source, call, name, own=own):
                continue
            if not own and not self._trusted and not is_allowed(name, called=call is not None):
                shown = name.removeprefix(f"{UNKNOWN}.").removeprefix(OWN).removeprefix("builtins.")
                raise Refusal(source, call or node, f"{'uses' if call is None else 'calls'} {shown}")
        return is_chain

    def _is_call_allowed(self, source: UserSource, call: ast.Call, name: str, *, own: bool) -> bool:
        """Refuse calls that the arguments decide on; return whether the call is one of these, and allowed."""
        last, unknown = name.rpartition(".")[2], name.startswith(UNKNOWN)
        if self._trusted:
            if isinstance(call.func, ast.Attribute) and _MISTAKES.fullmatch(last) and not own:
                saves = last.startswith(("save", "export"))
                raise Refusal(source, call, "saves a file" if saves else "trains a model")
            return True
        if name in _OPENING or (unknown and last == "open"):
            if not _reads(call, 0 if unknown else 1):
                raise Refusal(source, call, "opens a file in another mode than reading")
            return True
        if unknown and last == "replace" and len(call.args) < 2:
            raise Refusal(source, call, "calls replace with one argument, which may move a file")
        if is_download(name):
            self._downloads(source, call)
        return False

    def _downloads(self, source: UserSource, call: ast.Call) -> None:
        """Refuse a file that is not in Keras' cache, as far as the arguments are literals."""
        try:
            positional = [ast.literal_eval(value) for value in call.args]
            keywords = {item.arg: ast.literal_eval(item.value) for item in call.keywords if item.arg}
        except ValueError:
            return  # it is looked for when the statement runs
        looked = cache_places(*positional, **keywords)
        if not any(path.exists() for path in looked):
            raise Refusal(source, call, f"{DOWNLOADS} {looked[-1].name}, which is not in Keras' cache ({looked[-1]})")

    # The user's own code

    def follow(self, source: UserSource, name: str) -> bool:
        """Look at the user's own function, class or methods of a full name; return whether it is the user's own."""
        first, *methods = name.split(".")
        if first == UNKNOWN:
            self._methods(methods[-1:])
            own = any(name in file.own for file in self._neighbours.files() for name in methods[-1:])
            return own and methods[-1] not in _EFFECTS
        if first.startswith(OWN):
            first = first.removeprefix(OWN)
            for unit in source.definitions.get(first, ()):
                if isinstance(unit.node, ast.ClassDef):
                    self._class(source, unit.node)
            for function in source.functions.get(first, ()):
                self._body(source, function, source.scope)
            self._methods(methods)
            return True
        elsewhere = self._neighbours.split(name)
        if elsewhere is None:
            return False
        other, inner = elsewhere
        if inner.partition(".")[0] not in other.definitions:
            if not self._trusted:
                raise Refusal(source, ast.Pass(), f"needs {name}, which {other.shown} does not define")
            return False
        for full in sorted(other.scope.full_names(_parsed(inner))):  # it may have imported it from elsewhere
            if not self.follow(other, full) and not self._trusted and not is_allowed(full, called=False):
                raise Refusal(source, ast.Pass(), f"uses {full} of {other.shown}")
        return True

    def _methods(self, names: Iterable[str]) -> None:
        """Look at all of the user's functions and methods with these names, whatever the class of the object is."""
        for name in names:
            for source in self._neighbours.files():
                for function in source.functions.get(name, ()):
                    self._body(source, function, source.scope)

    def _class(self, source: UserSource, node: ast.ClassDef) -> None:
        """Look at the methods that run when an object of a class is made or used by a framework."""
        if node in self._seen:
            return
        self._seen.add(node)
        bases = {full for base in node.bases for full in source.scope.full_names(base)}
        foreign = not all(base.startswith(_FRAMEWORKS) for base in bases)  # its base may call any method
        for method in (item for item in node.body if isinstance(item, Function)):
            runs = method.name.startswith("__") or method.name in _LISTS["when_made"] or method.decorator_list
            if foreign or runs:
                self._body(source, method, source.scope)
        for base in sorted(bases):
            self.follow(source, base)

    def _body(self, source: UserSource, node: Function, outer: Scope) -> None:
        if node in self._seen:
            return
        self._seen.add(node)
        inside = list(ast.walk(node))[1:]
        scope = Scope(inside, source.package, outer)
        for inner in inside:
            if isinstance(inner, Function):
                self._body(source, inner, scope)
        for statement in node.body:
            self.look(source, statement, scope)


def _parsed(name: str) -> ast.expr:
    return ast.parse(name, mode="eval").body


def _reads(call: ast.Call, position: int) -> bool:
    """Return whether a call opens a file to read it, by a mode that is a literal."""
    named = {item.arg: item.value for item in call.keywords}
    if None in named or "opener" in named or any(isinstance(value, ast.Starred) for value in call.args):
        return False
    modes = [*call.args[position : position + 1], *([named["mode"]] if "mode" in named else [])]
    words = [mode.value if isinstance(mode, ast.Constant) else None for mode in modes]
    return all(isinstance(word, str) and _READING.fullmatch(word) for word in words)


def _is_chain(node: ast.AST) -> bool:
    """Return whether an expression is a name with attributes, as in `tf.keras.layers`."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name)
