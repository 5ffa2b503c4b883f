"""Weights and operations of Keras 2 in a model of Keras 3: every weight is used, each where it belongs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
from keras import ops

from rnneval.backends.numpy.chain import snake_case
from rnneval.errors import CheckpointError, WeightShapeError
from rnneval.files.keras2 import StoredLayer, from_cudnn, is_cudnn, read_layers
from rnneval.models.lm import variable_name

# The names of weights by which Keras 2 and 3 mean the same; others are matched by place and shape alone.
_ROLES = frozenset(
    ("kernel", "recurrent_kernel", "bias", "embeddings", "gamma", "beta", "moving_mean", "moving_variance")
)


def load_keras2_weights(model: Any, path: Path, *, shown: Path | None = None) -> tuple[str, ...]:
    """Load the weights of an `.h5` file of Keras 2 (weights alone or a full model) into a built model.

    Layers are matched by name where the names are the same, else in their order, as in Keras 2.

    Args:
        model: The model.
        path: The file.
        shown: The file to name in messages, where `path` is a copy of it.

    Returns:
        Assumptions, a sentence each.

    Raises:
        CheckpointError: a weight of the model is not in the file, one of the file is not in the model, or shapes or
            kinds differ.
    """
    stored = read_layers(path, shown=shown)
    path = shown or path
    notes: dict[str, None] = {}
    for held, layer in _pairs(path, stored, [layer for layer in _layers(model) if _variables(layer)], notes):
        _assign(path, held, layer, notes)
    return tuple(notes)


def _layers(model: Any) -> list[Any]:
    """Return the model's layers in their order, and at the end weights that belong to none of them."""
    below = list(getattr(model, "layers", ()))
    known = {id(variable) for layer in below for variable in layer.weights}
    own = [variable for variable in getattr(model, "weights", ()) if id(variable) not in known]
    if not own:
        return below
    top = SimpleNamespace(name="top_level_model_weights", trainable_weights=own, non_trainable_weights=[])
    return [*below, top]


def _variables(layer: Any) -> list[Any]:
    """Return weights in the order of Keras 2: those that are trained, then the others; no kept states."""
    both = [*layer.trainable_weights, *layer.non_trainable_weights]
    return [variable for variable in both if not is_kept_state(variable)]


def is_kept_state(variable: Any) -> bool:
    """Return whether it is the state of a stateful layer or of a random generator, rather than a weight."""
    path = variable_name(variable)
    return "rnn_state" in path or "seed_generator" in path


def _pairs(
    path: Path, stored: Sequence[StoredLayer], layers: Sequence[Any], notes: dict[str, None]
) -> list[tuple[StoredLayer, Any]]:
    names = {layer.name: layer for layer in layers}
    if len(names) == len(layers) and set(names) == {held.name for held in stored}:
        return [(held, names[held.name]) for held in stored]
    if len(stored) != len(layers):
        raise CheckpointError(
            f"{path} has weights of {len(stored)} layers ({_listed(stored)}), the model has {len(layers)} layers with "
            f"weights ({_listed(layers)}): the builder makes another model than the one that was saved"
        )
    notes["layers meet in their order: their names differ from those in the file"] = None
    return list(zip(stored, layers, strict=True))


def _listed(layers: Sequence[Any]) -> str:
    names = [str(layer.name) for layer in layers]
    return ", ".join(names[:8]) + (" …" if len(names) > 8 else "") or "none"


def _assign(path: Path, held: StoredLayer, layer: Any, notes: dict[str, None]) -> None:
    variables, arrays = _variables(layer), [weight.values for weight in held.weights]
    if len(variables) != len(arrays):
        raise CheckpointError(
            f"{path}: layer {held.name} has {len(arrays)} weights in the file and {len(variables)} in the model "
            f"({layer.name}): the builder makes another model than the one that was saved"
        )
    for at in range(len(variables) - 2):
        wanted = tuple(variables[at + 2].shape)
        roles = [variable_name(variable).rpartition("/")[2] for variable in variables[at : at + 3]]
        if roles == ["kernel", "recurrent_kernel", "bias"] and is_cudnn(arrays[at + 2].shape, wanted):
            arrays[at : at + 3] = from_cudnn(arrays[at], arrays[at + 1], arrays[at + 2], wanted)
            notes["weights were in the layout of cuDNN's own layers, and were rearranged"] = None
    for weight, array, variable in zip(held.weights, arrays, variables, strict=True):
        _require_same(path, held.name, weight.role, array, variable)
        variable.assign(np.asarray(array, np.float32))


