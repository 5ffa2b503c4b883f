"""Rules of the code base (docs, contributing), checked in the sources."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "rnneval"
# A package (a room, below) imports only packages named above it.
ROOMS = (
    "errors", "pages", "option", "options", "registry", "processes", "records", "text", "metrics", "gates", "lint",
    "checkpoints", "models", "wiring", "evaluate", "callbacks", "render", "testing", "demo", "cli",
)  # fmt: skip
WITH_TENSORFLOW = {"models", "wiring", "callbacks", "demo"}
HEAVY = {"tensorflow", "keras"}
# Words to avoid in docstrings, and what to write in their place.
AVOIDED = {
    "whoever, whosoever, somebody, nobody": "name the user, the caller, the process",
    "the stuff, what came of it": "name the thing, the result",
    "see there": "say it, or link to it",
    "mended": "re-evaluated",
    "storey": "over chunks instead of rows",
    "stretch, stretches": "span, segment, excerpt",
    "thereof, therein": "of it, in it",
}
# A docstring begins with a verb in the imperative or with a noun, and not with one of these.
OPENINGS = ("Give", "Gives", "Who", "Whoever", "What", "Where", "Whether", "How", "Of", "Tell", "That which")
# What a user reads has neither our numbers nor our names.
OURS = re.compile(r"\bslots?\b|\bcontract [1-5]\b")  # state, `h` or `c`; states argument, state inputs, …
SEEN_BY_USERS = ("cli", "render")
AT_THE_TOP = {"pyproject.toml", "README.md", "LICENSE", "rnneval", "tests", "benchmarks", "docs"}
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 800, 80

FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _room(path: Path) -> str | None:
    first = path.relative_to(PACKAGE).with_suffix("").parts[0]
    return first if first in ROOMS else None


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


def _at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """Everything that runs when the module is imported: no function bodies, nothing for type checkers alone."""
    waiting: list[ast.AST] = [*tree.body]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


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


def test_every_file_is_in_a_room() -> None:
    outside = {path.name for path in FILES if _room(path) is None}
    assert outside == {"__init__.py", "__main__.py", "_version.py"}


def test_the_order_of_rooms_is_really_looked_at() -> None:
    path = PACKAGE / "metrics" / "planted.py"
    tree = ast.parse("def inside():\n    from rnneval.evaluate.run import evaluate\n    from ..models import open\n")
    assert _rooms_imported(path, tree) == {"evaluate", "models"}


def test_tensorflow_is_imported_behind_its_doors() -> None:
    early = {
        f"{_name(path)}: {name}"
        for path in FILES
        if _room(path) not in WITH_TENSORFLOW
        for node in _at_import(TREES[path])
        for name in _imported(node, path)
        if name.split(".")[0] in HEAVY
    }
    assert early == set()


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("rnneval/metrics/planted.py", True),
        ("rnneval/testing/planted.py", True),
        ("rnneval/models/keras/planted.py", False),
    ],
)
@pytest.mark.parametrize("line", ["import tensorflow as tf", "from keras import layers"])
def test_ruff_finds_a_planted_import(place: str, found: bool, line: str) -> None:
    arguments = ["check", "--no-cache", "--select", "TID253", "--stdin-filename", str(ROOT / place), "-"]
    ran = subprocess.run(
        [sys.executable, "-m", "ruff", *arguments],
        input=f"{line}\n",
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ("TID253" in ran.stdout, ran.returncode) == (found, int(found)), ran.stdout + ran.stderr


@pytest.mark.parametrize(
    "code",
    ["import rnneval; dir(rnneval)", "from rnneval.cli.main import run; run(['--help'])"],
    ids=["import rnneval", "rnneval --help"],
)
def test_what_need_not_wait_imports_nothing_heavy(code: str) -> None:
    heavy = "{'tensorflow', 'keras', 'numpy', 'pandas', 'scipy', 'seaborn', 'pyarrow', 'h5py', 'msgspec'}"
    seen = f"import sys\n{code}\nprint('heavy:', sorted({heavy} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", seen], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "heavy: []"


def test_every_public_name_has_a_docstring() -> None:
    silent = [f"{_name(path)}: {name}" for path in FILES for name in _silent(TREES[path])]
    assert silent == []


def _silent(tree: ast.Module) -> Iterator[str]:
    """What has no docstring: the file, its public functions and classes, their public methods.

    A class with a base may take the text of a method from it.
    """
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    tops = [node for node in tree.body if isinstance(node, definitions)]
    public = [top for top in tops if isinstance(top, ast.ClassDef) and not top.bases and not top.name.startswith("_")]
    members = [node for top in public for node in top.body]
    if ast.get_docstring(tree) is None:
        yield "the file"
    for node in [*tops, *members]:
        if isinstance(node, definitions) and not node.name.startswith("_") and ast.get_docstring(node) is None:
            yield node.name


def test_files_are_small() -> None:
    tests = [path for path in (ROOT / "tests").rglob("*.py") if "corpus" not in path.parts]  # lists of models, as data
    sizes = {path: path.read_text(encoding="utf-8").count("\n") for path in [*FILES, *tests]}
    assert {_name(path): lines for path, lines in sizes.items() if lines >= MOST_LINES} == {}


def test_functions_are_small() -> None:
    long = {
        f"{_name(path)}: {function.name}": _lines_of_code(function)
        for path in FILES
        for function in _functions(TREES[path])
        if _lines_of_code(function) > MOST_LINES_OF_A_FUNCTION
    }
    assert long == {}


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield getattr(node, "lineno", 1), ast.get_docstring(node) or ""


@pytest.mark.parametrize("words", AVOIDED)
def test_docstrings_use_plain_words(words: str) -> None:
    pattern = re.compile(rf"\b({words.replace(', ', '|')})\b", re.IGNORECASE)
    found = [
        f"{_name(path)}:{line}: {match[0]}: write {AVOIDED[words]}"
        for path in FILES
        for line, text in _docstrings(TREES[path])
        if (match := pattern.search(text))
    ]
    assert found == []


def test_docstrings_begin_with_a_verb_or_a_noun() -> None:
    pattern = re.compile(rf"({'|'.join(OPENINGS)})\b")
    found = [
        f"{_name(path)}:{line}: {text.splitlines()[0]}"
        for path in FILES
        for line, text in _docstrings(TREES[path])
        if pattern.match(text)
    ]
    assert found == []


def test_users_read_no_names_of_ours() -> None:
    """Texts that are printed: every string with a space in it, but for docstrings other than a command's help."""
    found = [
        f"{_name(path)}:{node.lineno}: {node.value[:80]}"
        for path in FILES
        if _room(path) in SEEN_BY_USERS
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip()
        if OURS.search(node.value) and not any(node.value == text for text in _raw_docstrings(TREES[path]))
    ]
    assert found == []


def _raw_docstrings(tree: ast.Module) -> Iterator[str]:
    """Docstrings of all but commands, whose docstrings are printed by --help."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and getattr(node, "name", "") != "command":
            yield ast.get_docstring(node, clean=False) or ""


def test_library_code_prints_nothing() -> None:
    """What a person sees goes through click or a rich console, in the rooms `cli` and `render`."""
    printed = [
        f"{_name(path)}:{node.lineno}"
        for path in FILES
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printed == []


def test_nothing_else_lies_at_the_top() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    passing = {line.strip("/") for line in ignored if line and not line.startswith("#")}
    there = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert there - passing <= AT_THE_TOP
