"""The file is there and may not be read.

## What it refuses
What the system says no to: no permission, a disk that fails, a link that leads nowhere.

## Why
It is no damage: the file may be fine.

## What to do
`ls -l` shows who may read it.
"""

from collections.abc import Iterator

from rnneval.files.head import Failure

NAME, ABOUT, ORDER = "unreadable-file", "failure", 50
ADVICE = "check its permissions and whether the disk is there"


def find(failure: Failure) -> Iterator[str]:
    """The system's own words; a lock is another rule's."""
    if failure.system and not failure.locked:
        yield f"cannot be read: {failure.system}"
