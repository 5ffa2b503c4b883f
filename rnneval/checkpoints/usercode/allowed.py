"""The list of what code may do before the user's builder is called: all that is not on it is refused.

`allowed.toml` is the list. `_Walk` finds the names that the statements of a slice mention, with those in the bodies of
the user's own functions and classes among them, since any function may call what it is given. `_refused` judges each
name by the list. Of the builder itself only calls that train or save are refused (`_mistake`): mistakes, mostly.
"""

import ast
import importlib
import re
import tomllib
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
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
_CALLED: dict[str, list[int | str]] = _LISTED.pop("called")  # the arguments that a function calls, by its full name
_LISTS = {key: frozenset(names.split()) for key, names in _LISTED.items()}
_METHODS, _EFFECTS = _LISTS["methods"], _LISTS["effects"]
_MODULES = tuple(f"{name}." for name in (*_LISTS["namespaces"], *_LISTS["modules"], *_FUNCTIONS))
_MISTAKES = re.compile(r"fit|fit_generator|partial_fit|train_on_batch|apply_gradients|minimize|save|save_\w+|export")
_OPENING = {"builtins.open", "io.open", "codecs.open"}
_PRINTING = {"end", "sep", "name", "summarize"}  # the arguments of tf.print that write nothing
_READING = re.compile(r"r?[bt]?|[bt]r|rU")
_FIELD = re.compile(r"\{([^{}:!]*)")  # what a field of a format string reads
_REACHING = re.compile(r"__\w+|(gi|cr|ag|tb)_\w+|f_(back|builtins|globals|locals|code)")
_FRAMEWORKS = (OWN, "builtins.", "keras.", "tensorflow.", "tf_keras.", "torch.nn.", "abc.", "typing.")
_PLACES = ("os.environ", "sys.path")  # what the slice may change of other modules, beside the register of Keras
_KERAS = re.compile(r"(tensorflow\.(compat\.v1\.)?|tensorflow\.python\.|tf_)keras\.|keras\.(api|src|engine)\.")
DOWNLOADS = "downloads"


