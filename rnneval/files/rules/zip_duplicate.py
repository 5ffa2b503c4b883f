"""A name occurs twice in the zip.

## What it refuses
The same name twice, also where only capitals differ.

## Why
One program takes the first, another the last: what was checked would not be what is loaded.

## What to do
Do not trust the file.

## References
- CWE-694.
"""

from collections import Counter
from collections.abc import Iterator

from rnneval.files.zips import Zip

NAME, ABOUT, ORDER = "zip-duplicate", "zip", 140
ADVICE = "a model has each member once: do not trust the file"


def find(archive: Zip) -> Iterator[str]:
    """Capitals do not count: some disks do not know them."""
    counts = Counter(member.name.casefold() for member in archive.members)
    for name, count in counts.items():
        if count > 1:
            yield f"member {name!r} comes {count} times"
