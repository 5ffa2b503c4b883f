"""The room itself: what it imports, and `rnneval.lint`, which is a function although a package has its name."""

import ast
import subprocess
import sys
from pathlib import Path

import rnneval

FOLDER = Path(rnneval.__file__).parent / "lint"
ABOVE = {"rnneval", "rnneval.errors"}


def test_it_needs_the_standard_library_alone() -> None:
    for file in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                own = name in ABOVE or name == "rnneval.lint" or name.startswith("rnneval.lint.")
                assert own or name.split(".")[0] in sys.stdlib_module_names, (file.name, name)


def test_the_function_stays_a_function() -> None:
    """Python binds a package to its name when one of its modules is imported."""
    code = (
        "import rnneval; first = rnneval.lint; import rnneval.lint.rules; from rnneval.lint.files import discover\n"
        "assert rnneval.lint is first and rnneval.lint([]) == (), rnneval.lint\n"
        "from rnneval import lint; assert lint is first\n"
        "import importlib; assert importlib.import_module('rnneval.lint').lint is first\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    code = "import rnneval.lint.rules; import rnneval; assert rnneval.lint([]) == ()"
    subprocess.run([sys.executable, "-c", code], check=True)
