"""Calls that a slice may not contain: they train, write, delete, download, start processes, or hide what they do.

The list is a best effort: it knows functions by their names, and code can hide anything from a reader.
"""

import ast
import re
from collections.abc import Iterable
from typing import TypeVar

from rnneval.usercode.resolve import OWN, UNKNOWN, Scope

T = TypeVar("T")

TRAINS, WRITES, DELETES = "trains a model", "writes a file", "deletes a file"
DOWNLOADS, PROCESS, HIDDEN = "uses the network", "starts a process", "runs code that cannot be seen"
MAY_WRITE = "opens a file in a mode that is computed, so that it may write it"
WAITS, CHANGES = "waits for input", "changes the current folder or the file system"

_MODULES = {
    "subprocess": PROCESS, "multiprocessing": PROCESS, "pty": PROCESS, "pexpect": PROCESS, "sh": PROCESS,
    "concurrent.futures.ProcessPoolExecutor": PROCESS, "concurrent.futures.process": PROCESS, "pip": PROCESS,
    "joblib.Parallel": PROCESS,
    "asyncio.create_subprocess_exec": PROCESS, "asyncio.create_subprocess_shell": PROCESS, "_posixsubprocess": PROCESS,
    "posix": PROCESS, "nt": PROCESS, "ctypes": HIDDEN, "cffi": HIDDEN, "webbrowser": PROCESS,
    "urllib.request": DOWNLOADS, "urllib3": DOWNLOADS, "requests": DOWNLOADS, "httpx": DOWNLOADS, "aiohttp": DOWNLOADS,
    "wget": DOWNLOADS, "gdown": DOWNLOADS, "socket": DOWNLOADS, "ftplib": DOWNLOADS, "smtplib": DOWNLOADS,
    "http.client": DOWNLOADS, "paramiko": DOWNLOADS, "boto3": DOWNLOADS, "huggingface_hub": DOWNLOADS,
    "kagglehub": DOWNLOADS, "kaggle": DOWNLOADS, "tensorflow_datasets": DOWNLOADS, "tensorflow_hub": DOWNLOADS,
    "datasets.load_dataset": DOWNLOADS, "gensim.downloader": DOWNLOADS, "nltk.download": DOWNLOADS,
    "wandb": DOWNLOADS, "mlflow": DOWNLOADS, "comet_ml": DOWNLOADS, "neptune": DOWNLOADS, "google.colab": DOWNLOADS,
    "google.cloud": DOWNLOADS, "torch.hub": DOWNLOADS, "xmlrpc": DOWNLOADS,
    "shutil": WRITES, "tempfile": WRITES, "sqlite3": WRITES, "shelve": WRITES, "dbm": WRITES,
    "logging.FileHandler": WRITES,
    "logging.handlers": WRITES, "tensorflow.summary": WRITES, "tensorflow.train.CheckpointManager": WRITES,
    "tensorflow.io.TFRecordWriter": WRITES, "tensorflow.io.write_file": WRITES, "tensorflow.io.write_graph": WRITES,
    "tensorflow.data.experimental.save": WRITES, "fileinput": WRITES, "distutils": WRITES,
    "runpy": HIDDEN, "code": HIDDEN, "importlib.util": HIDDEN, "importlib.machinery": HIDDEN,
    "operator.methodcaller": HIDDEN, "atexit": HIDDEN, "sys.settrace": HIDDEN, "sys.setprofile": HIDDEN,
    "tensorflow.profiler": WRITES, "tensorflow.debugging.experimental.enable_dump_debug_info": WRITES,
    "builtins.exec": HIDDEN, "builtins.eval": HIDDEN, "builtins.compile": HIDDEN, "builtins.input": WAITS,
    "builtins.breakpoint": WAITS, "getpass": WAITS, "os.chdir": CHANGES, "os.fork": PROCESS,
    "tensorflow.GradientTape": TRAINS,
}  # fmt: skip
"""Modules and functions whose use is refused, with what they do."""
_HARMLESS = frozenset((
    "shutil.which", "shutil.get_terminal_size", "shutil.disk_usage", "shutil.Error", "shutil.SameFileError",
    "multiprocessing.cpu_count", "subprocess.PIPE", "subprocess.DEVNULL", "subprocess.CalledProcessError",
    "tempfile.gettempdir", "socket.gethostname", "urllib.request.Request", "sqlite3.Error", "importlib.util.find_spec",
    "sys.stdout.write", "sys.stderr.write", "requests.exceptions", "multiprocessing.current_process",
    "platform.system",
))  # fmt: skip
_OS = {
    **dict.fromkeys(("remove", "unlink", "rmdir", "removedirs"), DELETES),
    **dict.fromkeys(("system", "popen", "startfile", "kill", "killpg", "forkpty", "abort", "_exit"), PROCESS),
    **dict.fromkeys((
        "rename", "renames", "replace", "mkdir", "makedirs", "symlink", "link", "truncate", "ftruncate", "mkfifo",
        "mknod", "write", "writev", "pwrite", "open", "fdopen", "chmod", "chown", "utime", "sendfile",
        "copy_file_range", "setxattr", "removexattr",
    ), WRITES),
}  # fmt: skip
_OS_STARTS = {"exec": PROCESS, "spawn": PROCESS, "posix_spawn": PROCESS}
_METHODS = {
    **dict.fromkeys(("fit", "fit_generator", "partial_fit", "train_on_batch", "apply_gradients", "minimize"), TRAINS),
    **dict.fromkeys((
        "writelines", "write_text", "write_bytes", "touch", "mkdir", "makedirs", "dump", "export", "tofile",
        "plot_model",
        "to_csv", "to_json", "to_pickle", "to_parquet", "to_hdf", "to_excel", "to_feather", "to_sql", "to_file",
        "symlink_to", "hardlink_to", "chmod", "extractall", "export_saved_model", "write_graph", "imsave", "imwrite",
        "copyfile",
    ), WRITES),
    **dict.fromkeys(("unlink", "rmdir", "rmtree", "remove_tree"), DELETES),
    **dict.fromkeys((
        "get_file", "urlretrieve", "urlopen", "from_pretrained", "download", "download_and_prepare", "push_to_hub",
        "load_dataset", "snapshot_download", "hf_hub_download",
    ), DOWNLOADS),
    **dict.fromkeys(("run_line_magic", "run_cell_magic", "system", "getoutput"), PROCESS),
}  # fmt: skip
"""Methods and functions that are refused whatever their object is, with what they do."""
_OPENERS = {
    "builtins.open": 1, "io.open": 1, "codecs.open": 1, "gzip.open": 1, "gzip.GzipFile": 1, "bz2.open": 1,
    "bz2.BZ2File": 1,
    "lzma.open": 1, "lzma.LZMAFile": 1, "h5py.File": 1, "zipfile.ZipFile": 1, "tarfile.open": 1, "tarfile.TarFile": 1,
    "tensorflow.io.gfile.GFile": 1, "tensorflow.compat.v1.gfile.GFile": 1, "numpy.memmap": 2,
    "numpy.lib.format.open_memmap": 1, "io.FileIO": 1, "wave.open": 1, "pandas.HDFStore": 1, "pandas.ExcelWriter": 1,
}  # fmt: skip
"""Functions that open a file, and the position of the mode."""
_GFILE = frozenset(("copy", "remove", "rename", "Copy", "Remove", "Rename", "MakeDirs", "DeleteRecursively"))
_WRITING_MODE = re.compile(r"[rbtU|:]*[wax+][rwaxbtU+|:gz2]*")
_DANGEROUS = ("os", "shutil", "subprocess", "builtins", "posix", "nt", "pathlib", "importlib")


