"""The import graph of the files in `rnneval/`: no cycles, and no import against the order of the packages.

Imports inside functions count as well; those for type checking only (`if TYPE_CHECKING:`) do not.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_house import FILES, ROOMS, ROOT, TREES


def module_of(path: Path) -> str:
    """The dotted name of a file: that of the package for an `__init__.py`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def statements(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports of a file, without those for type checking."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).rpartition(".")[2] == "TYPE_CHECKING":
            for other in child.orelse:
                yield from statements(ast.Module(body=[other], type_ignores=[]))
        elif isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        else:
            yield from statements(child)


def imported(tree: ast.AST, name: str, is_package: bool, known: set[str]) -> set[str]:
    """The files of the package that a file imports: for `from package import name` the module, if there is one.

    To import a name out of a package runs its `__init__.py`; that importing a module runs those of the packages around
    it is left out, since a package may offer what its own modules make.
    """
    found: set[str] = set()
    for node in statements(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        else:
            around = name.split(".")[: len(name.split(".")) - node.level + is_package] if node.level else []
            base = ".".join([*around, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base for alias in node.names}
    return found & known - {name}


def graph() -> dict[str, set[str]]:
    files = {module_of(path): path for path in FILES}
    known = set(files)
    return {name: imported(TREES[path], name, path.name == "__init__.py", known) for name, path in files.items()}


GRAPH = graph()


def in_circles(links: dict[str, set[str]]) -> dict[str, set[str]]:
    """The files that import each other in circles, or lie between two circles, each with what it imports of these."""
    left = links
    while True:
        used = set[str]().union(*left.values())
        gone = {name for name, others in left.items() if not others or name not in used}
        if not gone:
            return left
        left = {name: others - gone for name, others in left.items() if name not in gone}


def against_the_order(links: dict[str, set[str]]) -> list[str]:
    def place(name: str) -> int | None:
        package = (*name.split("."), "")[1]
        return ROOMS.index(package) if package in ROOMS else None

    return [
        f"{name} imports {other}"
        for name, others in links.items()
        for other in sorted(others)
        if (mine := place(name)) is not None and (theirs := place(other)) is not None and theirs > mine
    ]


def test_no_files_import_each_other_in_a_circle() -> None:
    assert in_circles(GRAPH) == {}


def test_no_file_imports_against_the_order_of_packages() -> None:
    assert against_the_order(GRAPH) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import rnneval.text.b", {"rnneval.text.b"}),
        ("from rnneval.text import b", {"rnneval.text.b"}),
        ("from rnneval.text import something", {"rnneval.text"}),
        ("from . import b", {"rnneval.text.b"}),
        ("from .b import something", {"rnneval.text.b"}),
        ("def later():\n    from rnneval.text import b", {"rnneval.text.b"}),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from rnneval.text import b", set()),
        ("if typing.TYPE_CHECKING:\n    import rnneval.text.b\nelse:\n    import rnneval.text", {"rnneval.text"}),
    ],
)  # fmt: skip
def test_imports_of_every_kind_are_seen(source: str, found: set[str]) -> None:
    known = {"rnneval", "rnneval.text", "rnneval.text.a", "rnneval.text.b"}
    assert imported(ast.parse(source), "rnneval.text.a", False, known) == found


def test_planted_cycles_and_upward_imports_are_found() -> None:
    links = {"rnneval.text.a": {"rnneval.text.b"}, "rnneval.text.b": {"rnneval.text.c"}, "rnneval.text.c": set[str]()}
    assert in_circles(links) == {}
    assert against_the_order(links) == []
    links["rnneval.text.c"] = {"rnneval.text.a", "rnneval.render"}
    assert in_circles({**links, "rnneval.text.d": {"rnneval.text.a"}, "rnneval.render": set()}) == {
        "rnneval.text.a": {"rnneval.text.b"},
        "rnneval.text.b": {"rnneval.text.c"},
        "rnneval.text.c": {"rnneval.text.a"},
    }
    assert against_the_order(links) == ["rnneval.text.c imports rnneval.render"]
