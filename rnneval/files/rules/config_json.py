"""The configuration cannot be read as JSON.

## What it refuses
What is not JSON, not UTF-8, not a JSON object, or has a key twice.

## Why
It is damage mostly. A key that comes twice is read as its first value by one program and as its last by another.

## What to do
Copy or save the file again.
"""

from collections.abc import Iterator

from rnneval.files.config import Text

NAME, ABOUT, ORDER = "config-json", "config-text", 220
ADVICE = "the file is damaged, copy or save it again"


def find(text: Text) -> Iterator[str]:
    """What the parser said."""
    if text.problem:
        yield f"its configuration is not JSON ({text.problem})"
