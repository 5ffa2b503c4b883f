"""A vocabulary file declares more than it holds.

## What it refuses
A `.npy` file whose header declares more bytes than the file has.

## Why
NumPy takes the memory for the declared shape before it reads: a hundred bytes can ask for a terabyte.

## What to do
Save the vocabulary again, as JSON best of all.

## References
- CWE-789.
"""

# Vocabularies are read in the room `text`, which is above this one: the comparison stands there.
NAME, ABOUT, ORDER = "vocabulary-array", "vocabulary", 510
ADVICE = "save it again"
