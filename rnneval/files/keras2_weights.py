"""The weights of an `.h5` file of Keras 2: groups named after layers, each a list of arrays in a known order."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from rnneval.errors import CheckpointError
from rnneval.files.hdf5 import checked_hdf5

_TOP = "top_level_model_weights"


@dataclass(frozen=True, kw_only=True)
class StoredWeight:
    """One array, with the name that Keras 2 gave it, such as `gru/gru_cell/kernel:0`."""

    name: str
    values: NDArray[Any]

    @property
    def role(self) -> str:
        """What it is in its layer, such as `kernel`, `recurrent_kernel`, `bias` or `embeddings`."""
        return self.name.rpartition("/")[2].partition(":")[0]


@dataclass(frozen=True, kw_only=True)
class StoredLayer:
    """The arrays of one layer."""

    name: str
    weights: tuple[StoredWeight, ...]


def read_layers(path: Path, *, shown: Path | None = None) -> tuple[StoredLayer, ...]:
    """Read the layers that have weights, in the order in which Keras 2 wrote them.

    Raises:
        CheckpointError: the file is damaged, or a weight lies outside of it.
    """
    checked_hdf5(path, shown=shown)
    path, opened = shown or path, path
    try:
        with h5py.File(opened, "r") as file:
            group = file["model_weights"] if "layer_names" not in file.attrs and "model_weights" in file else file
            found = tuple(_layer(path, group, name) for name in _names(group, "layer_names"))
            extra = (_layer(path, group, _TOP),) if _TOP in group else ()
    except (OSError, RuntimeError, ValueError, TypeError, LookupError) as error:
        raise CheckpointError(f"{path}: a damaged or truncated HDF5 file ({error}): copy or save it again") from error
    return tuple(layer for layer in (*found, *extra) if layer.weights)


def _names(group: Any, attribute: str) -> Iterator[str]:
    """Read a list of names; Keras 2 divides one above 64 kB into `layer_names0`, `layer_names1` and so on."""
    if attribute in group.attrs:
        parts = [attribute]
    else:
        parts = [f"{attribute}{k}" for k in range(len(group.attrs)) if f"{attribute}{k}" in group.attrs]
    for part in parts:
        for name in group.attrs[part]:
            yield name.decode() if isinstance(name, bytes) else str(name)


def _layer(path: Path, group: Any, name: str) -> StoredLayer:
    inner = _held(path, group, name)
    weights = tuple(_weight(path, inner, weight) for weight in _names(inner, "weight_names"))
    return StoredLayer(name=name, weights=weights)


def _weight(path: Path, group: Any, name: str) -> StoredWeight:
    dataset = _held(path, group, name)
    if not isinstance(dataset, h5py.Dataset):
        raise CheckpointError(f"{path}: weight {name} is no array: the file is damaged")
    return StoredWeight(name=name, values=np.asarray(dataset[()]))


def _held(path: Path, group: Any, name: str) -> Any:
    """Give what a group holds under a path, whose every step is a hard link: others may lead out of the file."""
    for step in filter(None, name.split("/")):
        link = group.get(step, getlink=True) if isinstance(group, h5py.Group) else None
        if link is None:
            raise CheckpointError(f"{path}: {name} is named but not there: the file is damaged")
        if not isinstance(link, h5py.HardLink):
            raise CheckpointError(f"{path}: {name} lies outside of the file or behind a link: refused")
        group = group[step]
    return group
