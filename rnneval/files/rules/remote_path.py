"""The path is an address and not a local file.

## What it refuses
`http://…`, `gs://…`, `hf://…` and any other address.

## Why
What is evaluated is a file that can be hashed; TensorFlow's own file functions would fetch from any address a path
names.

## What to do
Download the file, look at where it came from, and give the local path.
"""

from collections.abc import Iterator

from rnneval.files.head import Head

NAME, ABOUT, ORDER = "remote-path", "head", 10
ADVICE = "download it and give the local path"


def find(head: Head) -> Iterator[str]:
    """An address has a scheme; pathlib makes one slash of two."""
    scheme, colon, _ = str(head.path).partition(":/")
    if colon and len(scheme) > 1 and scheme.isalnum() and not head.exists:
        yield f"an address ({scheme}://…)"
