"""The room itself: what it imports, and `rnneval.lint`, which is a function although a package has its name."""

import ast
import sys
from pathlib import Path

import rnneval

FOLDER = Path(rnneval.__file__).parent / "lint"
ABOVE = {"rnneval", "rnneval.errors", "rnneval.processes"}


def test_it_needs_the_standard_library_alone() -> None:
    for file in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                own = name in ABOVE or name == "rnneval.lint" or name.startswith("rnneval.lint.")
                assert own or name.split(".")[0] in sys.stdlib_module_names, (file.name, name)