@dataclass(frozen=True, kw_only=True)
class Use:
    """A full name that code mentions."""

    source: UserSource
    node: ast.AST
    name: str
    call: ast.Call | None = None  # the call of it
    handed: bool = False  # whether it is handed to a function that calls it
    changed: bool = False  # whether an attribute or item of it is assigned or deleted
    own: bool = False  # whether it is the user's own function, class or method


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A use that may not be run, and the unit of the slice that leads to it."""

    unit: CodeUnit | None
    does: str  # verb and object: `calls os.system`
    place: str
    text: str


def first_refused(source: UserSource, called: str | None = None) -> Refusal | None:
    """Return the first use that is not allowed, or the first likely mistake in what a call of `called` runs."""
    neighbours = Neighbours(source)
    walk = _Walk(neighbours)
    for unit in source.units:
        for use in walk.look(source, header_of(unit.node), source.scope):
            if does := _refused(use):
                return _refusal(use, does, unit)
    if called is not None:
        units, walk = source.definitions.get(called.partition(".")[0], [None]), _Walk(neighbours)
        for name in sorted(source.scope.full_names(_parsed(called))):
            for use in walk.follow(source, name):
                if does := _mistake(use):
                    return _refusal(use, does, units[0])
    return None


def _refusal(use: Use, does: str, unit: CodeUnit | None) -> Refusal:
    line = getattr(use.call or use.node, "lineno", 1)
    return Refusal(unit=unit, does=does, place=use.source.place(line), text=use.source.line(line))


# The judgement of one use


def _mistake(use: Use) -> str:
    """Return what a call trains or saves; "" for other uses."""
    last = use.name.rpartition(".")[2]
    if use.call is None or use.own or not isinstance(use.call.func, ast.Attribute) or not _MISTAKES.fullmatch(last):
        return ""
    return "saves a file" if last.startswith(("save", "export")) else "trains a model"


def _refused(use: Use) -> str:
    """Return what a use does that is not allowed; "" if it is."""
    name, call, judge = use.name, use.call, _judge_of(use.name)
    shown = name.removeprefix(f"{UNKNOWN}.").removeprefix(OWN).removeprefix("builtins.")
    if use.changed:
        return "" if name.startswith((UNKNOWN, OWN)) or name in _PLACES else f"changes {name}"
    if call is None:  # what is judged by its arguments has none yet where it is handed on
        return "" if judge is None and (use.own or is_allowed(name, called=use.handed)) else f"uses {shown}"
    if does := judge and judge(call):
        return does
    if is_download(name) and (missing := _not_cached(call)):
        return f"{DOWNLOADS} {missing.name}, which is not in Keras' cache ({missing})"
    return "" if use.own or is_allowed(name, called=True) else f"calls {shown}"


def _judge_of(name: str) -> Callable[[ast.Call], str] | None:
    """Return what says of a call by its arguments what it does that is not allowed; None where they do not matter."""
    method = name.rpartition(".")[2] if name.startswith(UNKNOWN) else ""
    if name in _OPENING or method == "open":
        return lambda call: "" if _reads(call, 0 if method else 1) else "opens a file in another mode than reading"
    if method == "replace":
        return lambda call: "" if len(call.args) > 1 else "calls replace with one argument, which may move a file"
    if name == "functools.wraps":  # which copies any attribute that it is given the name of
        return lambda call: "" if len(call.args) == 1 and not call.keywords else "calls wraps with names of attributes"
    if name == "tensorflow.print":
        said = "calls tf.print with output_stream, which may write"
        return lambda call: "" if {item.arg for item in call.keywords} <= _PRINTING else said
    return None


def is_allowed(name: str, *, called: bool = False) -> bool:
    """Return whether the list has a full name; a method of an object of an unknown class is judged by its name."""
    root, *parts = name.split(".")
    plain = _plain(name)
    if plain in _FUNCTIONS or _reaches(name) or not parts:  # of what no name is known, only a mention is allowed
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
    return module in _LISTS["namespaces"] or (unbound and module != root and is_allowed(module))


def _plain(name: str) -> str:
    """Return a name of Keras without the package that brings Keras."""
    return _KERAS.sub("keras.", name, count=1)


def is_download(name: str) -> bool:
    """Return whether a full name is that of Keras' `get_file`."""
    return _plain(name) == "keras.utils.get_file"


def _reaches(name: str) -> bool:
    """Return whether a name leads to frames, globals or modules that other objects hold."""
    hidden = (part for part in name.split(".")[1:] if part not in _LISTS["dunders"])
    return any(_REACHING.fullmatch(part) or part in _LISTS["roots"] for part in hidden)


def _reads(call: ast.Call, position: int) -> bool:
    """Return whether a call opens a file to read it, by a mode that is a literal."""
    named = {item.arg: item.value for item in call.keywords}
    if None in named or "opener" in named or any(isinstance(value, ast.Starred) for value in call.args):
        return False
    modes = [*call.args[position : position + 1], *([named["mode"]] if "mode" in named else [])]
    words = [mode.value if isinstance(mode, ast.Constant) else None for mode in modes]
    return all(isinstance(word, str) and _READING.fullmatch(word) for word in words)


def _not_cached(call: ast.Call) -> Path | None:
    """Return the file of `get_file` if it is not in Keras' cache, as far as the arguments are literals."""
    try:
        positional = [ast.literal_eval(value) for value in call.args]
        keywords = {item.arg: ast.literal_eval(item.value) for item in call.keywords if item.arg}
    except ValueError:
        return None  # it is looked for when the statement runs
    looked = cache_places(*positional, **keywords)
    return None if any(path.exists() for path in looked) else looked[-1]


# The walk


