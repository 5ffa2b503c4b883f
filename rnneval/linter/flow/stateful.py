"""Models with stateful layers: which variable holds one, how it is trained, and where its states are reset."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from rnneval.linter.flow.facts import Facts

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(slots=True)
class Stateful:
    """One variable that holds a model with stateful layers."""

    name: str
    layers: list[ast.AST] = field(default_factory=list)
    fits: list[ast.Call] = field(default_factory=list)
    fit_in_loop: bool = False


def models(facts: Facts) -> list[Stateful]:
    """Find the variables that hold models with stateful layers, each with its `fit` calls."""
    layers = _always_stateful(facts)
    if not layers:
        return []
    makers = _makers(facts.tree, layers)
    found: dict[tuple[int, str], Stateful] = {}
    for scope in (facts.tree, *(node for node in ast.walk(facts.tree) if isinstance(node, _SCOPES[:2]))):
        for name, node in _holders(scope, layers, makers, _all(facts)):
            model = found.setdefault((id(scope), name), Stateful(name))
            model.layers += _inside(node, layers)
        for name in [name for owner, name in found if owner == id(scope)]:
            _fits(scope, found[id(scope), name])
    return list(found.values())


def _always_stateful(facts: Facts) -> dict[int, ast.AST]:
    """Find the constructors that make stateful layers whenever they are called."""
    said: dict[int, set[bool | None]] = {}
    for key, spec in facts.specs.items():
        said.setdefault(id(facts.places[key]), set()).add(spec.stateful)
    return {id(node): node for node in facts.places.values() if said.get(id(node)) == {True}}


def _all(facts: Facts) -> set[int]:
    return {id(node) for node in facts.places.values()}


def _own(scope: ast.AST) -> Iterator[tuple[ast.AST, bool]]:
    """Walk a scope without the scopes inside of it; tell whether a loop is around."""
    todo = [(child, False) for child in ast.iter_child_nodes(scope)]
    while todo:
        node, looped = todo.pop()
        yield node, looped
        if not isinstance(node, _SCOPES):
            inside = looped or isinstance(node, ast.For | ast.While)
            todo += [(child, inside) for child in ast.iter_child_nodes(node)]


def _inside(node: ast.AST, layers: dict[int, ast.AST]) -> list[ast.AST]:
    return [inner for inner in ast.walk(node) if id(inner) in layers]


def _makers(tree: ast.Module, layers: dict[int, ast.AST]) -> set[str]:
    """Name the functions and classes that make stateful layers, and no other kind of model."""
    return {node.name for node in tree.body if isinstance(node, _SCOPES) and _inside(node, layers)}


def _holders(
    scope: ast.AST, layers: dict[int, ast.AST], makers: set[str], every: set[int]
) -> Iterator[tuple[str, ast.AST]]:
    own = {id(node) for node, _ in _own(scope)} & every
    # A functional model is known to be stateful only where no layer of the scope is not.
    made_here = bool(own) and own <= set(layers)
    for node, _ in _own(scope):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.value, ast.Call):
            name, called = _plain(node.targets[0]), _last(node.value.func)
            functional = made_here and called == "Model"
            if name and ((called == "Sequential" and _inside(node.value, layers)) or functional or called in makers):
                yield name, node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add":
            name = _plain(node.func.value)
            if name and _inside(node, layers):
                yield name, node


def _fits(scope: ast.AST, model: Stateful) -> None:
    for node, looped in _own(scope):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_fit(node.func, model):
            model.fits += [node] if node not in model.fits else []
            model.fit_in_loop = model.fit_in_loop or looped


def _is_fit(node: ast.Attribute, model: Stateful) -> bool:
    return node.attr == "fit" and _plain(node.value) == model.name


def _plain(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return None


def _last(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def keyword(node: ast.Call, name: str) -> ast.expr | None:
    """Give a keyword's value."""
    return next((item.value for item in node.keywords if item.arg == name), None)


def shuffles(tree: ast.Module, fit: ast.Call) -> bool:
    """Tell whether a `fit` takes the batches in another order than they follow on each other."""
    switch = keyword(fit, "shuffle")
    if switch is not None:
        return isinstance(switch, ast.Constant) and bool(switch.value)
    if any(item.arg is None for item in fit.keywords):
        return False
    if len(fit.args) >= 2 or keyword(fit, "y") is not None:
        return True
    data = fit.args[0] if fit.args else keyword(fit, "x")
    return isinstance(data, ast.Name) and _shuffled_name(tree, data.id)


def _shuffled_name(tree: ast.Module, name: str) -> bool:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Assign)
            and any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
            and any(isinstance(inner, ast.Attribute) and inner.attr == "shuffle" for inner in ast.walk(node.value))
        ):
            return True
    return False
