"""A part of a TensorFlow checkpoint does not match its checksum.

## What it refuses
Any block of the index and any tensor whose CRC-32C is not the stored one, of the optimizer's too.

## Why
A flipped bit is another model. TensorFlow looks at a tensor's checksum only when it reads that tensor.

## What to do
Copy the checkpoint again from where it was whole.

## References
- RFC 3720, appendix B.4: CRC-32C.
"""

from collections.abc import Iterator

from rnneval.files.bundle import Bundle

NAME, ABOUT, ORDER = "bundle-checksum", "bundle", 440
ADVICE = "the file is damaged, copy it again"


def find(bundle: Bundle) -> Iterator[str]:
    """Blocks and tensors by name."""
    for name in bundle.damaged:
        yield f"{name} does not match its checksum"
