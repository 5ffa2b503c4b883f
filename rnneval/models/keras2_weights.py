"""The arrays of an `.h5` file of Keras 2 into a model of Keras 3: all of them, each where it belongs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnneval.errors import CheckpointError
from rnneval.files.cudnn import from_cudnn, is_cudnn
from rnneval.files.keras2_weights import StoredLayer, read_layers
from rnneval.models.lm import variable_name

# The names of weights by which Keras 2 and 3 mean the same; others are matched by place and shape alone.
_ROLES = frozenset(
    ("kernel", "recurrent_kernel", "bias", "embeddings", "gamma", "beta", "moving_mean", "moving_variance")
)


def load_keras2_weights(model: Any, path: Path, *, shown: Path | None = None) -> tuple[str, ...]:
    """Load the weights of a file of Keras 2 (weights alone or a whole model) into a built model.

    `shown` is the file to name in messages, where `path` is a copy of it.

    Layers meet by name where the names are the same, else in their order, as in Keras 2.

    Returns:
        What was assumed, a sentence each.

    Raises:
        CheckpointError: a weight of the model is not in the file, one of the file is not in the model, or shapes or
            kinds differ.
    """
    stored = read_layers(path, shown=shown)
    path = shown or path
    layers = [layer for layer in _layers(model) if _variables(layer)]
    notes: dict[str, None] = {}
    for held, layer in _pairs(path, stored, layers, notes):
        _assign(path, held, layer, notes)
    return tuple(notes)


def _layers(model: Any) -> list[Any]:
    """The model's layers in their order, and at the end the model itself where it has weights of its own."""
    below = list(getattr(model, "layers", ()))
    known = {id(variable) for layer in below for variable in layer.weights}
    own = [variable for variable in getattr(model, "weights", ()) if id(variable) not in known]
    return [*below, _Loose(own)] if own else below


class _Loose:
    """Weights that belong to the model itself and to none of its layers."""

    name = "top_level_model_weights"

    def __init__(self, variables: list[Any]) -> None:
        self.trainable_weights, self.non_trainable_weights = variables, list[Any]()


def _variables(layer: Any) -> list[Any]:
    """Weights in the order of Keras 2: those that are trained, then the others; no states, no random generators."""
    both = [*layer.trainable_weights, *layer.non_trainable_weights]
    return [variable for variable in both if not is_kept_state(variable)]


def is_kept_state(variable: Any) -> bool:
    """Whether it is the state of a stateful layer, or of a random generator, rather than a weight."""
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
    if _rearranged(variables, arrays):
        notes["weights were in the layout of cuDNN's own layers, and were rearranged"] = None
    for weight, array, variable in zip(held.weights, arrays, variables, strict=True):
        _require_same(path, held.name, weight.role, array, variable)
        variable.assign(np.asarray(array, np.float32))


def _rearranged(variables: Sequence[Any], arrays: list[Any]) -> bool:
    """Rearrange every kernel, recurrent kernel and bias that come one after the other in cuDNN's layout."""
    found = False
    for at in range(len(variables) - 2):
        wanted = tuple(variables[at + 2].shape)
        roles = [variable_name(variable).rpartition("/")[2] for variable in variables[at : at + 3]]
        if roles == ["kernel", "recurrent_kernel", "bias"] and is_cudnn(arrays[at + 2].shape, wanted):
            arrays[at : at + 3] = from_cudnn(arrays[at], arrays[at + 1], arrays[at + 2], wanted)
            found = True
    return found


def _require_same(path: Path, layer: str, role: str, array: Any, variable: Any) -> None:
    name = variable_name(variable)
    own = name.rpartition("/")[2]
    if role in _ROLES and own in _ROLES and role != own:
        raise CheckpointError(f"{path}: layer {layer} has a {role} where the model has {name}: another kind of layer")
    if tuple(array.shape) == tuple(variable.shape):
        return
    hint = "check the builder's sizes"
    if (
        own == "bias"
        and (array.ndim, len(variable.shape)) in {(1, 2), (2, 1)}
        and array.shape[-1] == variable.shape[-1]
    ):
        hint = f"its GRU has reset_after={array.ndim == 2}"
    raise CheckpointError(
        f"{path}: {layer}/{role} is {tuple(array.shape)} in the file and {tuple(variable.shape)} in the model: {hint}"
    )
