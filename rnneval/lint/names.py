"""The names that the interpreter knows: recurrent layers, and what well-known functions and methods do to states.

Imports are followed; the usual aliases are believed if nothing is imported. Functions are known by their last name: the
lists are in `names.toml`.
"""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

KERAS_KINDS: dict[str, str | None] = {
    "GRU": "gru", "LSTM": "lstm", "SimpleRNN": "simple", "CuDNNGRU": "gru", "CuDNNLSTM": "lstm", "RNN": None,
}  # fmt: skip
"""Kinds of layers by their names; the kind of `RNN` is that of its cell."""
KERAS_CELLS = {"GRUCell": "gru", "LSTMCell": "lstm", "SimpleRNNCell": "simple"}
TORCH_KINDS: dict[str, str | None] = {"GRU": "gru", "LSTM": "lstm", "RNN": "simple"}
TORCH_CELLS = {"GRUCell": "gru", "LSTMCell": "lstm", "RNNCell": "simple"}

MENTIONS = re.compile(r"GRU|LSTM|RNN")  # a file without any of these needs no interpretation

_ALIASES = {
    "tf": "tensorflow", "tensorflow": "tensorflow", "keras": "keras", "layers": "keras.layers", "nn": "torch.nn",
    "torch": "torch", "np": "numpy", "numpy": "numpy",
}  # fmt: skip
_KERAS_HOME = re.compile(r"(^|\.)(keras|tf_keras|tensorflow_core|_tf_keras)(\.|$)")


def conventional(name: str, whole: Iterable[str]) -> str | None:
    """Return the full name that is meant by a name which the file neither imports nor defines; `whole`: `*` imports."""
    if name in _ALIASES:
        return _ALIASES[name]
    return next((f"{module}.{name}" for module in whole if is_keras(module) or module.startswith("torch.nn")), None)


def is_keras(name: str) -> bool:
    """Return whether a full name belongs to Keras, in any of its packages."""
    return bool(_KERAS_HOME.search(name))


def recurrent(name: str) -> tuple[str, str | None, bool] | None:
    """Return framework, kind and whether it is a cell, for the full name of a recurrent layer."""
    last = name.rpartition(".")[2]
    if is_keras(name):
        framework, kinds, cells = "keras", KERAS_KINDS, KERAS_CELLS
    elif name.startswith("torch.nn"):
        framework, kinds, cells = "torch", TORCH_KINDS, TORCH_CELLS
    else:
        return None
    if last in kinds:
        return framework, kinds[last], False
    return (framework, cells[last], True) if last in cells else None


_LISTED = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
SAME_STATE, SAME_SEQUENCE, CUTS, JOINS, FRESH, SWITCHES, BUILTINS = (
    frozenset(_LISTED[key].split())
    for key in ("same_state", "same_sequence", "cuts", "joins", "fresh", "switches", "builtins")
)
KEEPS_CONTAINER = frozenset({"list", "tuple", "ModuleList", "ModuleDict"})
CHANGES = frozenset({"reverse", "sort", "update", "setdefault", "remove", "clear", "popitem"})
"""Methods that change a container in a way that is not followed."""
STACKS = frozenset({"RNN", "StackedRNNCells", "MultiRNNCell"})  # what takes a list of cells and runs them as a stack
CELLS = ("Cell", "Wrapper")  # how the names of classes of cells end
