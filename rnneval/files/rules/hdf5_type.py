"""An array of the HDF5 file does not hold numbers.

## What it refuses
Booleans, enumerations, objects, references, strings of any length, compound and other types; types with names of their
own.

## Why
Weights are floats or integers; a boolean would count as 0 or 1 without a word. Strings of any length and references
point elsewhere in the file, and can make much of little.

## What to do
Keras loses the type of bfloat16 weights in `.h5` files, and cannot read them back itself: save the model as `.keras`
or its weights as `.weights.h5`. Otherwise do not trust the file.
"""

from collections.abc import Iterator

from rnneval.files.hdf5 import Hdf5

NAME, ABOUT, ORDER = "hdf5-type", "hdf5", 350
ADVICE = "save it as .keras or .weights.h5; where Keras did not write it, do not trust it"


def find(file: Hdf5) -> Iterator[str]:
    """bfloat16 is kept as two opaque bytes."""
    for array in file.arrays:
        if array.kind not in {"f", "i", "u", "bfloat16"}:
            yield f"{array.name} holds {array.type}, not numbers"
