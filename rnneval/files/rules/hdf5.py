"""Rules on the structure of an HDF5 file; each function is a rule, as in `rnneval.files.rules`."""

from collections.abc import Iterator

from rnneval.files.hdf5 import MAX_ATTRIBUTES, MAX_DEPTH, MAX_OBJECTS, MOST_ATTRIBUTES, Hdf5
from rnneval.files.rules import rule

_PLAIN_FILTERS = {"deflate", "shuffle", "fletcher32"}
_MAX_RATIO = 100  # declared by stored bytes
_BOMB_MIN_BYTES = 4096  # declared bytes up to which the ratio does not matter
_MAX_ARRAY_BYTES = 1 << 34
_MAX_ATTRIBUTE_BYTES = 1 << 24  # of one attribute
_MAX_TEXT_BYTES = 1 << 26  # of a list of texts, if each is as long as it can be


@rule(about="hdf5", order=310, advice="no Keras writes this: do not trust the file")
def hdf5_link(file: Hdf5) -> Iterator[str]:
    """The HDF5 file holds a link where an array belongs.

    ## What it refuses
    Soft links, external links, links of user-defined kinds, and anything that is reached under two names.

    ## Why
    An external link opens another file on this machine, whose numbers would become the model. A loop of links never
    ends.

    ## What to do
    Do not trust the file.

    ## References
    - CVE-2026-1669: arrays and links outside of the file.
    - CVE-2026-12480: its text could not be found; this route is taken from the class of those above.
    """
    yield from file.links


@rule(about="hdf5", order=320, advice="no Keras writes this: do not trust the file")
def hdf5_external(file: Hdf5) -> Iterator[str]:
    """An array of the HDF5 file is stored in another file.

    ## What it refuses
    External storage: the file names another one, and HDF5 reads the numbers there.

    ## Why
    Any file that you may read would become weights, and could be recovered from the model.

    ## What to do
    Do not trust the file.

    ## References
    - CVE-2026-1669.
    """
    for array in file.arrays:
        if array.external:
            yield f"{array.name} is stored in another file ({array.external[:60]!r})"


@rule(about="hdf5", order=330, advice="no Keras writes this: do not trust the file")
def hdf5_virtual(file: Hdf5) -> Iterator[str]:
    """An array of the HDF5 file is put together from other arrays.

    ## What it refuses
    Virtual datasets.

    ## Why
    Their parts may lie in any file of this machine, and their size is nowhere stored.

    ## What to do
    Do not trust the file.

    ## References
    - CVE-2026-1669; Keras pull request 22976.
    - CVE-2026-12480: its text could not be found; this route is taken from the class of those above.
    """
    for array in file.arrays:
        if array.virtual:
            yield f"{array.name} is virtual"


@rule(about="hdf5", order=340, advice="save it without compression, or with gzip")
def hdf5_filter(file: Hdf5) -> Iterator[str]:
    """An array of the HDF5 file is packed by a filter that is not plain.

    ## What it refuses
    Filters other than gzip, shuffle and fletcher32.

    ## Why
    HDF5 loads a library for a filter that it does not have, and the parsers of rare filters are the least tested.

    ## What to do
    Save it again without compression.

    ## References
    - HDF5_PLUGIN_PATH.
    """
    for array in file.arrays:
        for name in array.filters:
            if name not in _PLAIN_FILTERS:
                yield f"{array.name} is packed by {name}"


@rule(about="hdf5", order=350, advice="save it as .keras or .weights.h5; where Keras did not write it, do not trust it")
def hdf5_type(file: Hdf5) -> Iterator[str]:
    """An array of the HDF5 file does not hold numbers.

    ## What it refuses
    Booleans, enumerations, objects, references, strings of any length, compound and other types; named types.

    ## Why
    Weights are floats or integers; a boolean would count as 0 or 1 without a warning. Strings of any length and
    references point elsewhere in the file, and can make much of little.

    ## What to do
    Keras loses the type of bfloat16 weights in `.h5` files, and cannot read them back itself: save the model as
    `.keras` or its weights as `.weights.h5`. Otherwise do not trust the file.
    """
    # Keras stores bfloat16 as two opaque bytes.
    for array in file.arrays:
        if array.kind not in {"f", "i", "u", "bfloat16"}:
            yield f"{array.name} holds {array.type}, not numbers"


@rule(about="hdf5", order=360, advice="a model does not shrink like this: do not trust the file")
def hdf5_bomb(file: Hdf5) -> Iterator[str]:
    """The HDF5 file declares far more than it holds.

    ## What it refuses
    An array of more than 4 kB that is over 100 times as large as its stored bytes (its chunks count, too), arrays that
    are larger than the file together, over 16 GB; over 100,000 objects, groups deeper than 64.

    ## Why
    The memory for an array is taken before its bytes are read: 2 kB of file can ask for a terabyte.

    ## What to do
    Do not trust the file. Of a sparse array, save it dense.

    ## References
    - CVE-2026-0897, CVE-2026-12570: huge declared shapes.
    - CWE-789.
    """
    if file.objects > MAX_OBJECTS or file.depth > MAX_DEPTH:
        yield f"holds more than {MAX_OBJECTS:,} objects, or groups deeper than {MAX_DEPTH}"
    for array in file.arrays:
        if array.declared > max(_BOMB_MIN_BYTES, _MAX_RATIO * array.stored) or array.declared > _MAX_ARRAY_BYTES:
            yield f"{array.name} declares {array.declared:,} bytes and holds {array.stored:,}"
    stored = sum(array.stored for array in file.arrays)
    if stored > file.size:
        yield f"its arrays have {stored:,} bytes together, and the file has {file.size:,}"


@rule(about="hdf5", order=370, advice="no Keras writes this: do not trust the file")
def hdf5_attribute(file: Hdf5) -> Iterator[str]:
    """An attribute of the HDF5 file is too large, or is no text and no number.

    ## What it refuses
    Over 256 attributes of one object, over 100,000 in all, over 16 MB in one attribute, references and other types;
    lists of texts that could become more than 64 MB.

    ## Why
    HDF5 finds an attribute by reading all of its object: thousands of them take minutes. HDF5 reads the
    whole attribute before its size is known. A list of texts may name one long text a million times.

    ## What to do
    Do not trust the file.

    ## References
    - CWE-789.
    """
    for name, count in file.crowded.items():
        yield f"{name} has {count:,} attributes; up to {MOST_ATTRIBUTES} are read"
    if len(file.attributes) > MAX_ATTRIBUTES:
        yield f"holds more than {MAX_ATTRIBUTES:,} attributes"
    # A text of any length has at most the bytes that the arrays leave of the file.
    left = max(0, file.size - sum(array.stored for array in file.arrays))
    for attribute in file.attributes:
        if attribute.kind not in {"f", "i", "u", "b", "S", "text"}:
            yield f"attribute {attribute.name} holds {attribute.type}"
        elif attribute.size > _MAX_ATTRIBUTE_BYTES:
            yield f"attribute {attribute.name} has {attribute.size:,} bytes"
        elif attribute.kind == "text" and attribute.elements * left > _MAX_TEXT_BYTES:
            yield f"attribute {attribute.name} has {attribute.elements:,} texts of any length"