def offence(node: ast.AST, scope: Scope) -> str | None:
    """Return what a node does that a slice may not do; None if nothing is known against it.

    >>> scope = Scope(ast.walk(ast.parse("import numpy as np")))
    >>> offence(ast.parse("np.save('a.npy', a)", mode="eval").body, scope)
    'writes a file'
    >>> offence(ast.parse("np.load('a.npy')", mode="eval").body, scope) is None
    True
    """
    if isinstance(node, ast.Call):
        return _of_call(node, scope)
    if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
        return first_found(_of_reference(name) for name in sorted(scope.full_names(node)))
    return None


def first_found(found: Iterable[T | None]) -> T | None:
    """Return the first value that is not None; None if there is none."""
    return next((each for each in found if each is not None), None)


def _of_reference(name: str) -> str | None:
    """Return what a function does that is named, called or not: it may be called under another name."""
    if name in _HARMLESS or name.startswith(OWN):
        return None
    root, _, rest = name.partition(".")
    if root == "os":
        found = _OS.get(rest) or first_found(_OS_STARTS[start] for start in _OS_STARTS if rest.startswith(start))
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


def _of_call(node: ast.Call, scope: Scope) -> str | None:
    names = sorted(scope.full_names(node.func))
    return first_found(_of_named_call(name, node, scope) for name in names)


def _of_named_call(name: str, node: ast.Call, scope: Scope) -> str | None:
    if name in _HARMLESS or (name.startswith(OWN) and "." not in name):
        return None
    if name == "functools.partial" and node.args:
        called = ast.Call(func=node.args[0], args=node.args[1:], keywords=node.keywords)
        return _of_call(ast.copy_location(called, node), scope)
    if name in _OPENERS:
        return _opened(node, _OPENERS[name])
    if _is_hidden(name, node, scope):
        return HIDDEN
    return _of_reference(name) or _of_method(name, node)


def _is_hidden(name: str, node: ast.Call, scope: Scope) -> bool:
    """Return whether a call gets a function of a dangerous module, or a module, by a computed name."""
    if name == "builtins.getattr":
        owners = {each.partition(".")[0] for each in scope.full_names(node.args[0])} if node.args else set()
        named = len(node.args) > 1 and isinstance(node.args[1], ast.Constant)
        return bool(owners & set(_DANGEROUS)) and not named
    if name in {"importlib.import_module", "builtins.__import__"}:
        return not (bool(node.args) and isinstance(node.args[0], ast.Constant))
    return False


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
    return WRITES if _writes(name, last, node) else None


def _writes(name: str, last: str, node: ast.Call) -> bool:
    if last == "write":
        return len(node.args) == 1  # TensorArray.write takes two
    if last == "basicConfig":
        return any(each.arg in {"filename", "handlers"} for each in node.keywords)
    if last in {"replace", "rename"} and name.partition(".")[0] in {UNKNOWN, "pathlib"}:
        # Those of Path take one place; str.replace takes two texts, and those of pandas take keywords.
        return len(node.args) == 1 and not node.keywords
    if ".gfile." in name:
        return last in _GFILE
    return last.startswith("save") and last not in {"save_spec", "save_own_variables"}


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
