"""Code of the user that may not run before the builder is called, and why.

All uses in the statements of a slice are held against the list of what may run. Of the builder itself only calls that
train or save are refused: mistakes, mostly.
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from rnneval.checkpoints.usercode.allowed import is_allowed, is_download, judge_of
from rnneval.checkpoints.usercode.neighbours import Neighbours, cache_places
from rnneval.checkpoints.usercode.source import IN_FILE, UNKNOWN, CodeUnit, UserSource, header_of
from rnneval.checkpoints.usercode.uses import Use, UseWalk, parsed

_MISTAKES = re.compile(r"fit|fit_generator|partial_fit|train_on_batch|apply_gradients|minimize|save|save_\w+|export")
_PLACES = ("os.environ", "sys.path")  # what the slice may change of other modules, beside the register of Keras


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A use that may not be run, and the unit of the slice that leads to it."""

    unit: CodeUnit | None
    does: str  # verb and object: `calls os.system`
    place: str
    text: str
    downloads: bool  # whether it is a file that is not in Keras' cache


def first_refused(source: UserSource, called: str | None = None) -> Refusal | None:
    """Return the first use that is not allowed, or the first likely mistake in what a call of `called` runs."""
    neighbours = Neighbours(source)
    walk = UseWalk(neighbours)
    for unit in source.units:
        for use in walk.uses(source, header_of(unit.node), source.scope):
            if does := _refused(use):
                return _refusal(use, does, unit)
    if called is not None:
        units, walk = source.definitions.get(called.partition(".")[0], [None]), UseWalk(neighbours)
        for name in sorted(source.scope.full_names(parsed(called))):
            for use in walk.follow(source, name):
                if does := _mistake(use):
                    return _refusal(use, does, units[0])
    return None


def _refusal(use: Use, does: str, unit: CodeUnit | None) -> Refusal:
    downloads = use.call is not None and is_download(use.name)
    line = getattr(use.call or use.node, "lineno", 1)
    return Refusal(unit=unit, does=does, place=use.source.place(line), text=use.source.line(line), downloads=downloads)


def _mistake(use: Use) -> str:
    """Return what a call trains or saves; "" for other uses."""
    last = use.name.rpartition(".")[2]
    is_method_call = use.call is not None and isinstance(use.call.func, ast.Attribute) and not use.is_users
    if not is_method_call or not _MISTAKES.fullmatch(last):
        return ""
    return "saves a file" if last.startswith(("save", "export")) else "trains a model"


def _refused(use: Use) -> str:
    """Return what a use does that is not allowed; "" if it is."""
    name, call, judge = use.name, use.call, judge_of(use.name)
    shown = name.removeprefix(f"{UNKNOWN}.").removeprefix(IN_FILE).removeprefix("builtins.")
    if use.is_change:
        return "" if name.startswith((UNKNOWN, IN_FILE)) or name in _PLACES else f"changes {name}"
    if call is None:  # what is judged by its arguments has none yet where it is handed on
        return "" if judge is None and (use.is_users or is_allowed(name, called=use.is_callback)) else f"uses {shown}"
    if does := judge and judge(call):
        return does
    if is_download(name) and (missing := _not_cached(call)):
        return f"downloads {missing.name}, which is not in Keras' cache ({missing})"
    return "" if use.is_users or is_allowed(name, called=True) else f"calls {shown}"


def _not_cached(call: ast.Call) -> Path | None:
    """Return the file of `get_file` if it is not in Keras' cache, as far as the arguments are literals."""
    try:
        positional = [ast.literal_eval(value) for value in call.args]
        keywords = {item.arg: ast.literal_eval(item.value) for item in call.keywords if item.arg}
    except ValueError:
        return None  # it is looked for when the statement runs
    looked = cache_places(*positional, **keywords)
    return None if any(path.exists() for path in looked) else looked[-1]
