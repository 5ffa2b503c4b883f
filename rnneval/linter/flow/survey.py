"""One walk over a file's tree: what is imported, what is defined, where recurrent layers and resets are named."""

import ast
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

RESETS = ("reset_states", "reset_state")
STEPPED = ("return_state", "initial_state")
_LEAVES = frozenset(("ctx", "op", "ops", "id", "attr", "n", "s", "kind", "type_comment"))


@dataclass(slots=True)
class Survey:
    """What one walk over the tree has seen."""

    imports: dict[str, str] = field(default_factory=dict)
    """Full names of what is imported, anywhere in the file."""
    whole: list[str] = field(default_factory=list)
    """Modules imported whole (`*`)."""
    defined: set[str] = field(default_factory=set)
    """Names that the file itself gives to something: a usual alias is not believed for these."""
    resets: list[ast.Attribute] = field(default_factory=list)
    """Everything that names a reset, called or handed to a callback."""
    made: list[int] = field(default_factory=list)
    """Lines that name a recurrent layer's class."""
    stepped: list[int] = field(default_factory=list)
    """Lines with a keyword that only recurrent layers and their models take."""

    def makes(self, node: ast.AST) -> bool:
        """Tell whether a recurrent layer's class is named within a function or class."""
        return _within(self.made, node)

    def steps(self, node: ast.AST) -> bool:
        """Tell whether something is called within a class as a recurrent model is."""
        return _within(self.stepped, node)


def _within(lines: list[int], node: ast.AST) -> bool:
    first, last = getattr(node, "lineno", 0), getattr(node, "end_lineno", 0)
    at = bisect_left(lines, first)
    return at < len(lines) and lines[at] <= last


def survey(tree: ast.Module) -> Survey:
    """Walk the tree once."""
    found = Survey()
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        see = _SEEN.get(node.__class__)
        if see is not None:
            see(found, node)
        for name in node._fields:
            if name in _LEAVES:
                continue
            value = getattr(node, name, None)
            if isinstance(value, list):
                todo += [item for item in value if isinstance(item, ast.AST)]
            elif isinstance(value, ast.AST):
                todo.append(value)
    found.made.sort()
    found.stepped.sort()
    return found


def _see_bare_name(found: Survey, node: ast.Name) -> None:
    _see_name(found, node, node.id)
    if isinstance(node.ctx, ast.Store):
        found.defined.add(node.id)


def _see_attribute(found: Survey, node: ast.Attribute) -> None:
    _see_name(found, node, node.attr)
    if node.attr in RESETS:
        found.resets.append(node)


def _see_definition(found: Survey, node: ast.FunctionDef | ast.ClassDef) -> None:
    found.defined.add(node.name)


def _see_parameter(found: Survey, node: ast.arg) -> None:
    found.defined.add(node.arg)


def _see_keyword(found: Survey, node: ast.keyword) -> None:
    if node.arg in STEPPED:
        found.stepped.append(node.lineno)


def _see_name(found: Survey, node: ast.expr, name: str) -> None:
    if "GRU" in name or "LSTM" in name or "RNN" in name:
        found.made.append(node.lineno)


def _see_import(found: Survey, node: ast.Import | ast.ImportFrom) -> None:
    for alias in node.names:
        if isinstance(node, ast.Import):
            first = alias.name.split(".")[0]
            found.imports[alias.asname or first] = alias.name if alias.asname else first
        elif alias.name == "*":
            found.whole.append("." * node.level + (node.module or ""))
        else:
            found.imports[alias.asname or alias.name] = f"{'.' * node.level}{node.module or ''}.{alias.name}"


_SEEN: dict[type, Callable[[Survey, Any], None]] = {
    ast.Name: _see_bare_name,
    ast.Attribute: _see_attribute,
    ast.FunctionDef: _see_definition,
    ast.AsyncFunctionDef: _see_definition,
    ast.ClassDef: _see_definition,
    ast.arg: _see_parameter,
    ast.keyword: _see_keyword,
    ast.Import: _see_import,
    ast.ImportFrom: _see_import,
}
