"""The index of a TensorFlow checkpoint does not describe its data.

## What it refuses
An index that is damaged, compressed or beyond 64 MB; a tensor that lies outside of its data file, whose size is not
that of its shape, that is no number, or that comes in slices.

## Why
The index is a table of where each tensor lies. What it says is checked against the files before TensorFlow takes
memory for it.

## What to do
Copy or save the checkpoint again.

## References
- TensorFlow: tensor_bundle.proto, the table format of LevelDB.
"""

from collections.abc import Iterator

from rnneval.files.bundle import Bundle

NAME, ABOUT, ORDER = "bundle-layout", "bundle", 430
ADVICE = "copy or save it again"


def find(bundle: Bundle) -> Iterator[str]:
    """What the reader of the index noticed."""
    yield from bundle.disagreements
