"""Surroundings of the user's code: its own files beside it, Keras' cache, and a guard against effects.

What slips through the list of what may run (`allowed`), as a method that some library calls, is stopped by the guard
when it happens: Python audits files that are opened, removed or renamed, processes and connections (PEP 578). Installed
packages may do so while they are imported.
"""

import ast
import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import rnneval
from rnneval.checkpoints.usercode.source import UserSource, header_of, read_source
from rnneval.errors import CheckpointError

_EFFECTS = re.compile(
    r"os\.(chmod|chown|exec|fork|forkpty|kill|killpg|link|mkdir|posix_spawn|remove|rename|rmdir|setxattr|spawn|startfile"
    r"|symlink|system|truncate|utime)|pty\.spawn|shutil\.\w+|socket\.(bind|connect|getaddrinfo|sendto)|sqlite3\.connect"
    r"|subprocess\.Popen"
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# TensorFlow writes the functions that it traces into temporary modules, and imports those.
_MAY = ("<frozen importlib._bootstrap", str(Path("autograph", "pyct", "loader.py")))
_state = {"installed": False, "watching": 0}


class Neighbours:
    """The files that an import may mean which are the user's own. They are read, and never imported here."""

    def __init__(self, source: UserSource) -> None:
        given = [Path(each or ".") for each in sys.path]
        users = (folder for folder in given if folder.is_dir() and not is_installed(folder / "module.py"))
        self._source = source
        self._folders = [source.path.resolve().parent, *_added_folders(source), *users]

    def files(self) -> list[UserSource]:
        """Return the builder's file and the files that were asked for so far."""
        return [self._source, *self._source.neighbours.values()]

    def split(self, name: str) -> tuple[UserSource, str] | None:
        """Return the user's own file in which a dotted name is defined, and the name in it."""
        parts, read = name.split("."), self._source.neighbours
        for count, folder in product(range(len(parts) - 1, 0, -1), self._folders):
            base = folder.joinpath(*parts[:count])
            for path in (base / "__init__.py", base.with_suffix(".py")):
                if path.is_file() and not is_installed(path):
                    place = path.resolve()
                    if place not in read:
                        package = parts[:count] if path.name == "__init__.py" else parts[: count - 1]
                        shown = place.relative_to(Path.cwd()) if place.is_relative_to(Path.cwd()) else place
                        read[place] = read_source(place, str(shown), ".".join(package))
                    return read[place], ".".join(parts[count:])
        return None


def _added_folders(source: UserSource) -> Iterator[Path]:
    """Yield the folders that a file adds to `sys.path` by a literal, as in `sys.path.append("../common")`."""
    for node in (node for unit in source.units if unit.sets for node in ast.walk(header_of(unit.node))):
        if isinstance(node, ast.Call) and any(n.startswith("sys.path.") for n in source.scope.full_names(node.func)):
            texts = [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]
            yield from (Path(text) for text in texts if isinstance(text, str) and Path(text).is_dir())


@lru_cache(maxsize=1)
def _installed() -> tuple[Path, ...]:
    """Return the folders of Python's own modules, of installed packages and of rnneval."""
    paths = sysconfig.get_paths()
    folders = [Path(paths[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return tuple(folder.resolve() for folder in (*folders, Path(rnneval.__file__).parent))


def is_installed(path: Path) -> bool:
    """Return whether a module belongs to Python or an installed package, rather than to the user's own code."""
    inside = {"site-packages", "dist-packages"} & {*path.parts}
    return bool(inside) or any(path.resolve().is_relative_to(folder) for folder in _installed())


RunInPart = Callable[[Path, str, ModuleType], None]  # file, package, module → what is allowed of it runs


@contextmanager
def imported_in_part(run: RunInPart) -> Iterator[None]:
    """Let every file of the user's own that is imported, wherever it is found, be run by `run` while the block runs."""
    finder = _Finder(run)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Finder(MetaPathFinder, Loader):
    def __init__(self, run: RunInPart) -> None:
        self._run = run

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None or not spec.has_location or is_installed(Path(spec.origin)):
            return None
        if not spec.origin.endswith(".py"):
            raise CheckpointError(
                f"builder: it imports {fullname} from {spec.origin}, of which no part can be run alone: give "
                "--run-module to import everything as it is"
            )
        spec.loader = self
        return spec

    def exec_module(self, module: ModuleType) -> None:
        self._run(Path(str(module.__file__)), module.__package__ or "", module)


def cache_places(
    fname: str | None = None,
    origin: str | None = None,
    untar: bool = False,
    *_: Any,
    extract: bool = False,
    cache_subdir: str = "datasets",
    cache_dir: str | None = None,
    **__: Any,
) -> Sequence[Path]:
    """Return where Keras keeps the file of these arguments, the most usual place first."""
    home = Path(cache_dir) if cache_dir else Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    name = Path(fname or str(origin).rpartition("/")[2]).name
    base = home / cache_subdir / name
    unpacked = (base.with_name(f"{name}_extracted"), base.with_name(name.partition(".")[0]))
    return (*unpacked, base) if untar or extract else (base,)


def cached_file(*args: Any, **keywords: Any) -> str:
    """Return the path of a file in Keras' cache, as `keras.utils.get_file` does; nothing is downloaded."""
    looked = cache_places(*args, **keywords)
    for path in looked:
        if path.exists():
            return str(path)
    raise CheckpointError(
        f"get_file: {looked[-1].name} is not in Keras' cache ({looked[-1]}), and nothing is downloaded: give "
        "--builder-global NAME=FILE in place of the statement"
    )


@contextmanager
def no_effects() -> Iterator[None]:
    """Raise CheckpointError where the user's own code has an effect that Python audits, while the block runs."""
    if not _state["installed"]:
        sys.addaudithook(_refuse)  # it stays for good, and does nothing outside of such blocks
        _state["installed"] = True
    _state["watching"] += 1
    try:
        yield
    finally:
        _state["watching"] -= 1


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if not _state["watching"]:
        return
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING
    if not writes and not _EFFECTS.fullmatch(event):
        return
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if any(part in file for part in _MAY):
            return
        if not file.startswith("<") and not is_installed(Path(file)):
            what = "opens a file to write" if writes else f"calls {event}"
            raise CheckpointError(
                f"builder: {file}:{frame.f_lineno} {what}, and was stopped: move that into a function that the model "
                "does not need, or give --run-module to run the whole file as it is"
            )
        frame = frame.f_back  # type: ignore[assignment]
