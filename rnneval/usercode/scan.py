"""The search for calls that may not be run: in a slice, in functions that it calls and in neighbours that it imports.

They train, write, delete, download, start processes, or hide what they do. The list is a best effort: it knows
functions by their names, and code can hide anything from a reader.
"""

import ast
import re
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, TypeVar

from rnneval.usercode.source import Source, Unit, read_source
from rnneval.usercode.statements import OWN, UNKNOWN, Function, Scope, imported_module, run_at_once

T = TypeVar("T")

TRAINS, WRITES, DELETES = "trains a model", "writes a file", "deletes a file"
DOWNLOADS, PROCESS, HIDDEN = "uses the network", "starts a process", "runs code that cannot be seen"
MAY_WRITE = "opens a file in a mode that is computed, so that it may write it"
WAITS, CHANGES = "waits for input", "changes the current folder or the file system"


def _by_name(listed: Mapping[str, str]) -> dict[str, str]:
    """Return names, which are listed by what they do, each with what it does."""
    return {name: does for does, names in listed.items() for name in names.split()}


_MODULES = _by_name({
    PROCESS: """
        subprocess multiprocessing pty pexpect sh concurrent.futures.ProcessPoolExecutor
        concurrent.futures.process pip joblib.Parallel asyncio.create_subprocess_exec
        asyncio.create_subprocess_shell _posixsubprocess posix nt webbrowser os.fork
    """,
    HIDDEN: """
        ctypes cffi runpy code importlib.util importlib.machinery operator.methodcaller atexit sys.settrace
        sys.setprofile builtins.exec builtins.eval builtins.compile
    """,
    DOWNLOADS: """
        urllib.request urllib3 requests httpx aiohttp wget gdown socket ftplib smtplib http.client paramiko
        boto3 huggingface_hub kagglehub kaggle tensorflow_datasets tensorflow_hub datasets.load_dataset
        gensim.downloader nltk.download wandb mlflow comet_ml neptune google.colab google.cloud torch.hub
        xmlrpc
    """,
    WRITES: """
        shutil tempfile sqlite3 shelve dbm logging.FileHandler logging.handlers tensorflow.summary
        tensorflow.train.CheckpointManager tensorflow.io.TFRecordWriter tensorflow.io.write_file
        tensorflow.io.write_graph tensorflow.data.experimental.save fileinput distutils tensorflow.profiler
        tensorflow.debugging.experimental.enable_dump_debug_info
    """,
    WAITS: "builtins.input builtins.breakpoint getpass",
    CHANGES: "os.chdir",
    TRAINS: "tensorflow.GradientTape",
})  # fmt: skip
"""Modules and functions whose use is refused, with what they do."""
_HARMLESS = frozenset((
    "shutil.which", "shutil.get_terminal_size", "shutil.disk_usage", "shutil.Error", "shutil.SameFileError",
    "multiprocessing.cpu_count", "subprocess.PIPE", "subprocess.DEVNULL", "subprocess.CalledProcessError",
    "tempfile.gettempdir", "socket.gethostname", "urllib.request.Request", "sqlite3.Error", "importlib.util.find_spec",
    "sys.stdout.write", "sys.stderr.write", "requests.exceptions", "multiprocessing.current_process",
    "platform.system",
))  # fmt: skip
_OS = _by_name({
    DELETES: "remove unlink rmdir removedirs",
    PROCESS: "system popen startfile kill killpg forkpty abort _exit",
    WRITES: """
        rename renames replace mkdir makedirs symlink link truncate ftruncate mkfifo mknod write writev pwrite
        open fdopen chmod chown utime sendfile copy_file_range setxattr removexattr
    """,
})  # fmt: skip
_OS_STARTS = {"exec": PROCESS, "spawn": PROCESS, "posix_spawn": PROCESS}
_METHODS = _by_name({
    TRAINS: "fit fit_generator partial_fit train_on_batch apply_gradients minimize",
    WRITES: """
        writelines write_text write_bytes touch mkdir makedirs dump export tofile plot_model to_csv to_json
        to_pickle to_parquet to_hdf to_excel to_feather to_sql to_file symlink_to hardlink_to chmod extractall
        export_saved_model write_graph imsave imwrite copyfile
    """,
    DELETES: "unlink rmdir rmtree remove_tree",
    DOWNLOADS: """
        get_file urlretrieve urlopen from_pretrained download download_and_prepare push_to_hub load_dataset
        snapshot_download hf_hub_download
    """,
    PROCESS: "run_line_magic run_cell_magic system getoutput",
})  # fmt: skip
"""Methods and functions that are refused whatever their object is, with what they do."""
_OPENERS = {
    "builtins.open": 1, "io.open": 1, "codecs.open": 1, "gzip.open": 1, "gzip.GzipFile": 1, "bz2.open": 1,
    "bz2.BZ2File": 1, "lzma.open": 1, "lzma.LZMAFile": 1, "h5py.File": 1, "zipfile.ZipFile": 1, "tarfile.open": 1,
    "tarfile.TarFile": 1, "tensorflow.io.gfile.GFile": 1, "tensorflow.compat.v1.gfile.GFile": 1, "numpy.memmap": 2,
    "numpy.lib.format.open_memmap": 1, "io.FileIO": 1, "wave.open": 1, "pandas.HDFStore": 1, "pandas.ExcelWriter": 1,
}  # fmt: skip
"""Functions that open a file, and the position of the mode."""
_GFILE = frozenset(("copy", "remove", "rename", "Copy", "Remove", "Rename", "MakeDirs", "DeleteRecursively"))
_WRITING_MODE = re.compile(r"[rbtU|:]*[wax+][rwaxbtU+|:gz2]*")
_DANGEROUS = ("os", "shutil", "subprocess", "builtins", "posix", "nt", "pathlib", "importlib")
_WHEN_MADE = frozenset((
    "__new__", "__init__", "__post_init__", "__init_subclass__", "__call__", "__set_name__", "__enter__", "__exit__",
    "__iter__", "__getitem__", "__len__", "build", "call", "get_initial_state", "initial_state", "compute_output_shape",
    "compute_output_spec", "get_config", "from_config",
))  # fmt: skip
"""Methods that Python and Keras call when a model is made and run on ids; others only where the code calls them."""


