"""An array of the HDF5 file is put together from other arrays.

## What it refuses
Virtual datasets.

## Why
Their parts may lie in any file of this machine, and their size is nowhere stored.

## What to do
Do not trust the file.

## References
- CVE-2026-1669; Keras pull request 22976.
- CVE-2026-12480: its text could not be found; this route is taken from the class of those above.
"""

from collections.abc import Iterator

from rnneval.files.hdf5 import Hdf5

NAME, ABOUT, ORDER = "hdf5-virtual", "hdf5", 330
ADVICE = "no Keras writes this: do not trust the file"


def find(file: Hdf5) -> Iterator[str]:
    """By the array's own declaration."""
    for array in file.arrays:
        if array.virtual:
            yield f"{array.name} is virtual"
