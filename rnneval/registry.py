"""Registry of folders: adding a file to one adds a metric, a rule, a figure or a command.

An entry is a public module of the folder: one whose name does not begin with `_`. There is no other list of them. A `_`
at the end is no part of the entry's name: the entry `import`, a keyword of Python, is the file `import_.py`.
"""

import ast
import pkgutil
from collections.abc import Callable
from importlib import import_module
from importlib.resources.abc import Traversable
from types import ModuleType
from typing import Any

import rnneval
from rnneval.pages import Page, all_pages

_LATER = {
    "fragment": "rnneval.render.notebook",
    "plain": "rnneval.render.notebook",
    "score_problems": "rnneval.metrics",
}


def names(package: str) -> tuple[str, ...]:
    """Return the names of a package's entries in alphabetical order, without importing one of them.

    Args:
        package: Dotted name, such as `rnneval.metrics`.

    >>> names("rnneval.metrics.baselines")
    ('ngram', 'uniform', 'unigram')
    """
    return tuple(sorted(_files(package)))


def module(package: str, name: str) -> ModuleType:
    """Import one entry of a package.

    Raises:
        KeyError: the package has no entry of this name.
    """
    return import_module(f"{package}.{_files(package)[name]}")


def modules(package: str) -> tuple[ModuleType, ...]:
    """Import every entry of a package and return the modules in alphabetical order of their names."""
    return tuple(import_module(f"{package}.{file}") for _, file in sorted(_files(package).items()))


def _files(package: str) -> dict[str, str]:
    """Return the name of each entry's module, by the name of the entry."""
    found = (each.name for each in pkgutil.iter_modules(import_module(package).__path__) if not each.ispkg)
    return {name.removesuffix("_"): name for name in found if not name.startswith("_")}


def later(name: str) -> Callable[..., Any]:
    """Import a function that records call although its package comes after theirs: their display, their scores."""
    with rnneval.without_current_folder():
        found: Callable[..., Any] = getattr(import_module(_LATER[name]), name)
    return found


def read_entries(folder: Traversable, kind: str) -> tuple[Page, ...]:
    """Read the pages of a package's folder as source, without importing a module; return them in order of their names.

    The page of a module is in `rnneval/pages`, or else its docstring. In a module of rules, each function decorated
    with `@rule(…)` has a page.

    Args:
        folder: The folder; one that does not exist has no pages.
        kind: Such as `metric`. In the names of rules, `-` stands for `_`.
    """
    if not folder.is_dir():
        return ()
    found: list[Page] = []
    pages = {page.name: page for page in all_pages()}
    for file in folder.iterdir():
        if not file.name.endswith(".py") or file.name.startswith("_"):
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        decorated: dict[str, ast.Module | ast.FunctionDef] = {
            name: node for name, node in functions.items() if any(map(_is_rule, node.decorator_list))
        }
        for name, node in (decorated or {file.name.removesuffix(".py").removesuffix("_"): tree}).items():
            entry = name.replace("_", "-") if kind.endswith("rule") else name
            text = ast.get_docstring(node) or ""
            as_docstring = Page(name=entry, kind=kind, code="", summary=text.partition("\n")[0], text=text)
            found.append(pages.get(entry, as_docstring))
    return tuple(sorted(found, key=lambda entry: entry.name))


def _is_rule(decorator: ast.expr) -> bool:
    """Return whether this is the decorator `@rule(…)`."""
    return isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name) and decorator.func.id == "rule"
