"""The file is broken: truncated, or its structure makes no sense.

## What it refuses
A `.keras` file without its end, HDF5 that is shorter or longer than it says or cannot be read, a checkpoint of
TensorFlow with a part missing or cut.

## Why
A copy that stopped early opens in places and not in others; weights that are not there would be guessed. A file with
another one appended is two models to two programs.

## What to do
Copy it again and compare sizes, or `--expect-sha256`.
"""

from collections.abc import Iterator

from rnneval.files.head import Failure

NAME, ABOUT, ORDER = "damaged-file", "failure", 52
ADVICE = "copy or save it again"


def find(failure: Failure) -> Iterator[str]:
    """Anything that is neither the system's doing nor a lock."""
    if not failure.locked and not failure.system:
        yield failure.said
