"""The list of what code may do before the user's builder is called: all that is not on it is refused.

`allowed.toml` is the list, of full names such as `numpy.zeros`; a name that is added there is allowed. Here
`is_allowed` holds one full name against it, and `_JUDGES` has the few functions that are judged by their arguments.
`uses.py` finds the names that code mentions, and `refusals.py` says what is wrong with those that are refused.
"""

import ast
import importlib
import re
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rnneval.checkpoints.usercode.source import IN_FILE, UNKNOWN

Judge = Callable[[ast.Call], str]
"""Returns what a call does that is not allowed, as in `opens a file …`; "" for nothing."""

_DATA: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
_FUNCTIONS = frozenset(f"{module}.{name}" for module, names in _DATA.pop("functions").items() for name in names.split())
CALLERS: dict[str, list[int | str]] = _DATA.pop("callers")  # the arguments that a function calls, by its full name
_LISTS = {key: frozenset(names.split()) for key, names in _DATA.items()}
_METHODS, EFFECTS, CALLED_BY_LIBRARIES = _LISTS["methods"], _LISTS["effects"], _LISTS["called_by_libraries"]
_NAMES = (*_FUNCTIONS, *(f"{name}." for name in (*_LISTS["namespaces"], *_LISTS["modules"])))
_NOT_UNBOUND = {"open", "replace", "write"}  # methods that act on files, as `pathlib.Path.replace`
_PRINTING = {"end", "sep", "name", "summarize"}  # the arguments of tf.print that write nothing
_READING = re.compile(r"r?[bt]?|[bt]r|rU")  # modes of `open`
_REACHING = re.compile(r"__\w+|(gi|cr|ag|tb)_\w+|f_(back|builtins|globals|locals|code)")  # as in `x.gi_frame.f_globals`
_KERAS = re.compile(r"(tensorflow\.(compat\.v1\.)?|tensorflow\.python\.|tf_)keras\.|keras\.(api|src|engine)\.")


def is_allowed(name: str, *, called: bool = False) -> bool:
    """Return whether a full name may be mentioned, or `called`.

    A function of the list always may. What leads to frames or globals, or is excepted, never may. Each of the rest has
    a rule: methods of objects of which nothing is known (`?.split`), builtins, and names of modules.
    """
    (root, *parts), canonical = name.split("."), _canonical(name)
    if canonical in _FUNCTIONS or name == UNKNOWN:  # of what no name is known, only a mention is allowed
        return True
    if reaches(name) or not parts or canonical in _LISTS["except"]:
        return False
    if root == UNKNOWN:
        return _is_method(*parts, called=called)
    return _is_builtin(*parts) if root == "builtins" else _is_of_module(canonical)


def _is_method(*parts: str, called: bool) -> bool:
    """Return whether a method of an unknown object is on the list; one that is only mentioned need not be."""
    on_list = parts[-1] in _METHODS or parts[-1].startswith("__")
    return not EFFECTS.intersection(parts) and (on_list or not called)


def _is_builtin(name: str, *methods: str) -> bool:
    """Return whether a builtin is on the list or an error, and only methods of the list are reached through it."""
    is_error = re.fullmatch(r"[A-Z]\w+", name) is not None  # as all capitalised builtins are that are no constants
    has_methods = all(method in _METHODS or method in {"__init__", "__getitem__"} for method in methods)
    return (name in _LISTS["builtins"] or is_error) and has_methods


def _is_of_module(name: str) -> bool:
    """Return whether a name is public in a module or namespace of the list, or a method of a class there."""
    module, _, last = name.rpartition(".")
    if last.startswith("_"):
        return False
    if module in _LISTS["modules"]:
        imported = importlib.import_module(module)
        return last in getattr(imported, "__all__", dir(imported))
    # A method of a class of such a namespace, as in `datetime.datetime.now` or `keras.layers.GRU.from_config`.
    is_unbound = last in _METHODS - _NOT_UNBOUND
    return module in _LISTS["namespaces"] or (is_unbound and is_allowed(module))


def _canonical(name: str) -> str:
    """Return a name of Keras without the package that brings Keras."""
    return _KERAS.sub("keras.", name, count=1)


def is_download(name: str) -> bool:
    """Return whether a full name is that of Keras' `get_file`."""
    return _canonical(name) == "keras.utils.get_file"


def reaches(name: str) -> bool:
    """Return whether a name leads to frames, globals or modules that other objects hold."""
    hidden = (part for part in name.split(".")[1:] if part not in _LISTS["dunders"])
    return any(_REACHING.fullmatch(part) or part in _LISTS["roots"] for part in hidden)


def is_namespace(name: str) -> bool:
    """Return whether the list has names of a module or class, such as `keras.layers`."""
    inside = _canonical(f"{name}.")
    return not name.startswith((UNKNOWN, IN_FILE)) and any(each.startswith(inside) for each in _NAMES)


def judge_of(name: str) -> Judge | None:
    """Return the judge of calls of a full name by their arguments; None where these do not matter."""
    return _JUDGES.get(f"{UNKNOWN}.{name.rpartition('.')[2]}" if name.startswith(UNKNOWN) else name)


def _opens(call: ast.Call, place: int) -> str:
    """Judge a call that opens a file, with the mode at a place: it reads if the mode is a literal that says so."""
    named = {item.arg: item.value for item in call.keywords}
    modes = [*call.args[place : place + 1], *([named["mode"]] if "mode" in named else [])]
    words = [mode.value if isinstance(mode, ast.Constant) else None for mode in modes]
    hidden = None in named or "opener" in named or any(isinstance(value, ast.Starred) for value in call.args)
    reads = not hidden and all(isinstance(word, str) and _READING.fullmatch(word) for word in words)
    return "" if reads else "opens a file in another mode than reading"


_JUDGES: dict[str, Judge] = {
    **dict.fromkeys(("builtins.open", "io.open", "codecs.open"), partial(_opens, place=1)),
    f"{UNKNOWN}.open": partial(_opens, place=0),  # of a path
    f"{UNKNOWN}.replace": lambda call: (
        "" if len(call.args) > 1 else "calls replace with one argument, which may move a file"
    ),
    "functools.wraps": lambda call: (  # which copies any attribute that it is given the name of
        "" if len(call.args) == 1 and not call.keywords else "calls wraps with names of attributes"
    ),
    "tensorflow.print": lambda call: (
        "" if {k.arg for k in call.keywords} <= _PRINTING else "calls tf.print with output_stream, which may write"
    ),
}
