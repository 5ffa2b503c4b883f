"""The configuration is too large, too deep or too long to be a model's.

## What it refuses
Over 16 MB, nested deeper than 100, over a million values.

## Why
It is looked at before it is parsed: parsing makes many bytes of one, and deep nesting exhausts the stack.

## What to do
Do not trust the file.

## References
- CWE-674, CWE-400.
"""

from collections.abc import Iterator

from rnneval.files.config import Text

NAME, ABOUT, ORDER = "config-size", "config-text", 210
ADVICE = "no model is described like this: do not trust the file"

_MOST_BYTES, _MOST_DEEP, _MOST_VALUES = 1 << 24, 100, 1_000_000


def find(text: Text) -> Iterator[str]:
    """Each measure by itself."""
    if text.size > _MOST_BYTES:
        yield f"its configuration has {text.size:,} bytes; up to {_MOST_BYTES:,} are read"
    if text.depth > _MOST_DEEP:
        yield f"its configuration is nested more than {_MOST_DEEP} deep"
    if text.values > _MOST_VALUES:
        yield f"its configuration has more than {_MOST_VALUES:,} values"
