"""The zip would unpack into far more than it holds.

## What it refuses
A member of more than 64 kB that is over 100 times as large as its packed bytes; over 16 MB of configuration, 1 MB of
metadata, 256 MB of assets, 16 GB of weights.

## Why
Trained weights are noise and hardly shrink; a few kilobytes that become gigabytes fill memory or disk.

## What to do
Do not trust the file.

## References
- CWE-409.
"""

from collections.abc import Iterator

from rnneval.files.zips import Zip

NAME, ABOUT, ORDER = "zip-bomb", "zip", 170
ADVICE = "a model does not shrink like this: do not trust the file"

RATIO, SMALL = 100, 1 << 16
_MOST = {"config.json": 1 << 24, "metadata.json": 1 << 20, "model.weights.h5": 1 << 34}
_MOST_ASSETS = 1 << 28


def find(archive: Zip) -> Iterator[str]:
    """By what the directory declares; reading stops there, whatever comes."""
    for member in archive.members:
        if member.size > SMALL and member.size > RATIO * member.stored:
            yield f"member {member.name!r} unpacks {member.stored:,} bytes into {member.size:,}"
        elif member.size > _MOST.get(member.name, _MOST_ASSETS):
            yield f"member {member.name!r} has {member.size:,} bytes"
    assets = sum(member.size for member in archive.members if member.name not in _MOST)
    if assets > _MOST_ASSETS:
        yield f"its assets have {assets:,} bytes"