class _Walk:
    """One walk over statements and the user's own code that they mention, each function and class once."""

    def __init__(self, neighbours: Neighbours) -> None:
        self._neighbours = neighbours
        self._seen: set[ast.AST] = set()

    def look(self, source: UserSource, node: ast.AST, scope: Scope) -> Iterator[Use]:
        """Yield the uses in a statement or an expression."""
        inside = list(ast.iter_child_nodes(node))
        yield from (Use(source=source, node=node, name=name) for name in _formatted(node))
        match node:
            case ast.Import() | ast.ImportFrom():  # of the user's own files only what is allowed runs
                return
            case ast.FunctionDef() | ast.AsyncFunctionDef():  # the body is looked at where its name is mentioned
                inside = [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]
                inside += _calls([each.annotation for each in ast.walk(node.args) if isinstance(each, ast.arg)])
                inside += _calls([node.returns])
            case ast.ClassDef():
                foreign = [base for base in node.bases if not any(n.startswith(OWN) for n in scope.full_names(base))]
                inside = [*node.decorator_list, *node.keywords, *foreign, *node.body]
                scope = Scope(node.body, source.package, scope)
            case ast.AnnAssign():
                inside.remove(node.annotation)
                inside += _calls([node.annotation])
            case ast.Assign() if _is_alias(node, scope):
                inside = [*node.targets]
            case ast.Compare(ops=[ast.Is() | ast.IsNot()], comparators=[ast.Constant(None)]) if _is_chain(node.left):
                return  # whether an optional module could be imported
            case ast.Lambda():
                scope = Scope(list(ast.walk(node))[1:], source.package, scope)
            case ast.Call(func=ast.Name() | ast.Attribute() as callee):
                yield from self._mentioned(source, callee, scope, node)
                held = [] if _is_chain(callee) else ast.iter_child_nodes(callee)
                inside = [*held, *node.args, *node.keywords]
                yield from self._handed(source, scope, node)
            case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                for name in scope.full_names(node.value):
                    yield Use(source=source, node=node, name=name, changed=True)
            case ast.Name(ctx=ast.Load()) | ast.Attribute():
                yield from self._mentioned(source, node, scope)
                inside = [] if _is_chain(node) else inside
        for child in inside:
            yield from self.look(source, child, scope)

    def _handed(self, source: UserSource, scope: Scope, call: ast.Call) -> Iterator[Use]:
        """Yield the methods among the arguments that a function on the list, or the user's own function, calls."""
        arguments = dict[int | str | None, ast.expr](enumerate(call.args)) | {k.arg: k.value for k in call.keywords}
        for callee in scope.full_names(call.func):
            places = [*_CALLED.get(callee, ()), *_CALLED.get(f"{UNKNOWN}.{callee.rpartition('.')[2]}", ())]
            for function in source.functions.get(callee.removeprefix(OWN), ()) if callee.startswith(OWN) else ():
                calls = {ast.unparse(each.func) for each in ast.walk(function) if isinstance(each, ast.Call)}
                for place, parameter in enumerate(function.args.args):
                    places += [place, parameter.arg] if parameter.arg in calls else []
            values = [arguments[place] for place in places if place in arguments]
            nodes = (n for each in values for n in (ast.walk(each) if isinstance(each, ast.Starred) else [each]))
            for node in nodes:
                for name in (name for name in scope.full_names(node) if name.startswith(f"{UNKNOWN}.")):
                    own = yield from self.follow(source, name)
                    yield Use(source=source, node=node, name=name, handed=True, own=own)

    def _mentioned(
        self, source: UserSource, node: ast.Name | ast.Attribute, scope: Scope, call: ast.Call | None = None
    ) -> Iterator[Use]:
        """Yield a name or attribute by its full names, those in the user's own code that it leads to first."""
        names, written = sorted(scope.full_names(node)), ast.unparse(node)
        if _is_chain(node) and not scope.knows(written.partition(".")[0]):
            stars = [unit.node for unit in source.units if unit.is_star and isinstance(unit.node, ast.ImportFrom)]
            names = [f"{imported_module(star, source.package)}.{written}" for star in stars] or names
        for name in names:
            own = yield from self.follow(source, name)
            yield Use(source=source, node=node, name=name, call=call, own=own and not _reaches(name))

    def follow(self, source: UserSource, name: str) -> Generator[Use, None, bool]:
        """Yield the uses in the user's own function, class or methods of a full name; return whether it is one."""
        first, *methods = name.split(".")
        if first == UNKNOWN:
            yield from self._bodies(methods[-1:])
            own = any(name in file.own for file in self._neighbours.files() for name in methods[-1:])
            return own and methods[-1] not in _EFFECTS
        if first.startswith(OWN):
            first = first.removeprefix(OWN)
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
        for full in sorted(other.scope.full_names(_parsed(inner))):  # it may have imported it from elsewhere
            own = yield from self.follow(other, full)
            yield Use(source=other, node=ast.Pass(), name=full, own=own)
        return True

    def _bodies(self, names: Iterable[str]) -> Iterator[Use]:
        """Look at all of the user's functions and methods with these names, whatever the class of the object is."""
        for name in names:
            for source in self._neighbours.files():
                for function in source.functions.get(name, ()):
                    yield from self._body(source, function, source.scope)

    def _class(self, source: UserSource, node: ast.ClassDef) -> Iterator[Use]:
        """Look at the methods that run when an object of a class is made or used by a framework."""
        if node in self._seen:
            return
        self._seen.add(node)
        bases = {full for base in node.bases for full in source.scope.full_names(base)}
        foreign = not all(base.startswith(_FRAMEWORKS) for base in bases)  # its base may call any method
        for method in (item for item in node.body if isinstance(item, Function)):
            runs = method.name.startswith("__") or method.name in _LISTS["when_made"] or method.decorator_list
            if foreign or runs:
                yield from self._body(source, method, source.scope)
        for base in sorted(bases):
            yield from self.follow(source, base)

    def _body(self, source: UserSource, node: Function, outer: Scope) -> Iterator[Use]:
        if node in self._seen:
            return
        self._seen.add(node)
        inside = list(ast.walk(node))[1:]
        scope = Scope(inside, source.package, outer)
        for inner in inside:
            if isinstance(inner, Function):
                yield from self._body(source, inner, scope)
        for statement in node.body:
            yield from self.look(source, statement, scope)


