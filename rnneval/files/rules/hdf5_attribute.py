"""An attribute of the HDF5 file is too large, or is no text and no number.

## What it refuses
Over 256 attributes of one object, over 100,000 in all, over 16 MB in one attribute, references and other types; lists
of texts that could become more than 64 MB.

## Why
HDF5 finds an attribute by reading all of its object: thousands of them take minutes. Attributes are read whole, before
anything is known about them. A list of texts may name one long text a million times.

## What to do
Do not trust the file.

## References
- CWE-789.
"""

from collections.abc import Iterator

from rnneval.files.hdf5 import MOST_ATTRIBUTES, Hdf5

NAME, ABOUT, ORDER = "hdf5-attribute", "hdf5", 370
ADVICE = "no Keras writes this: do not trust the file"

_MOST_BYTES, _MOST_READ, _MOST = 1 << 24, 1 << 26, 100_000


def find(file: Hdf5) -> Iterator[str]:
    """What a text of any length could hold at most is what the arrays leave of the file."""
    for name, count in file.crowded.items():
        yield f"{name} has {count:,} attributes; up to {MOST_ATTRIBUTES} are read"
    if len(file.attributes) > _MOST:
        yield f"holds more than {_MOST:,} attributes"
    left = max(0, file.size - sum(array.stored for array in file.arrays))
    for attribute in file.attributes:
        if attribute.kind not in {"f", "i", "u", "b", "S", "text"}:
            yield f"attribute {attribute.name} holds {attribute.type}"
        elif attribute.size > _MOST_BYTES:
            yield f"attribute {attribute.name} has {attribute.size:,} bytes"
        elif attribute.kind == "text" and attribute.elements * left > _MOST_READ:
            yield f"attribute {attribute.name} has {attribute.elements:,} texts of any length"
