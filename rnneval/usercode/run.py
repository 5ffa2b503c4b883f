"""Running a slice as a module whose tracebacks and sources are those of the user's file."""

import hashlib
import importlib.machinery
import linecache
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType

from rnneval.errors import CheckpointError
from rnneval.usercode.scan import Scanner, is_installed
from rnneval.usercode.slice import VALUES, Slice


def run_slice(sliced: Slice) -> ModuleType:
    """Run a slice that `plan` allowed, as a module of its own; the same slice of an unchanged file is run once.

    Raises:
        Exception: whatever the user's code raises.
    """
    source = sliced.source
    name = _name_of(sliced)
    if name in sys.modules:
        return sys.modules[name]
    file = str(source.path.absolute())
    if file.endswith(".ipynb"):  # a notebook's file holds JSON: let tracebacks and inspect read its cells
        text = [f"{line}\n" for line in source.plain_lines]
        linecache.cache[file] = (sum(map(len, text)), None, text, file)
    else:
        linecache.checkcache(file)
    code = compile(sliced.tree(), file, "exec", source.flags, dont_inherit=True)
    module = ModuleType(name)
    module.__file__, module.__package__ = file, ""
    module.__dict__.update({**sliced.given, VALUES: dict(sliced.given)})
    sys.modules[name] = module  # before it runs: dataclasses and Keras look their module up
    try:
        with _arguments(file):
            exec(code, module.__dict__)  # noqa: S102 - the user's own code, which was named to be run
    except BaseException:
        del sys.modules[name]
        raise
    return module


def forget(module: ModuleType) -> None:
    """Let a slice be run anew: a model that it made belongs to one opening."""
    sys.modules.pop(module.__name__, None)


def _name_of(sliced: Slice) -> str:
    path = sliced.source.path.resolve()
    seen = path.stat()  # a file that was edited since is another module: in a notebook the second try must see it
    parts = (str(path), seen.st_mtime_ns, seen.st_size, sliced.lines(), sorted(map(repr, sliced.given.items())))
    return f"rnneval_builder_{path.stem}_{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"


@contextmanager
def _arguments(file: str) -> Iterator[None]:
    """Hide the command line from the user's code, whose argparse then takes its defaults."""
    before = sys.argv
    sys.argv = [file]
    try:
        yield
    finally:
        sys.argv = before


@contextmanager
def neighbours_scanned(sliced: Slice) -> Iterator[None]:
    """Scan every file of the user's own before it is imported, wherever it is found, while the block runs.

    The imports that stand in the code are scanned before anything runs. This finds those whose names or folders are
    computed, and those of functions that are called later.
    """
    finder = _Finder(Scanner(sliced.source, sliced.units), sliced.source.shown)
    sys.meta_path.insert(0, finder)
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = written
        sys.meta_path.remove(finder)


class _Finder(MetaPathFinder):
    """Finder that finds nothing, and refuses modules whose top level trains or writes."""

    def __init__(self, scanner: Scanner, shown: str) -> None:
        self._scanner, self._shown = scanner, shown

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return None, so that the next finder finds the module.

        Raises:
            CheckpointError: it is the user's own, and what it runs may not be run.
        """
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            return None
        file = Path(spec.origin)
        if is_installed(file):
            return None
        found = self._scanner.of_file(
            file, fullname if spec.submodule_search_locations else fullname.rpartition(".")[0]
        )
        if found is not None:
            raise CheckpointError(
                f"builder {self._shown}: it imports {fullname}, which {found.does} ({found.place}): `{found.text}`: it "
                'was not imported: move that under if __name__ == "__main__", or give --run-module to import '
                "everything as it is"
            )
        return None
