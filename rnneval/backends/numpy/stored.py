"""The weights of a chain, read from the file of a full model, and compared with what the configuration asks for."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from rnneval.backends.numpy.chain import GATES, SLOTS, Chain, Entry, not_for_numpy
from rnneval.backends.weights import require_finite
from rnneval.errors import CheckpointError
from rnneval.files.artefact import FullModel
from rnneval.files.hdf5 import BROKEN
from rnneval.files.keras2 import StoredLayer, from_cudnn, is_cudnn, read_layers

Weights = Mapping[str, NDArray[Any]]
"""The arrays of one layer by their role: `kernel`, `recurrent_kernel`, `bias`, `embeddings`, `gamma`, `beta`."""
_RANDOM = "seed_generator"


def read_weights(chain: Chain, model: FullModel, *, shown: str, dtype: Any) -> tuple[list[Weights], tuple[str, ...]]:
    """Read the weights of every layer of a chain.

    Returns:
        The arrays of each layer, in the order of the chain, and assumptions, a sentence each.

    Raises:
        CheckpointError: a weight is not finite.
        NotForNumpyError: the weights in the file are others than those of the chain.
    """
    notes: dict[str, None] = {}
    if model.path.suffix == ".h5":
        stored = _by_layer(chain, read_layers(model.weights, shown=Path(shown)), shown, notes, in_order=model.keras2)
    else:
        stored = _by_path(chain, model.weights, shown)
    found: list[Weights] = []
    inputs: int | None = None
    for entry, arrays in zip(chain.entries, stored, strict=True):
        wanted = _shapes(entry, arrays, inputs)
        arrays = _rearranged(entry, arrays, wanted, notes)  # noqa: PLW2901
        _require_shapes(shown, entry, arrays, wanted)
        names = (f"{entry.own_name}/{role}" for role in wanted)
        require_finite(zip(names, arrays, strict=True), shown)
        found.append({role: np.ascontiguousarray(a, dtype) for role, a in zip(wanted, arrays, strict=True)})
        inputs = _width(entry, inputs)
    return found, tuple(notes)


def roles_of(entry: Entry) -> tuple[str, ...]:
    """Return the roles of the weights of a layer, in Keras' order."""
    bias = ("bias",) if entry.get("use_bias", True) else ()
    if entry.kind == "Embedding":
        return ("embeddings",)
    if entry.kind in SLOTS:
        return ("kernel", "recurrent_kernel", *bias)
    if entry.kind == "Dense":
        return ("kernel", *bias)
    if entry.kind == "LayerNormalization":
        return tuple(role for role, asked in (("gamma", "scale"), ("beta", "center")) if entry.get(asked, True))
    return ()


def _by_path(chain: Chain, path: Path, shown: str) -> list[list[NDArray[Any]]]:
    """Read weights by their places in the weights of a `.keras` file: layers are named after classes, and counted."""
    found: list[list[NDArray[Any]]] = []
    used: set[str] = set()
    try:
        with h5py.File(path, "r") as file:
            held = set(_datasets(file))
            for entry in chain.entries:
                names = [f"{entry.group}/{number}" for number in range(len(roles_of(entry)))]
                if not held.issuperset(names):
                    raise not_for_numpy(shown, f"layer {entry.name} ({entry.kind}) has no weights at {entry.group}")
                found.append([_values(file[name]) for name in names])
                used.update(names)
    except BROKEN as error:
        raise CheckpointError(f"{shown}: a damaged or truncated HDF5 file ({error}): copy or save it again") from error
    if unused := sorted(held - used):
        raise not_for_numpy(shown, f"the file has weights that belong to no known layer: {', '.join(unused[:3])}")
    return found


def _datasets(file: Any) -> Iterator[str]:
    """Yield the paths of the weights; random generators and optimizers have no part in evaluation."""
    names: list[str] = []
    file.visititems(lambda name, thing: names.append(name) if isinstance(thing, h5py.Dataset) else None)
    for name in names:
        if not name.startswith("optimizer/") and _RANDOM not in name and "metrics" not in name.split("/"):
            yield name


def _values(dataset: Any) -> NDArray[Any]:
    """Read an array; bfloat16, which HDF5 has not, is stored as two bytes and becomes float32."""
    values: NDArray[Any] = dataset[()]
    if values.dtype.kind == "V" and values.dtype.itemsize == 2:
        return (values.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)
    return values


