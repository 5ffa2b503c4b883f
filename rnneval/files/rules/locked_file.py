"""Another process is writing the file.

## What it refuses
An HDF5 file that another process has locked, or has open for writing.

## Why
A training that is saving holds the lock; what would be read is half of the old and half of the new weights.

## What to do
Wait, or evaluate a copy. If no process has it, the writer was killed: `h5clear -s FILE` clears the mark.

## References
- HDF5: file locking, HDF5_USE_FILE_LOCKING.
"""

from collections.abc import Iterator

from rnneval.files.head import Failure

NAME, ABOUT, ORDER = "locked-file", "failure", 51
ADVICE = "wait until it is saved, or give a copy"


def find(failure: Failure) -> Iterator[str]:
    """HDF5 says so."""
    if failure.locked:
        yield "locked: another process has it open for writing"
