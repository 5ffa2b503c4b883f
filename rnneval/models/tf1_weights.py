"""Loading a name-based checkpoint of TensorFlow 1: cells are matched by order, other weights by name or shape."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnneval.errors import CheckpointError
from rnneval.files.tf1 import Tf1Cell, as_keras, cells_of, is_weight
from rnneval.models.layers import Unit, recurrent_units
from rnneval.models.lm import model_variables, variable_name

FORGET_BIAS = 1.0
"""The default of BasicLSTMCell and LSTMCell; it is no variable, so no checkpoint has it."""
_ROLES = ("kernel", "recurrent_kernel", "bias", "embeddings")


def load_tf1_weights(model: Any, reader: Any, path: Path, given: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Assign every weight of the checkpoint to one of the model, and every one of the model from the checkpoint.

    Args:
        model: The builder's model, built.
        reader: From `tf.train.load_checkpoint`.
        path: For messages.
        given: Names in the model → names in the checkpoint where they are ambiguous, and `forget_bias`.

    Returns:
        Assumptions, a sentence each.

    Raises:
        CheckpointError: a weight is left over on either side, or could go to several places; the message shows the
            map that is needed.
    """
    mapped = dict(given or {})
    forget_bias = float(mapped.pop("forget_bias", FORGET_BIAS))
    shapes = {n: tuple(s) for n, s in reader.get_variable_to_shape_map().items() if is_weight(n, tuple(s))}
    cells, units = cells_of(shapes, str(path)), recurrent_units(model)
    taken: dict[int, Any] = {}
    if cells:
        _require_cells(path, cells, units)
        for cell, unit in zip(cells, units, strict=True):
            taken |= _of_cell(path, cell, unit, reader, forget_bias)
    used = {name for cell in cells for name in cell.names.values()}
    rest = {name: shape for name, shape in shapes.items() if name not in used}
    variables = [v for v in model_variables(model) if id(v) not in taken and "seed_generator" not in variable_name(v)]
    pairs = _matched(path, variables, rest, mapped)
    for variable in model_variables(model):
        if id(variable) in taken:
            variable.assign(np.asarray(taken[id(variable)], np.float32))
        elif id(variable) in pairs:
            variable.assign(np.asarray(reader.get_tensor(pairs[id(variable)]), np.float32))
    return _said(cells, units, forget_bias, "forget_bias" in (given or {}))


def _said(cells: Sequence[Tf1Cell], units: Sequence[Unit], forget_bias: float, given: bool) -> tuple[str, ...]:
    met = "; ".join(f"{cell.scope} is {unit.name}" for cell, unit in zip(cells, units, strict=False))
    said = [f"a checkpoint of TensorFlow 1: cells meet in their order ({met})"] if cells else []
    if any(cell.kind == "LSTM" for cell in cells):
        whose = (
            "as given" if given else 'the default of its cells, which no checkpoint holds (--weight-map: "forget_bias")'
        )
        said.append(f"forget bias {forget_bias:g}, {whose}")
    return tuple(said)


def _require_cells(path: Path, cells: Sequence[Tf1Cell], units: Sequence[Unit]) -> None:
    held = [cell.kind for cell in cells]
    own = [unit.kind.removesuffix("Cell") for unit in units]
    if held != own:
        raise CheckpointError(
            f"{path} has the cells {', '.join(f'{c.scope} ({c.kind})' for c in cells)}; the model has "
            f"{', '.join(f'{u.name} ({u.kind})' for u in units) or 'none'}: make the builder's layers the same"
        )


def _of_cell(path: Path, cell: Tf1Cell, unit: Unit, reader: Any, forget_bias: float) -> dict[int, Any]:
    inner = unit.cell
    if cell.kind == "GRU" and inner.reset_after:
        raise CheckpointError(
            f"{path}: {cell.scope} is a GRUCell of TensorFlow 1, which resets before the product: make the builder's "
            f"layer {unit.name} with reset_after=False"
        )
    values = {name: reader.get_tensor(name) for name in cell.names.values()}
    inputs = int(inner.kernel.shape[0])
    found: dict[int, Any] = {}
    arrays = as_keras(cell, values, inputs, forget_bias)
    for variable, array in zip((inner.kernel, inner.recurrent_kernel, inner.bias), arrays, strict=True):
        if tuple(variable.shape) != array.shape:
            raise CheckpointError(
                f"{path}: {cell.scope} gives {variable_name(variable)} of shape {array.shape}, the model has "
                f"{tuple(variable.shape)}: check the builder's sizes"
            )
        found[id(variable)] = array
    return found


def _matched(
    path: Path, variables: Sequence[Any], rest: Mapping[str, tuple[int, ...]], mapped: Mapping[str, Any]
) -> dict[int, str]:
    """Return variable (by `id`) → name: as mapped, else the only name left of its shape, or of its shape and role."""
    left = dict(rest)
    pairs: dict[int, str] = {}
    waiting = []
    for variable in variables:
        name = next((mapped[key] for key in mapped if variable_name(variable).endswith(key)), None)
        if name is None:
            waiting.append(variable)
        elif left.pop(name, None) != tuple(variable.shape):
            raise CheckpointError(
                f"{path}: the map gives {variable_name(variable)} {name}, which is missing or of another shape"
            )
        else:
            pairs[id(variable)] = name
    for variable in waiting:
        names = _candidates(variable, left)
        rivals = [v for v in waiting if id(v) not in pairs and _candidates(v, left) == names]
        if len(names) != 1 or len(rivals) != 1:
            raise CheckpointError(_map_needed(path, waiting, left))
        pairs[id(variable)] = names[0]
    unused = [name for name in left if name not in pairs.values()]
    if unused:
        raise CheckpointError(f"{path} has weights the model does not use: {', '.join(unused[:8])}")
    return pairs


def _candidates(variable: Any, left: Mapping[str, tuple[int, ...]]) -> list[str]:
    fitting = [name for name, shape in left.items() if shape == tuple(variable.shape)]
    role = variable_name(variable).rpartition("/")[2]
    same = [name for name in fitting if name.rpartition("/")[2] == role]
    return same if role in _ROLES and same else fitting


def _map_needed(path: Path, waiting: Sequence[Any], left: Mapping[str, tuple[int, ...]]) -> str:
    held = ", ".join(f"{name} {shape}" for name, shape in left.items()) or "none"
    own = ", ".join(f"{variable_name(variable)} {tuple(variable.shape)}" for variable in waiting)
    return (
        f"{path}: which weight is which cannot be told: the checkpoint has {held}; the model wants {own}: give "
        '--weight-map FILE.json, such as {"dense/kernel": "softmax_w"}'
    )
