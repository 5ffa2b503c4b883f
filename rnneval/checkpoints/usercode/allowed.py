"""The list of what code may do before the user's builder is called: all that is not on it is refused.

`allowed.toml` is the list, of full names such as `numpy.zeros`; a name that is added there is allowed. `is_allowed`
holds one full name against it, `judge_of` has the few functions that are judged by their arguments. `uses` has the
names that code mentions, and `refusals` what is said of those that are refused.
"""

import ast
import importlib
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rnneval.checkpoints.usercode.source import OWN, UNKNOWN

_DATA: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
_FUNCTIONS = frozenset(f"{module}.{name}" for module, names in _DATA.pop("functions").items() for name in names.split())
CALLED: dict[str, list[int | str]] = _DATA.pop("called")  # the arguments that a function calls, by its full name
_LISTS = {key: frozenset(names.split()) for key, names in _DATA.items()}
_METHODS, EFFECTS, RUN_WHEN_MADE = _LISTS["methods"], _LISTS["effects"], _LISTS["when_made"]
_MODULES = tuple(f"{name}." for name in (*_LISTS["namespaces"], *_LISTS["modules"], *_FUNCTIONS))
_OPENING = {"builtins.open", "io.open", "codecs.open"}
_PRINTING = {"end", "sep", "name", "summarize"}  # the arguments of tf.print that write nothing
_READING = re.compile(r"r?[bt]?|[bt]r|rU")
_REACHING = re.compile(r"__\w+|(gi|cr|ag|tb)_\w+|f_(back|builtins|globals|locals|code)")
_KERAS = re.compile(r"(tensorflow\.(compat\.v1\.)?|tensorflow\.python\.|tf_)keras\.|keras\.(api|src|engine)\.")


def is_allowed(name: str, *, called: bool = False) -> bool:
    """Return whether the list has a full name; a method of an object of an unknown class is judged by its name."""
    root, *parts = name.split(".")
    plain = _plain(name)
    if plain in _FUNCTIONS or reaches(name) or not parts:  # of what no name is known, only a mention is allowed
        return plain in _FUNCTIONS or name == UNKNOWN
    if root == UNKNOWN:
        known = parts[-1] in _METHODS or parts[-1].startswith("__")
        return not EFFECTS.intersection(parts) and (known or not called)
    if root == "builtins":
        is_error = re.fullmatch(r"[A-Z]\w+", parts[0]) is not None
        plain_parts = all(part in _METHODS or part in {"__init__", "__getitem__"} for part in parts[1:])
        return (parts[0] in _LISTS["builtins"] or is_error) and plain_parts
    module, _, last = plain.rpartition(".")
    if plain in _LISTS["except"] or last.startswith("_"):
        return False
    if module in _LISTS["modules"]:
        imported = importlib.import_module(module)
        return last in getattr(imported, "__all__", dir(imported))
    # A method of a class of such a namespace, as in `datetime.datetime.now` or `keras.layers.GRU.from_config`.
    unbound = last in _METHODS - {"open", "replace", "write"}
    return module in _LISTS["namespaces"] or (unbound and module != root and is_allowed(module))


def _plain(name: str) -> str:
    """Return a name of Keras without the package that brings Keras."""
    return _KERAS.sub("keras.", name, count=1)


def is_download(name: str) -> bool:
    """Return whether a full name is that of Keras' `get_file`."""
    return _plain(name) == "keras.utils.get_file"


def reaches(name: str) -> bool:
    """Return whether a name leads to frames, globals or modules that other objects hold."""
    hidden = (part for part in name.split(".")[1:] if part not in _LISTS["dunders"])
    return any(_REACHING.fullmatch(part) or part in _LISTS["roots"] for part in hidden)


def is_namespace(name: str) -> bool:
    """Return whether the list has names of a module or class, such as `keras.layers`."""
    return not name.startswith((UNKNOWN, OWN)) and any(place.startswith(_plain(f"{name}.")) for place in _MODULES)


def judge_of(name: str) -> Callable[[ast.Call], str] | None:
    """Return what says of a call by its arguments what it does that is not allowed; None where they do not matter."""
    method = name.rpartition(".")[2] if name.startswith(UNKNOWN) else ""
    if name in _OPENING or method == "open":
        return lambda call: "" if _only_reads(call, 0 if method else 1) else "opens a file in another mode than reading"
    if method == "replace":
        return lambda call: "" if len(call.args) > 1 else "calls replace with one argument, which may move a file"
    if name == "functools.wraps":  # which copies any attribute that it is given the name of
        return lambda call: "" if len(call.args) == 1 and not call.keywords else "calls wraps with names of attributes"
    if name == "tensorflow.print":
        writes = "calls tf.print with output_stream, which may write"
        return lambda call: "" if {item.arg for item in call.keywords} <= _PRINTING else writes
    return None


def _only_reads(call: ast.Call, position: int) -> bool:
    """Return whether a call opens a file to read it, by a mode that is a literal."""
    named = {item.arg: item.value for item in call.keywords}
    if None in named or "opener" in named or any(isinstance(value, ast.Starred) for value in call.args):
        return False
    modes = [*call.args[position : position + 1], *([named["mode"]] if "mode" in named else [])]
    words = [mode.value if isinstance(mode, ast.Constant) else None for mode in modes]
    return all(isinstance(word, str) and _READING.fullmatch(word) for word in words)
