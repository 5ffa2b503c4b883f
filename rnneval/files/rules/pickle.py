"""A pickle: reading one runs code.

## What it refuses
Files that begin like a pickle of protocol 2 to 5, whatever they are called; as a vocabulary also `.pkl`, `.pickle`,
`.p` and `.npy` arrays of objects, which are pickles inside.

## Why
A pickle is a program, and unpickling runs it. It is never read.

## What to do
Save the model in another format. For a vocabulary, the message prints the line of Python that turns it into JSON, if
you trust it.

## References
- Python's documentation of pickle: the warning at the top.
- CVE-2019-6446: NumPy's `allow_pickle`.
"""

from collections.abc import Iterator

from rnneval.files.head import Head

NAME, ABOUT, ORDER = "pickle", "head", 20
ADVICE = "save it in another format (.keras, .h5, .weights.h5; of a vocabulary, JSON)"

_PROTOCOLS = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))


def find(head: Head) -> Iterator[str]:
    """Protocols from 2 on begin with a mark."""
    if head.start.startswith(_PROTOCOLS):
        yield "a pickle: reading one runs code, so it is never read"
