"""Which names mean recurrent layers: imports are followed; usual aliases are believed where nothing is imported."""

import re
from collections.abc import Iterable

KERAS_KINDS = {
    "GRU": "gru",
    "LSTM": "lstm",
    "SimpleRNN": "simple",
    "CuDNNGRU": "gru",
    "CuDNNLSTM": "lstm",
}
KERAS_CELLS = {"GRUCell": "gru", "LSTMCell": "lstm", "SimpleRNNCell": "simple"}
TORCH_KINDS = {"GRU": "gru", "LSTM": "lstm", "RNN": "simple"}
TORCH_CELLS = {"GRUCell": "gru", "LSTMCell": "lstm", "RNNCell": "simple"}

MENTIONS = re.compile(r"GRU|LSTM|RNN")
"""A file without any of these has nothing to be looked at."""

_CONVENTIONS = {
    "tf": "tensorflow",
    "keras": "keras",
    "layers": "keras.layers",
    "nn": "torch.nn",
    "torch": "torch",
    "tensorflow": "tensorflow",
    "np": "numpy",
    "numpy": "numpy",
}
_KERAS_HOME = re.compile(r"(^|\.)(keras|tf_keras|tensorflow_core|_tf_keras)(\.|$)")


def conventional(name: str, whole: Iterable[str]) -> str | None:
    """Say what a name means that the file neither imports nor defines."""
    if name in _CONVENTIONS:
        return _CONVENTIONS[name]
    for module in whole:
        if is_keras(module) or module.startswith("torch.nn"):
            return f"{module}.{name}"
    return None


def is_keras(name: str) -> bool:
    """Tell whether a full name is Keras', in any of its homes."""
    return bool(_KERAS_HOME.search(name))


def recurrent(name: str) -> tuple[str, str | None, bool] | None:
    """Give framework, kind and whether it is a cell, for the full name of a recurrent layer."""
    last = name.rpartition(".")[2]
    if is_keras(name):
        if last in KERAS_KINDS:
            return "keras", KERAS_KINDS[last], False
        if last in KERAS_CELLS:
            return "keras", KERAS_CELLS[last], True
        return ("keras", None, False) if last == "RNN" else None
    if name.startswith("torch.nn"):
        if last in TORCH_KINDS:
            return "torch", TORCH_KINDS[last], False
        if last in TORCH_CELLS:
            return "torch", TORCH_CELLS[last], True
    return None
