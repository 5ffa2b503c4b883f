"""What an HDF5 file holds, without reading its numbers."""

from pathlib import Path

import h5py

from rnneval.errors import CheckpointError


def shapes_of(path: Path) -> dict[str, tuple[int, ...]]:
    """Give the shape of every dataset by its path in the file.

    Raises:
        CheckpointError: the file is damaged.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def visit(name: str, thing: h5py.Group | h5py.Dataset) -> None:
        if isinstance(thing, h5py.Dataset):
            shapes[name] = tuple(thing.shape)

    try:
        with h5py.File(path, "r") as file:
            file.visititems(visit)
    except (OSError, RuntimeError, ValueError, LookupError) as error:
        raise CheckpointError(f"{path}: a damaged or truncated HDF5 file ({error}): copy or save it again") from error
    return shapes
