"""An array of the HDF5 file is packed by a filter that is not plain.

## What it refuses
Filters other than gzip, shuffle and fletcher32.

## Why
HDF5 loads a library for a filter that it does not have, and the parsers of rare ones are the least looked at.

## What to do
Save it again without compression.

## References
- HDF5_PLUGIN_PATH.
"""

from collections.abc import Iterator

from rnneval.files.hdf5 import Hdf5

NAME, ABOUT, ORDER = "hdf5-filter", "hdf5", 340
ADVICE = "save it without compression, or with gzip"

_PLAIN = {"deflate", "shuffle", "fletcher32"}


def find(file: Hdf5) -> Iterator[str]:
    """Keras itself uses none."""
    for array in file.arrays:
        for name in array.filters:
            if name not in _PLAIN:
                yield f"{array.name} is packed by {name}"
