"""Name-based checkpoints of TensorFlow 1 (`tf.train.Saver`): cells are known by their names, other weights by shape.

TensorFlow 1 has one matrix for input and state together, `(inputs + units, gates · units)`. BasicLSTMCell, LSTMCell and
LSTMBlockCell order the gates i, j, f, o and add the forget bias to f when they run; GRUCell has the gates r, u and, by
itself, the candidate. (tensorflow/python/ops/rnn_cell_impl.py of TensorFlow 1.15.)
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnneval.errors import CheckpointError
from rnneval.models.keras.layers import model_variables, recurrent_units, variable_name

FORGET_BIAS = 1.0
"""The default of BasicLSTMCell and LSTMCell; it is no variable, so no checkpoint has it."""
_OF_TRAINING = re.compile(
    r"/(Adam(_\d+)?|RMSProp(_\d+)?|Momentum|Adagrad|Adadelta(_\d+)?|Ftrl(_\d+)?|ExponentialMovingAverage|AdamW?)$"
    r"|(^|/)(global_step|beta\d_power(_\d+)?|learning_rate|lr|Variable(_\d+)?)$"
)
_CELL = re.compile(
    r"^(.*?(?:basic_lstm_|lstm_block_|lstm_|gru_|basic_rnn_|rnn_|BasicLSTM|LSTM|GRU|BasicRNN)[cC]ell(?:_\d+)?)"
    r"/(?:[gG]ates/)?([cC]andidate/)?(?:[lL]inear/)?(?:([kK]ernel|[wW]eights|[mM]atrix)|[bB]ias|biases)$"
)
_KINDS = {"lstm": "LSTM", "gru": "GRU", "rnn": "SimpleRNN"}


def matched(
    model: Any, reader: Any, path: Path, given: Mapping[str, Any] | None
) -> tuple[dict[int, Any], list[str], tuple[str, ...]]:
    """Return an array for each variable, by its `id`, the names that no variable takes, and assumptions.

    `given` has names in the model → names in the checkpoint, where they are ambiguous, and `forget_bias`.
    """
    mapped = {"forget_bias": FORGET_BIAS, **(given or {})}
    forget_bias = float(mapped.pop("forget_bias"))
    shapes = {n: tuple(s) for n, s in reader.get_variable_to_shape_map().items() if s and not _OF_TRAINING.search(n)}
    scopes: dict[str, dict[str, str]] = {}  # the names of the weights of each cell by their roles
    for name in list(shapes):
        if match := _CELL.match(name):
            role = f"{(match[2] or '').lower()}{'kernel' if match[3] else 'bias'}"
            scopes.setdefault(match[1], {})[role] = name
    order = sorted(scopes, key=lambda scope: [int(p) if p.isdigit() else p.lower() for p in re.split(r"(\d+)", scope)])
    kinds = [next(kind for word, kind in _KINDS.items() if word in s.rpartition("/")[2].lower()) for s in order]
    units = recurrent_units(model)
    if order and kinds != [unit.kind.removesuffix("Cell") for unit in units]:
        raise CheckpointError(
            f"{path} has the cells {', '.join(f'{s} ({k})' for s, k in zip(order, kinds, strict=True))}; the model has "
            f"{', '.join(f'{u.name} ({u.kind})' for u in units) or 'none'}: make the builder's layers the same"
        )
    found: dict[int, Any] = {}
    for scope, kind, unit in zip(order, kinds, units, strict=False):
        if kind == "GRU" and unit.cell.reset_after:
            raise CheckpointError(
                f"{path}: {scope} is a GRUCell of TensorFlow 1, which resets before the product: make the "
                f"builder's layer {unit.name} with reset_after=False"
            )
        held = {role: reader.get_tensor(name) for role, name in scopes[scope].items()}
        wanted = {"kernel", "bias"} | ({"candidate/kernel", "candidate/bias"} if kind == "GRU" else set())
        if lacks := sorted(wanted - set(held)):
            raise CheckpointError(f"{path}: cell {scope} lacks {', '.join(lacks)}: the checkpoint is not whole")
        weights = (unit.cell.kernel, unit.cell.recurrent_kernel, unit.cell.bias)
        arrays = _as_keras(kind, held, int(weights[0].shape[0]), forget_bias)
        found |= {id(weight): array for weight, array in zip(weights, arrays, strict=True)}
    of_cells = {name for names in scopes.values() for name in names.values()}
    left = {name: shape for name, shape in shapes.items() if name not in of_cells}
    others = [v for v in model_variables(model) if id(v) not in found and "seed_generator" not in variable_name(v)]
    names = _names_of(path, others, left, mapped)
    found |= {id(variable): reader.get_tensor(name) for variable, name in zip(others, names, strict=True)}
    met = "; ".join(f"{scope} is {unit.name}" for scope, unit in zip(order, units, strict=False))
    said = [f"a checkpoint of TensorFlow 1: cells meet in their order ({met})"] if order else []
    if "LSTM" in kinds:
        default = 'the default of its cells, which no checkpoint holds (--weight-map: "forget_bias")'
        said.append(f"forget bias {forget_bias:g}, {'as given' if 'forget_bias' in (given or {}) else default}")
    return found, [name for name in left if name not in names], tuple(said)


def _as_keras(kind: str, held: Mapping[str, Any], inputs: int, forget_bias: float) -> tuple[Any, Any, Any]:
    """Return kernel `(inputs, gates · units)`, recurrent kernel `(units, gates · units)` and bias in Keras' order."""
    kernel, bias = held["kernel"], held["bias"]
    if kind == "GRU":  # the order of Keras: update, reset, candidate
        reset, update = np.hsplit(kernel, 2)
        kernel = np.hstack([update, reset, held["candidate/kernel"]])
        reset, update = np.split(bias, 2)
        bias = np.concatenate([update, reset, held["candidate/bias"]])
    elif kind == "LSTM":
        i, j, f, o = np.hsplit(kernel, 4)
        kernel = np.hstack([i, f, j, o])
        i, j, f, o = np.split(bias, 4)
        bias = np.concatenate([i, f + np.asarray(forget_bias, f.dtype), j, o])
    return kernel[:inputs], kernel[inputs:], bias


def _names_of(
    path: Path, variables: Sequence[Any], left: Mapping[str, tuple[int, ...]], mapped: Mapping[str, Any]
) -> list[str]:
    """Return the name of each variable: as mapped, else the only one of its shape that the map leaves."""
    fitting: list[list[str]] = []
    for variable in variables:
        given = [str(name) for end, name in mapped.items() if variable_name(variable).endswith(end)]
        if given and left.get(given[0]) != tuple(variable.shape):
            raise CheckpointError(
                f"{path}: the map gives {variable_name(variable)} {given[0]}, which is missing or of another shape"
            )
        alike = [n for n, shape in left.items() if shape == tuple(variable.shape) and n not in mapped.values()]
        fitting.append(given[:1] or alike)
    for names in fitting:
        if len(names) != 1 or fitting.count(names) != 1:
            held = ", ".join(f"{name} {shape}" for name, shape in left.items()) or "none"
            own = ", ".join(f"{variable_name(each)} {tuple(each.shape)}" for each in variables)
            raise CheckpointError(
                f"{path}: which weight is which cannot be told: the checkpoint has {held}; the model wants {own}: give "
                '--weight-map FILE.json, such as {"dense/kernel": "softmax_w"}'
            )
    return [names[0] for names in fitting]
