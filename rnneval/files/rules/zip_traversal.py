"""A member of the zip would be unpacked outside of its folder.

## What it refuses
Names with `..`, absolute names, drive letters, backslashes, control characters.

## Why
Unpacked, such a member overwrites a file of yours; Keras unpacks assets.

## What to do
Do not trust the file. Nothing was unpacked.

## References
- CVE-2025-12060 (Keras' `get_file`), CVE-2007-4559: traversal by unpacking.
"""

from collections.abc import Iterator

from rnneval.files.zips import Zip

NAME, ABOUT, ORDER = "zip-traversal", "zip", 120
ADVICE = "a model has no such member: do not trust the file"


def find(archive: Zip) -> Iterator[str]:
    """Names that are no plain relative path."""
    for member in archive.members:
        name = member.name
        if ".." in name.split("/") or name.startswith("/") or "\\" in name or ":" in name or not name.isprintable():
            yield f"member {name!r} leads out of the archive"
