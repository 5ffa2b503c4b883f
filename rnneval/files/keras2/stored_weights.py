"""Weights of an `.h5` file of Keras 2: groups named after layers, each a list of arrays in a known order.

A GPU may have written the layout of cuDNN's own layers (CuDNNLSTM, CuDNNGRU), which is rearranged for Keras. cuDNN has
one matrix for each gate, with a row for each unit, where Keras has a column. It has two biases for each gate, one with
the input and one with the state.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from rnneval.errors import CheckpointError
from rnneval.files.hdf5 import checked_hdf5

AnyArray = NDArray[Any]

_TOP = "top_level_model_weights"


@dataclass(frozen=True, kw_only=True)
class StoredWeight:
    """One array, with the name that Keras 2 gave it, such as `gru/gru_cell/kernel:0`."""

    name: str
    values: AnyArray

    @property
    def role(self) -> str:
        """Role of the array in its layer, such as `kernel`, `recurrent_kernel`, `bias` or `embeddings`."""
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
    """Yield a list of names; Keras 2 divides one above 64 kB into `layer_names0`, `layer_names1` and so on."""
    if attribute in group.attrs:
        parts = [attribute]
    else:
        parts = [f"{attribute}{k}" for k in range(len(group.attrs)) if f"{attribute}{k}" in group.attrs]
    for part in parts:
        for name in group.attrs[part]:
            yield name.decode() if isinstance(name, bytes) else str(name)


def _layer(path: Path, group: Any, name: str) -> StoredLayer:
    inner = _held(path, group, name)
    weights = []
    for weight in _names(inner, "weight_names"):
        dataset = _held(path, inner, weight)
        if not isinstance(dataset, h5py.Dataset):
            raise CheckpointError(f"{path}: weight {weight} is no array: the file is damaged")
        weights.append(StoredWeight(name=weight, values=np.asarray(dataset[()])))
    return StoredLayer(name=name, weights=tuple(weights))


def _held(path: Path, group: Any, name: str) -> Any:
    """Return the object under a path of a group. Every step must be a hard link: others may lead out of the file."""
    for step in filter(None, name.split("/")):
        link = group.get(step, getlink=True) if isinstance(group, h5py.Group) else None
        if link is None:
            raise CheckpointError(f"{path}: {name} is named but not there: the file is damaged")
        if not isinstance(link, h5py.HardLink):
            raise CheckpointError(f"{path}: {name} lies outside of the file or behind a link: refused")
        group = group[step]
    return group


def is_cudnn(bias_shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Return whether a stored bias is cuDNN's: twice as long as the LSTM's, or the flat form of the GRU's two rows.

    Example:
        >>> is_cudnn((32,), (16,)), is_cudnn((24,), (2, 12)), is_cudnn((16,), (16,)), is_cudnn((12,), (2, 12))
        (True, True, False, False)
    """
    if len(bias_shape) != 1:
        return False
    lstm = len(wanted) == 1 and bias_shape[0] == 2 * wanted[0]
    return lstm or (len(wanted) == 2 and wanted[0] == 2 and bias_shape[0] == 2 * wanted[1])


def from_cudnn(
    kernel: AnyArray, recurrent: AnyArray, bias: AnyArray, wanted: tuple[int, ...]
) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Rearrange kernel `(inputs, gates · units)`, recurrent kernel `(units, gates · units)` and bias.

    The order of the gates is the same. `wanted` is the shape of Keras' bias: the LSTM has only the sum of the two.
    """
    units = recurrent.shape[0]
    gates = recurrent.shape[1] // units
    into = [gate.reshape(units, kernel.shape[0]).T for gate in _gates(kernel, gates)]
    back = [gate.T for gate in _gates(recurrent, gates)]
    pair = bias.reshape(2, -1)
    return np.hstack(into), np.hstack(back), pair.sum(axis=0) if len(wanted) == 1 else pair


def _gates(matrix: AnyArray, gates: int) -> list[AnyArray]:
    return [np.ascontiguousarray(gate) for gate in np.hsplit(matrix, gates)]
