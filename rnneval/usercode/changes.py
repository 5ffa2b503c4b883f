"""Changes of objects and settings: `config["units"] = 512`, `vocab.append(…)`, `set_global_policy(…)`."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rnneval.usercode.effects import Function, run_at_once
from rnneval.usercode.resolve import Scope, root_of

_CHANGING = frozenset((
    "append", "extend", "insert", "update", "add", "setdefault", "pop", "popitem", "popleft", "remove", "discard",
    "clear", "sort", "reverse", "appendleft", "rotate", "adapt", "set_vocabulary", "fit_on_texts", "register", "build",
    "set_weights", "intersection_update", "difference_update", "__setitem__", "subtract", "read_dict", "read",
    "read_string", "seek", "assign",
))  # fmt: skip
"""Methods that change their object; not `fit`, `compile` and `load_weights`, since weights come from a file."""
_PARTS = frozenset(("get", "setdefault", "items", "values", "get_layer"))
"""Methods that return a part of their object."""
_CHANGING_STARTS = ("add_", "append", "insert", "register", "set_", "update_")
_CHANGING_FUNCTIONS = frozenset((
    "builtins.setattr", "builtins.delattr", "random.shuffle", "numpy.random.shuffle", "heapq.heapify", "heapq.heappush",
    "heapq.heappop", "bisect.insort", "bisect.insort_left", "bisect.insort_right", "operator.setitem",
))  # fmt: skip
"""Functions that change their first argument."""
_SETTING_STARTS = ("set_", "enable_", "disable_", "experimental_enable_", "experimental_set_")
_SETTING_ROOTS = ("keras", "tensorflow", "tf_keras")
_SETTINGS = frozenset((
    "sys.path.insert", "sys.path.append", "sys.path.extend", "sys.path.remove", "sys.setrecursionlimit", "random.seed",
    "numpy.random.seed", "os.environ.update", "os.environ.setdefault", "os.environ.pop", "os.putenv", "os.unsetenv",
))  # fmt: skip
_SETTING_PLACES = ("sys.path", "os.environ")


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Changes that a statement, or a call of a function, makes beside the names that it binds."""

    names: set[str] = field(default_factory=set)
    """Names of objects that are changed, or of globals that a called function binds."""
    parameters: set[int] = field(default_factory=set)
    """Positions of a function's parameters that it changes."""
    settings: bool = False
    """Whether it changes a setting of Keras or TensorFlow, a random seed, `sys.path` or `os.environ`."""


