"""Full names of what source code mentions, found through imports and simple assignments."""

import ast
import builtins
from collections.abc import Iterable

UNKNOWN = "?"
"""First part of the name of an attribute whose object is not known, as in `?.fit`."""
OWN = "@"
"""First part of the name of a function or class of the same file, as in `@MyModel`."""
_LIBRARIES = ("tensorflow", "keras", "tf_keras", "numpy")
_MOST = 8
"""Most meanings of one name that are followed."""


class Scope:
    """Meanings of the names of a file, or of a function in it.

    A name that is bound several times has several meanings: this is for rules that hold if any of them does.
    """

    def __init__(self, nodes: Iterable[ast.AST], package: str = "", outer: "Scope | None" = None) -> None:
        self._package, self._outer = package, outer
        self._meanings: dict[str, list[str | ast.expr]] = {}
        self._modules: set[str] = set()
        for node in nodes:
            self._add(node)

    def _add(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name if alias.asname else alias.name.partition(".")[0]
                self._bind(alias.asname or first, first)
                self._modules.add(alias.asname or first)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                self._bind(alias.asname or alias.name, f"{imported_module(node, self._package)}.{alias.name}")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self._bind(node.name, f"{OWN}{node.name}")
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    self._bind(target.id, node.value)
        elif isinstance(node, ast.NamedExpr | ast.AnnAssign):
            if isinstance(node.target, ast.Name) and node.value is not None:
                self._bind(node.target.id, node.value)
        elif isinstance(node, ast.arg):
            self._bind(node.arg, UNKNOWN)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            self._meanings.setdefault(node.id, [])

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

    def full_names(self, node: ast.AST) -> set[str]:
        """Return the full names that an expression may have.

        >>> scope = Scope(ast.walk(ast.parse("import numpy as np; keep = np.save")))
        >>> scope.full_names(ast.parse("keep", mode="eval").body)
        {'numpy.save'}
        """
        return self._found(node, set())

    def _found(self, node: ast.AST, seen: set[str]) -> set[str]:
        if isinstance(node, ast.Name):
            return self._of_name(node.id, seen)
        if isinstance(node, ast.Attribute):
            return {f"{name}.{node.attr}" for name in self._found(node.value, seen)}
        if isinstance(node, ast.Call):
            return self._of_call(node, seen)
        return self._of_other(node, seen)

    def _of_other(self, node: ast.AST, seen: set[str]) -> set[str]:
        if isinstance(node, ast.IfExp):
            return self._found(node.body, seen) | self._found(node.orelse, seen)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Call):  # globals()["name"]
            tables = {"builtins.globals", "builtins.vars", "builtins.locals"}
            return {"builtins.eval"} if self._found(node.value.func, seen) & tables else {UNKNOWN}
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
        found: set[str] = set()
        for meaning in meanings[-_MOST:]:
            found |= {meaning} if isinstance(meaning, str) else self._found(meaning, seen | {name})
        return found or {UNKNOWN}

    def _of_call(self, node: ast.Call, seen: set[str]) -> set[str]:
        """Return the name of what `getattr(module, "name")` and `import_module("name")` return."""
        functions = self._found(node.func, seen)
        texts = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        if "builtins.getattr" in functions and len(node.args) > 1 and texts:
            return {f"{name}.{texts[0]}" for name in self._found(node.args[0], seen)}
        if functions & {"importlib.import_module", "builtins.__import__"} and texts:
            return {texts[0]}
        if "functools.partial" in functions and node.args:
            return self._found(node.args[0], seen)
        return {UNKNOWN}


def imported_module(node: ast.ImportFrom, package: str) -> str:
    """Return the module of `from … import`; `package` is the package of the file, "" for a file outside of one."""
    if not node.level:
        return node.module or ""
    parts = package.split(".") if package else []
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def root_of(node: ast.AST) -> str | None:
    """Return the name at the root of attributes, items and calls of methods: `a` of `a.b[0].c()`; else None."""
    while True:
        if isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
            node = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            node = node.func
        else:
            return node.id if isinstance(node, ast.Name) else None
