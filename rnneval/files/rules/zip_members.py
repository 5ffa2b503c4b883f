"""The zip has members that no `.keras` file has, or lacks one that all have.

## What it refuses
Anything but `config.json`, `metadata.json`, `model.weights.h5` and `assets/…`; a zip without the first or the third.

## Why
Strangers have no place in a model: pickles, scripts and `.npz` weights would be the next reader's problem.

## What to do
Give the file as Keras saved it. Weights as `.npz` are not read: save them as `.h5`.
"""

from collections.abc import Iterator

from rnneval.files.zips import Zip

NAME, ABOUT, ORDER = "zip-members", "zip", 150
ADVICE = "give the file as Keras saved it"

_NEEDED = ("config.json", "model.weights.h5")
_KNOWN = {*_NEEDED, "metadata.json"}


def find(archive: Zip) -> Iterator[str]:
    """Those that are missing first: then it is another kind of zip."""
    names = {member.name for member in archive.members}
    if names and all(name.endswith(".npy") for name in names):
        yield "a NumPy archive (.npz): arrays, and nothing that says of which model"
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        yield f"a zip file without {' and '.join(missing)}: not a .keras file"
    for name in names:
        if name not in _KNOWN and not name.startswith("assets/"):
            yield f"member {name!r} does not belong into a .keras file"