class ChangeFinder:
    """Search for changes in the statements of one file; calls of the file's own functions are followed."""

    def __init__(self, nodes: Sequence[ast.AST], scope: Scope) -> None:
        self._scope = scope
        self._functions: dict[str, list[ast.AST]] = {}
        self._summaries: dict[str, Changes] = {}
        for node in nodes:
            if isinstance(node, Function):
                self._functions.setdefault(node.name, []).append(node)

    def of_statement(self, node: ast.AST) -> Changes:
        """Return the changes of a statement of the module; of a block, give the header."""
        return self._of_nodes(list(run_at_once(node)), self._scope)

    def _of_nodes(self, nodes: Sequence[ast.AST], scope: Scope) -> Changes:
        names: set[str] = set()
        settings = False
        for node in nodes:
            if isinstance(node, ast.Call):
                called = self._of_call(node, scope)
                names |= called.names
                settings |= called.settings
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names |= self._of_decorators(node.decorator_list, scope)
            for target in _targets(node):
                root = root_of(target)
                if root is not None and ".optimizer" not in ast.unparse(target):
                    names.add(root)
                settings |= self._is_setting_place(target, scope)
        return Changes(names=names, settings=settings)

    def _of_decorators(self, decorators: Sequence[ast.expr], scope: Scope) -> set[str]:
        """Return the registers that decorators may add to: `models` of `@models.register("gru")`."""
        names: set[str] = set()
        for each in decorators:
            root, plain = root_of(each), _plain(each.func if isinstance(each, ast.Call) else each)
            if root is not None and plain is None and not scope.is_library(root):
                names.add(root)
            names |= self._summary(plain).names
        return names

    def _is_setting_place(self, target: ast.expr, scope: Scope) -> bool:
        """Return whether an assignment to `target` changes a setting: `sys.path`, `os.environ["NAME"]`."""
        place = target.value if isinstance(target, ast.Subscript) else target
        return _is_register(place, scope) or bool(scope.full_names(place) & set(_SETTING_PLACES))

    def _of_call(self, node: ast.Call, scope: Scope) -> Changes:
        found, names = scope.full_names(node.func), set()
        settings = any(map(_is_setting, found))
        if isinstance(node.func, ast.Attribute):
            root = root_of(node.func)
            changing = node.func.attr in _CHANGING or node.func.attr.startswith(_CHANGING_STARTS)
            if root is not None and changing and not scope.is_library(root):
                names.add(root)
            settings |= _is_register(node.func.value, scope)
        changed = {0} if found & _CHANGING_FUNCTIONS else set()
        summary = self._summary(_plain(node.func))
        for position in changed | summary.parameters:
            if position < len(node.args) and (root := root_of(node.args[position])) is not None:
                names.add(root)
        return Changes(names=names | summary.names, settings=settings or summary.settings)

    def _summary(self, name: str | None) -> Changes:
        """Return the changes that a call of a function of this file makes to globals, parameters and settings."""
        if name is None or name not in self._functions:
            return Changes()
        if name not in self._summaries:
            self._summaries[name] = Changes()  # a recursive call adds nothing
            found = [self._of_function(node) for node in self._functions[name]]
            self._summaries[name] = Changes(
                names=set().union(*(each.names for each in found)),
                parameters=set().union(*(each.parameters for each in found)),
                settings=any(each.settings for each in found),
            )
        return self._summaries[name]

    def _of_function(self, node: ast.AST) -> Changes:
        nodes = list(ast.walk(node))[1:]
        scope = Scope(nodes, outer=self._scope)
        changed = self._of_nodes(nodes, scope)
        declared = {name for each in nodes if isinstance(each, ast.Global) for name in each.names}
        parameters = [each.arg for each in getattr(node, "args").args]  # noqa: B009 - a function of either kind
        stored = {each.id for each in nodes if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
        local = (stored | {each.arg for each in nodes if isinstance(each, ast.arg)}) - declared
        return Changes(
            names=(changed.names - local) | (declared & stored),
            parameters={at for at, name in enumerate(parameters) if name in changed.names},
            settings=changed.settings,
        )


def _targets(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the attributes and items that a node assigns or deletes, and names that are changed in place."""
    if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
        yield node
    elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        yield node.target


def _is_register(node: ast.expr, scope: Scope) -> bool:
    """Return whether an expression is Keras' register of custom objects, `get_custom_objects()`."""
    return isinstance(node, ast.Call) and any(
        name.endswith(".get_custom_objects") for name in scope.full_names(node.func)
    )


def _plain(node: ast.AST) -> str | None:
    return node.id if isinstance(node, ast.Name) else None


def _is_setting(name: str) -> bool:
    root, _, rest = name.partition(".")
    if name in _SETTINGS:
        return True
    if root not in _SETTING_ROOTS:
        return False
    return rest.rpartition(".")[2].startswith(_SETTING_STARTS) or (rest.startswith("config.") and root == "keras")


def aliases_of(nodes: Sequence[ast.AST]) -> Mapping[str, set[str]]:
    """Return for each name the others whose objects change with its own.

    These are the object of which it is a part (`part = config["lstm"]`), and other names of the same object.
    """
    direct: dict[str, set[str]] = {}
    for node in nodes:
        same: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            same = [*node.targets, node.value]
            pairs = [(target, node.value) for target in node.targets]
        elif isinstance(node, ast.For | ast.NamedExpr):
            pairs = [(node.target, node.iter if isinstance(node, ast.For) else node.value)]
        else:
            continue
        for target, value in pairs:
            if isinstance(target, ast.Name) and (whole := _whole_of(value)) is not None:
                direct.setdefault(target.id, set()).add(whole)
        names = {each.id for each in same if isinstance(each, ast.Name)}
        for name in names:
            direct.setdefault(name, set()).update(names - {name})
    return {name: _closed(name, direct) for name in direct}


def _whole_of(node: ast.expr) -> str | None:
    """Return the name of the object of which an expression takes a part: `a` of `a.b[0]` and of `a.get("b")`."""
    at: ast.expr = node
    while True:
        if isinstance(at, ast.Attribute | ast.Subscript):
            at = at.value
        elif isinstance(at, ast.Call) and isinstance(at.func, ast.Attribute) and at.func.attr in _PARTS:
            at = at.func.value
        else:
            return at.id if isinstance(at, ast.Name) else None


def _closed(name: str, direct: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        new = direct.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found - {name}
