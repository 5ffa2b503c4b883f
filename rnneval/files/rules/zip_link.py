"""A member of the zip is a link or a device.

## What it refuses
Members that Unix would unpack as anything but a file or a folder.

## Why
A link points to a file of yours, which would be read or written in its place.

## What to do
Do not trust the file.

## References
- CWE-59.
"""

from collections.abc import Iterator

from rnneval.files.zips import Zip

NAME, ABOUT, ORDER = "zip-link", "zip", 130
ADVICE = "a model has no such member: do not trust the file"

_KIND, _FILE, _FOLDER = 0o170000, 0o100000, 0o040000


def find(archive: Zip) -> Iterator[str]:
    """Unix keeps the kind of a file in the upper half of the external attributes."""
    for member in archive.members:
        if member.mode & _KIND not in {0, _FILE, _FOLDER}:
            yield f"member {member.name!r} is no plain file (mode {member.mode:o})"
