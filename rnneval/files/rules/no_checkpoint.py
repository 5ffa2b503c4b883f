"""What the bytes are is no checkpoint.

## What it refuses
A Git LFS pointer, an HTML page, a text file, a frozen graph (`.pb`), other bytes: told by the first bytes,
not by the ending.

## Why
A wrong download is the most common of broken checkpoints, and its name says nothing.

## What to do
Fetch the file itself: `git lfs pull`, or the download link instead of the page about it.
"""

from collections.abc import Iterator

from rnneval.files.graphs import graph_in
from rnneval.files.head import Head

NAME, ABOUT, ORDER = "no-checkpoint", "head", 40
ADVICE = "a checkpoint is a .keras or .h5 file, or with --builder a .weights.h5 file or a TensorFlow checkpoint"


def find(head: Head) -> Iterator[str]:
    """Neither a zip nor HDF5: say what it looks like."""
    if not head.start.startswith((b"PK\x03\x04", b"\x89HDF\r\n\x1a\n")):
        yield _looks_like(head.start)


def _looks_like(start: bytes) -> str:
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer and not the file itself: run git lfs pull"
    if start.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return "an HTML page: the download gave a page about the file instead of the file"
    return graph_in(start) or _text_or_bytes(start)


def _text_or_bytes(start: bytes) -> str:
    try:
        start.decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 4:
            return f"neither a zip nor an HDF5 file (it begins with {start[:4].hex(' ')})"
    return "a text file"
