"""The folder is an unzipped `.keras` file.

## What it refuses
`config.json` and `model.weights.h5` as loose files.

## Why
Its parts could be exchanged between the look and the load, and no checksum holds them together.

## What to do
Give the `.keras` file; if there is none, zip the folder's content.
"""

from collections.abc import Iterator

from rnneval.files.folder import Folder

NAME, ABOUT, ORDER = "folder-unzipped", "folder", 410
ADVICE = "give the .keras file"


def find(folder: Folder) -> Iterator[str]:
    """The two parts that every such file has."""
    if {"config.json", "model.weights.h5"} <= set(folder.names):
        yield "an unzipped .keras file; its parts could be exchanged"
