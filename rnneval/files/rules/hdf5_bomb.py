"""The HDF5 file declares far more than it holds.

## What it refuses
An array of more than 4 kB that is over 100 times as large as its stored bytes (its chunks count, too), arrays that are
larger than the file together, over 16 GB; over 100,000 objects, groups deeper than 64.

## Why
The memory for an array is taken before its bytes are read: 2 kB of file can ask for a terabyte.

## What to do
Do not trust the file. Of a sparse array, save it dense.

## References
- CVE-2026-0897, CVE-2026-12570: huge declared shapes.
- CWE-789.
"""

from collections.abc import Iterator

from rnneval.files.hdf5 import Hdf5

NAME, ABOUT, ORDER = "hdf5-bomb", "hdf5", 360
ADVICE = "a model does not shrink like this: do not trust the file"

RATIO, SMALL, _MOST_BYTES = 100, 4096, 1 << 34
MOST_OBJECTS, MOST_DEEP = 100_000, 64


def find(file: Hdf5) -> Iterator[str]:
    """A chunk is unpacked whole, so it counts like an array."""
    if file.objects > MOST_OBJECTS or file.depth > MOST_DEEP:
        yield f"holds more than {MOST_OBJECTS:,} objects, or groups deeper than {MOST_DEEP}"
    for array in file.arrays:
        if array.declared > max(SMALL, RATIO * array.stored) or array.declared > _MOST_BYTES:
            yield f"{array.name} declares {array.declared:,} bytes and holds {array.stored:,}"
    stored = sum(array.stored for array in file.arrays)
    if stored > file.size:
        yield f"its arrays have {stored:,} bytes together, and the file has {file.size:,}"
