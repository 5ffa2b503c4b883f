"""The configuration holds a path or an address where a value belongs.

## What it refuses
A `vocabulary` that is a string (a path to Keras); any setting that is an absolute path, an address, or leads upwards
with `..`.

## Why
Keras opens such a path while it loads the model: a file of yours becomes part of the model, or an address is called.

## What to do
Set the vocabulary as a list before saving.

## References
- CVE-2025-12058: `StringLookup(vocabulary="/etc/passwd")`.
"""

import re
from collections.abc import Iterator

from rnneval.files.config import Config

NAME, ABOUT, ORDER = "config-path", "config", 260
ADVICE = (
    "save the model with its vocabulary inside (set_vocabulary with a list), or save the weights alone "
    "(model.save_weights('name.weights.h5')) and give --builder FILE.py:NAME"
)

_PATH = re.compile(r"^(/|~|[A-Za-z]:[\\/]|\\\\)[^\s]|://|(^|[/\\])\.\.([/\\]|$)")
_FILES = {"vocabulary", "idf_weights", "filepath", "file_path", "filename", "fname", "origin", "url", "path"}


def find(config: Config) -> Iterator[str]:
    """Lists are no paths: the tokens of a vocabulary may look like anything."""
    for key, word in config.words:
        if key in _FILES or _PATH.search(word):
            yield f"its setting {key} is {word[:60]!r}: a file or an address"
