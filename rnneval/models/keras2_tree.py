"""The `.weights.h5` of a subclassed model of Keras 2: a tree of its layers, named after their classes and counted.

Keras 3 names the same tree after attributes, so that each finds nothing in the other's file.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from rnneval.errors import CheckpointError
from rnneval.models.keras2_weights import is_kept_state
from rnneval.models.lm import model_variables, variable_name


def load_keras2_tree(model: Any, path: Path, held: Mapping[str, tuple[int, ...]], *, shown: Path) -> None:
    """Load every weight, each found by its path in the tree; `held` has the shapes of those that the file has.

    Raises:
        CheckpointError: a weight is in the file and not in the model, or the other way round, or shapes differ.
    """
    found = dict(_walk(model, ""))
    variables = [variable for variable in model_variables(model) if not is_kept_state(variable)]
    reached = {id(found[name]) for name in held if name in found}
    missing = [variable_name(variable) for variable in variables if id(variable) not in reached]
    unused = [name for name in held if name not in found]
    other = [name for name in held if name in found and tuple(found[name].shape) != held[name]]
    for names, what in (
        (missing, "not found in the file"),
        (unused, "of the file not used"),
        (other, "of another shape"),
    ):
        if names:
            raise CheckpointError(
                f"{shown}: {len(names)} weights {what}: {', '.join(names[:8])}{' …' if len(names) > 8 else ''}: the "
                "builder makes another model than the one that was saved"
            )
    with h5py.File(path, "r") as file:
        for name in held:
            found[name].assign(np.asarray(file[name][()], np.float32))


def _walk(thing: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Give every weight below a layer with its path in the file of Keras 2."""
    own = [*getattr(thing, "_trainable_variables", ()), *getattr(thing, "_non_trainable_variables", ())]
    for number, variable in enumerate(variable for variable in own if not is_kept_state(variable)):
        yield f"{path}vars/{number}", variable
    if hasattr(thing, "layers") and not path.endswith("cells/"):
        yield from _walk_all(thing.layers, f"{path}layers/")
        return
    for name in ("cell", "layer", "forward_layer", "backward_layer"):
        if hasattr(thing, name):
            yield from _walk(getattr(thing, name), f"{path}{name}/")
    if isinstance(getattr(thing, "cells", None), (list, tuple)):
        yield from _walk_all(thing.cells, f"{path}cells/")


def _walk_all(layers: Sequence[Any], path: str) -> Iterator[tuple[str, Any]]:
    counts: dict[str, int] = {}
    for layer in layers:
        name = _snake_case(type(layer).__name__)
        count = counts[name] = counts.get(name, -1) + 1
        yield from _walk(layer, f"{path}{name}_{count}/" if count else f"{path}{name}/")


def _snake_case(name: str) -> str:
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