def _require_same(path: Path, layer: str, role: str, array: Any, variable: Any) -> None:
    name = variable_name(variable)
    own = name.rpartition("/")[2]
    if role in _ROLES and own in _ROLES and role != own:
        raise CheckpointError(f"{path}: layer {layer} has a {role} where the model has {name}: another kind of layer")
    if tuple(array.shape) == tuple(variable.shape):
        return
    hint = "check the builder's sizes"
    ranks = (array.ndim, len(variable.shape))
    if own == "bias" and ranks in {(1, 2), (2, 1)} and array.shape[-1] == variable.shape[-1]:
        hint = f"its GRU has reset_after={array.ndim == 2}"
    held, wanted = tuple(array.shape), tuple(variable.shape)
    raise WeightShapeError(
        f"{path}: {layer}/{role} is {held} in the file and {wanted} in the model: {hint}",
        pairs=[(f"{layer}/{role}", held, wanted)],
    )


def keras2_tree(model: Any) -> dict[str, Any]:
    """Return every weight of a model by its path in the `.weights.h5` of a subclassed model of Keras 2.

    That file is a tree of layers, named after their classes and counted. Keras 3 names the same tree after attributes,
    so that neither finds a weight in the other's file.
    """
    return dict(_walk(model, ""))


def _walk(layer: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the path in the file of Keras 2 and the variable of every weight below a layer."""
    own = [*getattr(layer, "_trainable_variables", ()), *getattr(layer, "_non_trainable_variables", ())]
    for number, variable in enumerate(variable for variable in own if not is_kept_state(variable)):
        yield f"{path}vars/{number}", variable
    if hasattr(layer, "layers") and not path.endswith("cells/"):
        yield from _walk_all(layer.layers, f"{path}layers/")
        return
    for name in ("cell", "layer", "forward_layer", "backward_layer"):
        if hasattr(layer, name):
            yield from _walk(getattr(layer, name), f"{path}{name}/")
    if isinstance(getattr(layer, "cells", None), (list, tuple)):
        yield from _walk_all(layer.cells, f"{path}cells/")


def _walk_all(layers: Sequence[Any], path: str) -> Iterator[tuple[str, Any]]:
    counts: dict[str, int] = {}
    for layer in layers:
        name = snake_case(type(layer).__name__)
        count = counts[name] = counts.get(name, -1) + 1
        yield from _walk(layer, f"{path}{name}_{count}/" if count else f"{path}{name}/")


def keras2_hard_sigmoid(x: Any) -> Any:
    """Return 0.2 x + 0.5, at least 0 and at most 1: the default of recurrent layers in Keras before TensorFlow 2."""
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def _one_hot(
    x: Any, *, depth: int, on_value: float = 1, off_value: float = 0, axis: int = -1, dtype: str = "float32"
) -> Any:
    rows = ops.one_hot(x, depth, axis=axis, dtype=dtype)
    return rows if (on_value, off_value) == (1, 0) else rows * (on_value - off_value) + off_value


# The operations of `rnneval.files.keras2`.
_COMPUTED: Mapping[str, Callable[..., Any]] = {
    "one_hot": _one_hot,
    "cast": ops.cast,
    "math.add": lambda x, y: x + y,
    "__operators__.add": lambda x, y: x + y,
    "math.subtract": lambda x, y: x - y,
    "math.multiply": lambda x, y: x * y,
    "math.truediv": lambda x, y: x / y,
    "math.divide": lambda x, y: x / y,
    "math.negative": ops.negative,
    "math.tanh": ops.tanh,
    "math.sigmoid": ops.sigmoid,
    "math.exp": ops.exp,
    "math.square": ops.square,
    "nn.relu": ops.relu,
    "nn.softmax": lambda x, axis=-1: ops.softmax(x, axis=axis),
    "nn.log_softmax": lambda x, axis=-1: ops.log_softmax(x, axis=axis),
    "expand_dims": ops.expand_dims,
    "squeeze": lambda x, axis=None: ops.squeeze(x, axis=axis),
    "identity": lambda x: x,
}


class Keras2Operation(keras.layers.Layer):
    """Layer that computes an operation of TensorFlow in a graph of Keras 2, by Keras 3's own; it has no weights."""

    def __init__(self, function: str, **named: Any) -> None:
        super().__init__(autocast=False, **named)
        self.function = function

    def call(self, x: Any, **named: Any) -> Any:
        """Return the result of the operation on a tensor and further arguments."""
        return _COMPUTED[self.function](x, **named)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "function": self.function}
