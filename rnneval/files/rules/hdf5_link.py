"""The HDF5 file holds a link where an array belongs.

## What it refuses
Soft links, external links, links of user-defined kinds, and anything that is reached under two names.

## Why
An external link opens another file on this machine, whose numbers would become the model. A loop of links never ends.

## What to do
Do not trust the file.

## References
- CVE-2026-1669: arrays and links outside of the file.
- CVE-2026-12480: its text could not be found; this route is taken from the class of those above.
"""

from collections.abc import Iterator

from rnneval.files.hdf5 import Hdf5

NAME, ABOUT, ORDER = "hdf5-link", "hdf5", 310
ADVICE = "no Keras writes this: do not trust the file"


def find(file: Hdf5) -> Iterator[str]:
    """No link was followed."""
    for link in file.links:
        yield f"{link.name} is {link.kind}"