def offence(node: ast.AST, scope: Scope) -> str | None:
    """Return what a node does that a slice may not do; None if nothing is known against it.

    >>> scope = Scope(ast.walk(ast.parse("import numpy as np")))
    >>> offence(ast.parse("np.save('a.npy', a)", mode="eval").body, scope)
    'writes a file'
    >>> offence(ast.parse("np.load('a.npy')", mode="eval").body, scope) is None
    True
    """
    if isinstance(node, ast.Call):
        return _first_found(_of_named_call(name, node, scope) for name in sorted(scope.full_names(node.func)))
    if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
        return _first_found(_of_reference(name) for name in sorted(scope.full_names(node)))
    return None


def _first_found(found: Iterable[T | None]) -> T | None:
    return next((each for each in found if each is not None), None)


def _of_reference(name: str) -> str | None:
    """Return what a function does that is named, called or not: it may be called under another name."""
    if name in _HARMLESS or name.startswith(OWN):
        return None
    root, _, rest = name.partition(".")
    if root == "os":
        found = _OS.get(rest) or _first_found(_OS_STARTS[start] for start in _OS_STARTS if rest.startswith(start))
        if found:
            return found
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        prefix = ".".join(parts[:count])
        if prefix in _MODULES and not (count == len(parts) and prefix == root):
            return _MODULES[prefix]
    last = parts[-1]
    if (root == "numpy" and last.startswith("save")) or (root in {"torch", "joblib"} and last in {"save", "dump"}):
        return WRITES
    if last in {"write_text", "write_bytes", "train_on_batch"}:
        return _METHODS[last]
    return None


def _of_named_call(name: str, node: ast.Call, scope: Scope) -> str | None:
    if name in _HARMLESS or (name.startswith(OWN) and "." not in name):
        return None
    if name == "functools.partial" and node.args:
        called = ast.Call(func=node.args[0], args=node.args[1:], keywords=node.keywords)
        return offence(ast.copy_location(called, node), scope)
    if name in _OPENERS:
        return _opened(node, _OPENERS[name])
    if name == "builtins.getattr":  # a function of a dangerous module by a computed name
        owners = {each.partition(".")[0] for each in scope.full_names(node.args[0])} if node.args else set()
        named = len(node.args) > 1 and isinstance(node.args[1], ast.Constant)
        if owners & set(_DANGEROUS) and not named:
            return HIDDEN
    is_import = name in {"importlib.import_module", "builtins.__import__"}
    if is_import and not (node.args and isinstance(node.args[0], ast.Constant)):  # a module by a computed name
        return HIDDEN
    return _of_reference(name) or _of_method(name, node)


