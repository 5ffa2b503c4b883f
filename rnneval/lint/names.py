"""The names that the interpreter knows: recurrent layers, and what well-known functions and methods do to states.

Imports are followed; the usual aliases are believed if nothing is imported. Functions are known by their last name. The
lists are in `names.toml`.
"""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MENTIONS = re.compile(r"GRU|LSTM|RNN")  # a file without any of these needs no interpretation
CELLS = ("Cell", "Wrapper")  # how the names of classes of cells end

_KERAS_HOME = re.compile(r"(^|\.)(keras|tf_keras|tensorflow_core|_tf_keras)(\.|$)")
_LISTED: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
_ALIASES = _LISTED.pop("aliases")
_RECURRENT = _LISTED.pop("recurrent")
SAME_STATE, SAME_SEQUENCE, CUTS, JOINS, FRESH, SWITCHES, KEEPS_CONTAINER, CHANGES, STACKS, BUILTINS = (
    frozenset(words.split()) for words in _LISTED.values()
)


def conventional(name: str, whole: Iterable[str]) -> str | None:
    """Return the full name that is meant by a name which the file neither imports nor defines; `whole`: `*` imports."""
    if name in _ALIASES:
        return str(_ALIASES[name])
    return next((f"{module}.{name}" for module in whole if is_keras(module) or module.startswith("torch.nn")), None)


def is_keras(name: str) -> bool:
    """Return whether a full name belongs to Keras, in any of its packages."""
    return bool(_KERAS_HOME.search(name))


def recurrent(name: str) -> tuple[str, str | None, bool] | None:
    """Return framework, kind and whether it is a cell, for the full name of a recurrent layer."""
    framework = "keras" if is_keras(name) else "torch" if name.startswith("torch.nn") else ""
    last = name.rpartition(".")[2]
    kind = _RECURRENT.get(framework, {}).get(last)
    return None if kind is None else (framework, kind or None, last.endswith("Cell"))
