"""A member does not match its checksum.

## What it refuses
Any member whose CRC-32 is not the one that the zip has for it.

## Why
Keras does not look: measured with Python 3.13, four of four `.keras` files with a flipped bit in the weights loaded
without a word, as another model.

## What to do
Copy the file again from where it was whole.
"""

from collections.abc import Iterator

NAME, ABOUT, ORDER = "zip-checksum", "zip-content", 180
ADVICE = "the file is damaged, copy it again"


def find(damaged: tuple[str, ...]) -> Iterator[str]:
    """Members by name."""
    for name in damaged:
        yield f"{name} does not match its checksum"