def _of_method(name: str, node: ast.Call) -> str | None:
    """Return what a method does, by its name alone or by its arguments."""
    last = name.rpartition(".")[2]
    if last in _METHODS:
        return _METHODS[last]
    if last == "train" or last.startswith(("train_on_", "train_from_", "train_new_", "train_model")):
        return TRAINS
    if last == "load_data" and ".datasets." in name:
        return DOWNLOADS
    if last == "open" and name.partition(".")[0] in {UNKNOWN, "pathlib"}:
        return _opened(node, 0)
    if last == "write":
        writes = len(node.args) == 1  # TensorArray.write takes two
    elif last == "basicConfig":
        writes = any(each.arg in {"filename", "handlers"} for each in node.keywords)
    elif last in {"replace", "rename"} and name.partition(".")[0] in {UNKNOWN, "pathlib"}:
        # Those of Path take one place; str.replace takes two texts, and those of pandas take keywords.
        writes = len(node.args) == 1 and not node.keywords
    elif ".gfile." in name:
        writes = last in _GFILE
    else:
        writes = last.startswith("save") and last not in {"save_spec", "save_own_variables"}
    return WRITES if writes else None


def _opened(node: ast.Call, position: int) -> str | None:
    """Return that a call opens a file for writing, or that its mode is not known; None if it reads."""
    given = [each.value for each in node.keywords if each.arg == "mode"]
    given += node.args[position : position + 1]
    if any(each.arg is None for each in node.keywords) or any(isinstance(each, ast.Starred) for each in node.args):
        return MAY_WRITE
    if not given:
        return None
    mode = given[0]
    if not isinstance(mode, ast.Constant):
        return MAY_WRITE if position else None
    return WRITES if isinstance(mode.value, str) and _WRITING_MODE.fullmatch(mode.value) else None


class Violation(NamedTuple):
    """A statement that may not be run, and the unit that leads to it."""

    does: str  # verb and object: `trains a model`
    place: str  # file and line
    text: str
    unit: Unit | None  # the unit of the slice from which it is reached


class Scanner:
    """Scan of code that is about to be run. Files are read, never imported."""

    def __init__(self, source: Source, folders: Iterable[Path] = ()) -> None:
        """Take a file, of which all units are run, and further folders with neighbours of it."""
        self.source = source
        self._folders = [source.path.resolve().parent, *folders]
        self.files: dict[Path, Source] = {source.path.resolve(): source}

    def violation(self, called: str | None = None) -> Violation | None:
        """Return the first refused statement that the file runs, or that a call of `called` runs."""
        search = _Search(self)
        for unit in self.source.units:
            found = search.all_of(search.of_unit(self.source, unit))
            if found is not None:
                return found
        if called is not None:
            first, _, rest = called.partition(".")
            search.unit = next(iter(self.source.definitions.get(first, ())), None)
            return search.all_of(search.of_call(self.source, f"{first}.{rest}" if rest else first))
        return None

    def of_file(self, path: Path, package: str = "") -> Violation | None:
        """Return the first refused statement at the top level of a file that is about to be imported."""
        search = _Search(self)
        return search.all_of(search.of_module(self.file(path, package)))

    def file(self, path: Path, package: str = "") -> Source:
        """Read a neighbouring file."""
        path = path.resolve()
        if path not in self.files:
            here = Path.cwd()
            shown = path.relative_to(here) if path.is_relative_to(here) else path
            self.files[path] = read_source(path, str(shown), package)
        return self.files[path]

    def neighbours(self, module: str) -> Iterator[tuple[Path, str]]:
        """Yield the user's own files that an import of a module runs, each with its package."""
        parts = module.split(".")
        for folder in self._folders:
            found = list(_files_of(folder, parts))
            if found:
                yield from found
                return

    def split(self, name: str) -> tuple[Source, str] | None:
        """Return the user's own file in which a dotted name is defined, and the name in it."""
        parts = name.split(".")
        for count in range(len(parts) - 1, 0, -1):
            found = list(self.neighbours(".".join(parts[:count])))
            if found and found[-1][0].stem in {parts[count - 1], "__init__"}:
                path, package = found[-1]
                return self.file(path, package), ".".join(parts[count:])
        return None


