"""The names that the interpreter knows: recurrent layers, and what well-known functions and methods do to states.

Imports are followed; the usual aliases are believed if nothing is imported. Functions are known by their last name.
"""

import re
from collections.abc import Iterable

KERAS_KINDS: dict[str, str | None] = {
    "GRU": "gru", "LSTM": "lstm", "SimpleRNN": "simple", "CuDNNGRU": "gru", "CuDNNLSTM": "lstm", "RNN": None,
}  # fmt: skip
"""Kinds of layers by their names; the kind of `RNN` is that of its cell."""
KERAS_CELLS = {"GRUCell": "gru", "LSTMCell": "lstm", "SimpleRNNCell": "simple"}
TORCH_KINDS: dict[str, str | None] = {"GRU": "gru", "LSTM": "lstm", "RNN": "simple"}
TORCH_CELLS = {"GRUCell": "gru", "LSTMCell": "lstm", "RNNCell": "simple"}

MENTIONS = re.compile(r"GRU|LSTM|RNN")
"""A file without any of these needs no interpretation."""

_ALIASES = {
    "tf": "tensorflow",
    "tensorflow": "tensorflow",
    "keras": "keras",
    "layers": "keras.layers",
    "nn": "torch.nn",
    "torch": "torch",
    "np": "numpy",
    "numpy": "numpy",
}
_KERAS_HOME = re.compile(r"(^|\.)(keras|tf_keras|tensorflow_core|_tf_keras)(\.|$)")


def conventional(name: str, whole: Iterable[str]) -> str | None:
    """Return the full name that is meant by a name which the file neither imports nor defines.

    Args:
        name: The bare name.
        whole: Modules that the file imports whole (`*`).
    """
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


SAME_STATE = frozenset({
    "detach", "clone", "read_value", "value", "contiguous", "to", "cuda", "cpu", "type", "float", "half", "double",
    "identity", "stop_gradient", "cast", "convert_to_tensor", "dropout", "Dropout", "requires_grad_", "data", "type_as",
    "ensure_shape", "view", "reshape", "transpose", "permute", "squeeze", "unsqueeze", "expand_dims", "Variable",
    "LayerNorm", "LayerNormalization", "GaussianNoise", "reshape_as", "flatten", "swapaxes", "numpy",
    "SpatialDropout1D", "AlphaDropout", "t", "where", "masked_fill", "masked_fill_", "nan_to_num", "clip_by_value",
    "clamp",
})  # fmt: skip
"""A state that went through is still that layer's state."""

SAME_SEQUENCE = frozenset({
    "contiguous", "to", "cuda", "cpu", "float", "half", "double", "identity", "cast", "convert_to_tensor", "dropout",
    "Dropout", "LayerNorm", "LayerNormalization", "BatchNormalization", "BatchNorm1d", "SpatialDropout1D", "relu",
    "ReLU", "tanh", "Activation", "ensure_shape", "Masking", "GaussianNoise", "GaussianDropout", "AlphaDropout",
    "pack_padded_sequence", "pad_packed_sequence", "LeakyReLU", "Tanh", "clone",
})  # fmt: skip
"""A sequence that went through is still one layer's outputs."""

CUTS = frozenset({
    "RepeatVector", "repeat", "tile", "expand", "repeat_interleave", "broadcast_to", "repeat_elements", "argmax",
    "multinomial", "categorical", "topk", "top_k", "sample", "choice", "mean", "max", "reduce_mean", "reduce_max",
    "sum", "reduce_sum", "unsqueeze", "expand_dims", "GlobalMaxPooling1D", "GlobalAveragePooling1D", "Flatten",
    "flatten", "adaptive_max_pool1d", "max_pool1d", "flip", "reverse", "new_zeros",
})  # fmt: skip
"""The result is no longer the sequence that went in: one step, one step repeated, a choice, a summary."""

JOINS = frozenset({"concat", "concatenate", "cat", "Concatenate", "hstack", "append", "stack", "vstack"})
"""The result is made of pieces put together."""

FRESH = frozenset({
    "zeros", "zeros_like", "ones", "ones_like", "randn", "rand", "full", "empty", "new_zeros", "new_ones", "new_full",
    "eye", "normal", "uniform", "random_normal", "random_uniform", "get_initial_state", "zero_state", "init_hidden",
    "init_state",
})  # fmt: skip
"""The result is made anew, from nothing that a layer gave."""

SWITCHES = frozenset({
    "training", "mask", "name", "dtype", "axis", "dim", "return_state", "return_states", "deterministic", "lengths",
})  # fmt: skip
"""Keyword arguments from which no result descends."""

KEEPS_CONTAINER = frozenset({"list", "tuple", "ModuleList", "ModuleDict"})
CHANGES = frozenset({"reverse", "sort", "update", "setdefault", "remove", "clear", "popitem"})
"""Methods that change a container in a way that is not followed."""
STACKS = frozenset({"RNN", "StackedRNNCells", "MultiRNNCell"})
"""What takes a list of cells and runs them as a stack."""
CELLS = ("Cell", "Wrapper")
"""How the names of classes of cells end."""

BUILTINS = frozenset({
    "len", "range", "enumerate", "zip", "reversed", "list", "tuple", "dict", "set", "sorted", "isinstance", "print",
    "super", "getattr", "setattr", "hasattr", "int", "float", "str", "bool", "any", "all", "sum", "min", "max", "map",
    "filter", "iter", "next", "type", "abs",
})  # fmt: skip
