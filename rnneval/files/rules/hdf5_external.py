"""An array of the HDF5 file is stored in another file.

## What it refuses
External storage: the file names another one, and HDF5 reads the numbers there.

## Why
Any file that you may read would become weights, which can be had back from the model.

## What to do
Do not trust the file.

## References
- CVE-2026-1669.
"""

from collections.abc import Iterator

from rnneval.files.hdf5 import Hdf5

NAME, ABOUT, ORDER = "hdf5-external", "hdf5", 320
ADVICE = "no Keras writes this: do not trust the file"


def find(file: Hdf5) -> Iterator[str]:
    """By the array's own declaration."""
    for array in file.arrays:
        if array.external:
            yield f"{array.name} is stored in another file ({array.external[:60]!r})"