class _Search:
    """One search. What was searched once is not searched again; what is found to be called waits for its turn."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._seen: set[object] = set()
        self._waiting: list[tuple[Source, str]] = []
        self.unit: Unit | None = None

    def all_of(self, found: Violation | None) -> Violation | None:
        """Return what was found, or what is found in the functions that wait to be searched."""
        while found is None and self._waiting:
            found = self.of_call(*self._waiting.pop(0))
        self._waiting.clear()
        return found

    def _call_later(self, source: Source, names: Iterable[str]) -> None:
        self._waiting += [(source, name) for name in sorted(names) if name != UNKNOWN]

    def of_unit(self, source: Source, unit: Unit) -> Violation | None:
        """Search in what one statement runs."""
        if source is self._scanner.source:
            self.unit = unit
        if unit.is_command:
            return self._violation(source, unit.node, f"{PROCESS} or runs a command of IPython")
        if unit in self._seen:
            return None
        self._seen.add(unit)
        return self._of_nodes(source, run_at_once(unit.header), source.scope)

    def of_module(self, source: Source) -> Violation | None:
        """Search in everything that importing a file runs."""
        if source in self._seen:
            return None
        self._seen.add(source)
        return _first_found(self.of_unit(source, unit) for unit in source.units)

    def _violation(self, source: Source, node: ast.AST, does: str) -> Violation:
        line = getattr(node, "lineno", 1)
        return Violation(does, source.place(line), source.line(line), self.unit)

    def _of_nodes(self, source: Source, nodes: Iterable[ast.AST], scope: Scope) -> Violation | None:
        for node in nodes:
            does = offence(node, scope)
            if does is not None and not (isinstance(node, ast.Call) and self._is_searched(node, scope)):
                return self._violation(source, node, does)
            if (found := self._followed(source, node, scope)) is not None:
                return found
        return None

    def _is_searched(self, node: ast.Call, scope: Scope) -> bool:
        """Return whether a call that only its name speaks against is of the user's own code, which is searched."""
        names = scope.full_names(node.func)
        last = next(iter(names)).rpartition(".")[2]
        if not last.startswith(("save_", "train")):
            return False
        files = list(self._scanner.files.values())
        if isinstance(node.func, ast.Attribute) and any(last in each.methods for each in files):
            return True
        return all(self._scanner.split(name) is not None for name in names)

    def _followed(self, source: Source, node: ast.AST, scope: Scope) -> Violation | None:
        """Search in the functions and classes that a node mentions, and in the files that it imports.

        What is mentioned counts as called: it may be called through a table or by another function.
        """
        if isinstance(node, ast.Import):
            return _first_found(self._of_import(alias.name) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            module = imported_module(node, source.package)
            modules = (module, *(f"{module}.{each.name}" for each in node.names))
            return _first_found(self._of_import(name) for name in modules)
        if isinstance(node, ast.Call):  # import_module("name")
            found = sorted(name for name in scope.full_names(node) if not name.startswith((UNKNOWN, OWN)))
            return _first_found(self._of_import(name) for name in found)
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            names = scope.full_names(node)
            # A name that nothing binds may come from `from neighbour import *`.
            self._call_later(source, [node.id] if names == {UNKNOWN} and isinstance(node, ast.Name) else names)
        return None

    def _of_import(self, module: str) -> Violation | None:
        return _first_found(
            self.of_module(self._scanner.file(path, package)) for path, package in self._scanner.neighbours(module)
        )

    def of_call(self, source: Source, name: str) -> Violation | None:
        """Search in a function by its full name, or in the methods of that name if its object is not known."""
        if name.startswith(f"{UNKNOWN}."):
            last = name.rpartition(".")[2]
            files = list(self._scanner.files.values())
            methods = [(each, node) for each in files for node in each.methods.get(last, ())]
            return _first_found(self._of_function(each, node) for each, node in methods)
        name = name.removeprefix(OWN)
        first, _, rest = name.partition(".")
        if first not in source.definitions:
            elsewhere = self._scanner.split(name) or self._starred(source, name)
            return self.of_call(*elsewhere) if elsewhere is not None else None
        return _first_found(self._of_definition(source, unit, rest) for unit in source.definitions[first])

    def _starred(self, source: Source, name: str) -> tuple[Source, str] | None:
        """Return the neighbour that binds a name by `from neighbour import *`."""
        stars = [unit.node for unit in source.units if unit.is_star]
        for node in (star for star in stars if isinstance(star, ast.ImportFrom)):
            found = self._scanner.split(f"{imported_module(node, source.package)}.{name}")
            if found is not None and name.partition(".")[0] in found[0].definitions and found[0] is not source:
                return found
        return None

    def _of_definition(self, source: Source, unit: Unit, rest: str) -> Violation | None:
        node = unit.node
        if isinstance(node, Function):
            return self._of_function(source, node)
        if isinstance(node, ast.ClassDef):
            return self._of_class(source, node, source.scope, rest.rpartition(".")[2] or None)
        if isinstance(node, ast.Import | ast.ImportFrom):
            full = source.scope.full_names(ast.Name(id=next(iter(unit.names.binds), "")))
            names = [f"{name}.{rest}" if rest else name for name in full if not name.startswith((OWN, UNKNOWN))]
            split = [found for name in names if (found := self._scanner.split(name)) is not None]
            return _first_found(self.of_call(*found) for found in split)
        if (source, unit.order, "value") in self._seen:
            return None
        self._seen.add((source, unit.order, "value"))
        # A variable that is called: every function that its value mentions.
        inside = (each for each in ast.walk(unit.header) if isinstance(each, ast.Name))
        loaded = [each for each in inside if isinstance(each.ctx, ast.Load)]
        mentioned = {name for each in loaded for name in source.scope.full_names(each)}
        self._call_later(source, (name for name in mentioned if not name.startswith("builtins.")))
        return None

    def _of_class(
        self, source: Source, node: ast.ClassDef, scope: Scope, method: str | None = None
    ) -> Violation | None:
        """Search in the methods that are called when an object of a class is made and run, or in one method."""
        wanted = _WHEN_MADE | {method} if method else _WHEN_MADE
        methods = [each for each in node.body if isinstance(each, Function) and each.name in wanted]
        found = _first_found(self._of_function(source, each, scope) for each in methods)
        if found is not None:
            return found
        bases = (name for base in node.bases for name in scope.full_names(base))
        self._call_later(source, (name for name in bases if name != f"{OWN}{node.name}"))
        return None

    def _of_function(self, source: Source, node: Function, outer: Scope | None = None) -> Violation | None:
        """Search in the body of a function, and in the functions inside of it."""
        if node in self._seen:
            return None
        self._seen.add(node)
        inside = list(ast.walk(node))[1:]
        scope = Scope(inside, source.package, outer or source.scope)
        found = _first_found(self._of_nodes(source, _run_in_a_call(statement), scope) for statement in node.body)
        if found is not None:
            return found
        classes = [each for each in inside if isinstance(each, ast.ClassDef)]
        return _first_found(self._of_class(source, each, scope) for each in classes)


def _run_in_a_call(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that a call of a function may run; of classes in it only what defines them."""
    waiting: list[ast.AST] = [node]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.ClassDef):
            waiting += [*node.decorator_list, *node.bases]
            waiting += [each for each in node.body if not isinstance(each, Function)]
        else:
            waiting += ast.iter_child_nodes(node)


def _files_of(folder: Path, parts: Sequence[str]) -> Iterator[tuple[Path, str]]:
    """Yield the files in a folder that an import of `parts` runs: the packages, then the module."""
    for at, part in enumerate(parts):
        package = ".".join(parts[: at + 1])
        if (folder / part / "__init__.py").is_file():
            yield folder / part / "__init__.py", package
        elif (folder / f"{part}.py").is_file():
            yield folder / f"{part}.py", ".".join(parts[:at])
            return
        elif not (folder / part).is_dir():
            return
        folder = folder / part


@lru_cache(maxsize=1)
def _installed() -> tuple[str, ...]:
    """Return the folders of Python's own modules, of installed packages and of rnneval."""
    import site

    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = [sysconfig.get_paths()[name] for name in names]
    folders += [*getattr(site, "getsitepackages", list)(), site.getusersitepackages()]
    folders += [str(Path(__file__).parents[1])]
    return tuple(str(Path(folder).resolve()) for folder in folders)


def is_installed(path: Path) -> bool:
    """Return whether a module belongs to Python or an installed package, rather than to the user's own code."""
    resolved = str(path.resolve())
    return (
        "site-packages" in path.parts
        or "dist-packages" in path.parts
        or any(resolved.startswith((f"{folder}/", f"{folder}\\")) for folder in _installed())
    )


def literal_folders(source: Source, units: Iterable[Unit]) -> list[Path]:
    """Return the folders that a slice adds to `sys.path` by a literal, as in `sys.path.append("../common")`."""
    found = []
    for unit in units:
        for node in ast.walk(unit.header) if unit.changes.settings else ():
            if isinstance(node, ast.Call) and any(
                name.startswith("sys.path.") for name in source.scope.full_names(node.func)
            ):
                texts = [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]
                found += [Path(text) for text in texts if isinstance(text, str) and Path(text).is_dir()]
    return found