def _by_layer(
    chain: Chain, stored: Sequence[StoredLayer], shown: str, notes: dict[str, None], *, in_order: bool
) -> list[list[NDArray[Any]]]:
    """Read weights of an `.h5` file, where each layer of the outermost model has a group with its name.

    In files of Keras 2 layers may have other names than in the configuration; they then meet in their order.
    """
    holders = [(holder, list(entries)) for holder, entries in groupby(chain.entries, lambda entry: entry.holder)]
    weighted = [(holder, entries) for holder, entries in holders if any(map(roles_of, entries))]
    named = {layer.name: layer for layer in stored}
    if {holder for holder, _ in weighted} == set(named):
        pairs = [(named[holder], entries) for holder, entries in weighted]
    elif in_order and len(stored) == len(weighted):
        pairs = [(layer, entries) for layer, (_, entries) in zip(stored, weighted, strict=True)]
        notes["layers meet in their order: their names differ from those in the file"] = None
    else:
        listed = ", ".join(layer.name for layer in stored[:8])
        raise not_for_numpy(shown, f"the file has weights of the layers {listed}, and the configuration has others")
    arrays = {id(entry): values for layer, entries in pairs for entry, values in _dealt(layer, entries, shown)}
    return [arrays.get(id(entry), []) for entry in chain.entries]


def _dealt(layer: StoredLayer, entries: Sequence[Entry], shown: str) -> Iterator[tuple[Entry, list[NDArray[Any]]]]:
    """Yield the weights of each entry in a group: of a model inside of the model, there are several."""
    wanted = [(entry, role) for entry in entries for role in roles_of(entry)]
    if len(wanted) != len(layer.weights) or (len(entries) > 1 and any(entry.frozen for entry in entries)):
        raise not_for_numpy(shown, f"layer {layer.name} has {len(layer.weights)} weights in an order that is not known")
    rest = iter(layer.weights)
    for entry in entries:
        held = [next(rest) for _ in roles_of(entry)]
        for role, weight in zip(roles_of(entry), held, strict=True):
            if weight.role in {"kernel", "recurrent_kernel", "bias", "embeddings", "gamma", "beta"} - {role}:
                raise not_for_numpy(shown, f"layer {entry.name} ({entry.kind}) has a {weight.role} for its {role}")
        yield entry, [weight.values for weight in held]


def _shapes(entry: Entry, arrays: Sequence[NDArray[Any]], inputs: int | None) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight by the configuration; the first layer's inputs are known by its kernel alone."""
    rows = inputs if inputs is not None else (arrays[0].shape[0] if arrays and arrays[0].ndim else 0)
    units = int(entry.get("units", 0) or 0)
    gates = GATES.get(entry.kind, 1)
    twice = entry.kind == "GRU" and entry.get("reset_after", True)
    shapes = {
        "embeddings": (int(entry.get("input_dim", 0)), int(entry.get("output_dim", 0))),
        "kernel": (rows, gates * units),
        "recurrent_kernel": (units, gates * units),
        "bias": (2, gates * units) if twice else (gates * units,),
        "gamma": (rows,),
        "beta": (rows,),
    }
    return {role: shapes[role] for role in roles_of(entry)}


def _width(entry: Entry, inputs: int | None) -> int | None:
    """Return how many numbers a layer gives for each token."""
    return entry.get("units") or entry.get("output_dim") or inputs


def _rearranged(
    entry: Entry, arrays: list[NDArray[Any]], wanted: Mapping[str, tuple[int, ...]], notes: dict[str, None]
) -> list[NDArray[Any]]:
    """Return weights in the layout of Keras where they are in that of cuDNN's own layers."""
    if entry.kind not in SLOTS or len(arrays) != 3 or not is_cudnn(arrays[2].shape, wanted["bias"]):
        return arrays
    notes["weights were in the layout of cuDNN's own layers, and were rearranged"] = None
    return list(from_cudnn(arrays[0], arrays[1], arrays[2], wanted["bias"]))


def _require_shapes(
    shown: str, entry: Entry, arrays: Sequence[NDArray[Any]], wanted: Mapping[str, tuple[int, ...]]
) -> None:
    for array, (role, shape) in zip(arrays, wanted.items(), strict=True):
        if tuple(array.shape) != shape or array.dtype.kind not in "fiu":
            raise not_for_numpy(
                shown,
                f"layer {entry.name} ({entry.kind}) has a {role} of type {array.dtype} and shape {tuple(array.shape)}, "
                f"where its settings ask for {shape}",
            )
