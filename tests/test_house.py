"""Rules of the code base (docs, contributing), checked in the sources."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "rnneval"
# A package (a room, below) imports only packages named above it.
ROOMS = (
    "arrays", "errors", "pages", "option", "options", "registry", "processes", "paths", "text", "records", "metrics",
    "gates", "lint", "checkpoints", "models", "wiring", "evaluate", "parity", "servers", "callbacks", "render",
    "testing", "demo", "cli",
)  # fmt: skip
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 800, 80

FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _room(path: Path) -> str | None:
    first = path.relative_to(PACKAGE).with_suffix("").parts[0]
    return first if first in ROOMS else None


def _module(path: Path) -> str:
    """The dotted name of a file: that of the package for an `__init__.py`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imported(node: ast.AST, path: Path) -> Iterator[str]:
    """Dotted names that an import statement asks for."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        package = path.relative_to(ROOT).parent.parts
        base = [*package[: len(package) - node.level + 1]] if node.level else []
        module = ".".join([*base, *([node.module] if node.module else [])])
        yield from (f"{module}.{alias.name}" for alias in node.names)


def _rooms_imported(path: Path, tree: ast.Module) -> set[str]:
    names = {name for node in ast.walk(tree) for name in _imported(node, path)}
    parts = {tuple(name.split(".")[:2]) for name in names if name.startswith("rnneval.")}
    return {room for _, room in parts if room in ROOMS}


def _running(tree: ast.Module, *, functions: bool) -> Iterator[ast.AST]:
    """Everything that runs, without what stands there for type checkers alone; with or without bodies of functions."""
    waiting: list[ast.AST] = [*tree.body]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not functions:
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)


def _files_imported(path: Path, tree: ast.Module, known: set[str]) -> set[str]:
    """The files of the package that a file imports: for `from package import name` the module, if there is one."""
    names = {name for node in _running(tree, functions=True) for name in _imported(node, path)}
    return {name if name in known else name.rpartition(".")[0] for name in names} & known - {_module(path)}


def _lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """From the first statement to the last: neither the signature nor the docstring, which explain."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_a_room_imports_only_rooms_above_it() -> None:
    upwards = {
        f"{_name(path)}: {room} → {other}"
        for path in FILES
        if (room := _room(path)) is not None
        for other in _rooms_imported(path, TREES[path])
        if ROOMS.index(other) > ROOMS.index(room)
    }
    assert upwards == set()
    assert {path.name for path in FILES if _room(path) is None} == {"__init__.py", "__main__.py", "_version.py"}


def test_no_files_import_each_other_in_a_circle() -> None:
    known = {_module(path) for path in FILES}
    TopologicalSorter({_module(path): _files_imported(path, TREES[path], known) for path in FILES}).prepare()


def test_imports_of_every_kind_are_seen() -> None:
    path, known = PACKAGE / "metrics" / "planted.py", {"rnneval.evaluate.run", "rnneval.models", "rnneval.metrics"}
    tree = ast.parse("def inside():\n    from rnneval.evaluate.run import evaluate\n    from ..models import open\n")
    assert _rooms_imported(path, tree) == {"evaluate", "models"}
    assert _files_imported(path, tree, known) == {"rnneval.evaluate.run", "rnneval.models"}
    typing = ast.parse("if typing.TYPE_CHECKING:\n    import rnneval.models\nelse:\n    from rnneval import metrics\n")
    assert _files_imported(path, typing, known) == {"rnneval.metrics"}
    with pytest.raises(CycleError):
        TopologicalSorter({"a": {"b"}, "b": {"c"}, "c": {"a"}}).prepare()


def test_what_need_not_wait_imports_nothing_heavy() -> None:
    code = "import rnneval; dir(rnneval); from rnneval.cli.main import run; run(['--help'])"
    heavy = "{'tensorflow', 'keras', 'numpy', 'pandas', 'scipy', 'seaborn', 'pyarrow', 'h5py', 'msgspec'}"
    seen = f"import sys\n{code}\nprint('heavy:', sorted({heavy} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", seen], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "heavy: []"


def test_no_class_name_stands_for_two_things() -> None:
    places: dict[str, set[str]] = {}
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, set()).add(_name(path))
    # One for Keras and one for PyTorch, which do the same.
    for name in ("GradientNorms", "StateNorms"):
        assert places.pop(name) == {f"rnneval/callbacks/{each}.py" for each in ("keras", "torch")}
    assert places.pop("TangentWalk") == {f"rnneval/models/{each}/derivatives.py" for each in ("keras", "torch")}
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_files_and_functions_are_small() -> None:
    tests = [path for path in (ROOT / "tests").rglob("*.py") if "corpus" not in path.parts]  # lists of models, as data
    sizes = {path: path.read_text(encoding="utf-8").count("\n") for path in [*FILES, *tests]}
    assert {_name(path): lines for path, lines in sizes.items() if lines >= MOST_LINES} == {}
    long = {
        f"{_name(path)}: {node.name}": _lines_of_code(node)
        for path in FILES
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _lines_of_code(node) > MOST_LINES_OF_A_FUNCTION
    }
    assert long == {}
