"""A member of the zip is encrypted, or packed in a way that is not read.

## What it refuses
Encrypted members, and methods other than *stored* and *deflated*.

## Why
What cannot be read cannot be checked. LZMA and bzip2 allow far higher ratios than deflate.

## What to do
Unpack and zip it again, plain.
"""

from collections.abc import Iterator

from rnneval.files.zips import Zip

NAME, ABOUT, ORDER = "zip-encrypted", "zip", 160
ADVICE = "give the file as Keras saved it"

_ENCRYPTED = 0x1 | 0x40 | 0x2000
_STORED, _DEFLATED = 0, 8


def find(archive: Zip) -> Iterator[str]:
    """By the flags and the method."""
    for member in archive.members:
        if member.flags & _ENCRYPTED:
            yield f"member {member.name!r} is encrypted"
        elif member.method not in {_STORED, _DEFLATED}:
            yield f"member {member.name!r} is packed by method {member.method}, neither stored nor deflated"
