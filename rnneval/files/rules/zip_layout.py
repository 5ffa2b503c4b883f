"""The zip says one thing in two places, or holds bytes that belong to none of its members.

## What it refuses
Members whose own header differs from the directory at the end (name, method, flags, sizes, checksum), that overlap or
leave gaps; bytes before the first member or after the end; sizes beyond the file (zip64 too); a directory that is
larger than any model's.

## Why
Two programs would read two different models out of one file: what was checked would not be what is loaded. Overlapping
members are how small bombs are made.

## What to do
Save the model again with Keras, or unpack and zip it again if you trust it.

## References
- D. Fifield: *A better zip bomb*. WOOT 2019.
- CWE-436, interpretation conflict.
"""

from collections.abc import Iterator

from rnneval.files.zips import Zip

NAME, ABOUT, ORDER = "zip-layout", "zip", 110
ADVICE = "no Keras writes this: do not trust the file"


def find(archive: Zip) -> Iterator[str]:
    """What the reader of the structure noticed on its way."""
    yield from archive.disagreements