def _formatted(node: ast.AST) -> Iterator[str]:
    """Yield what the fields of a text reach, as in `"{0.__class__}"`: any text may be given to `format`."""
    text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
    names = (f"{UNKNOWN}.{part}" for field in _FIELD.findall(text) for part in re.findall(r"\.(\w+)", field))
    yield from filter(_reaches, names)


def _is_alias(node: ast.Assign, scope: Scope) -> bool:
    """Return whether a statement gives a module, such as `keras.layers`, another name, whose uses are looked at."""
    plain = all(isinstance(target, ast.Name) for target in node.targets) and _is_chain(node.value)
    return plain and all(
        not name.startswith((UNKNOWN, OWN)) and any(place.startswith(_plain(f"{name}.")) for place in _MODULES)
        for name in scope.full_names(node.value)
    )


def _calls(annotations: Iterable[ast.expr | None]) -> list[ast.expr]:
    """Return the calls in annotations, which run; the types that they name need not be on the list."""
    every = (node for each in annotations if each is not None for node in ast.walk(each))
    return [node for node in every if isinstance(node, ast.Call)]


def _is_chain(node: ast.AST) -> bool:
    """Return whether an expression is a name with attributes, as in `tf.keras.layers`."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name)


def _parsed(name: str) -> ast.expr:
    return ast.parse(name, mode="eval").body
