"""A part of the checkpoint lies outside of its folder, or is no plain file.

## What it refuses
Links to another place, a `checkpoint` file that names a path outside, pipes and devices.

## Why
A checkpoint from elsewhere must not choose which file of yours is read.

## What to do
`cp -rL FOLDER COPY` makes a folder without links; look at what it copied. Folders of the Hugging Face cache are made
of links.

## References
- CWE-59, CWE-22.
"""

from collections.abc import Iterator

from rnneval.files.folder import Folder

NAME, ABOUT, ORDER = "folder-link", "folder", 420
ADVICE = "copy the folder with its links followed (cp -rL), if you trust it"


def find(folder: Folder) -> Iterator[str]:
    """What the folder's own state file names, and every part that is there."""
    for named in folder.named_outside:
        yield f"its file checkpoint names {named[:80]!r}, outside of the folder"
    for name in folder.outside:
        yield f"{name} is a link out of the folder"
    for name in folder.special:
        yield f"{name} is no plain file"
