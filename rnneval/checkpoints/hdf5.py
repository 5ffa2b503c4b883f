"""The structure of an HDF5 file, read without following a link and without reading array data."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py

from rnneval.checkpoints.places import failure
from rnneval.checkpoints.rules import Faults, require_none

# The scan ends above one of these, since the file is refused.
_MAX_OBJECTS, _MAX_DEPTH, _MAX_ATTRIBUTES = 100_000, 64, 100_000
_MOST_ATTRIBUTES = 256  # of one object: Keras writes up to five, and more only if it divides a list of names
_MAX_RATIO = 100  # declared by stored bytes
_BOMB_MIN_BYTES = 4096  # declared bytes up to which the ratio does not matter
_MAX_ARRAY_BYTES = 1 << 34
_MAX_ATTRIBUTE_BYTES = 1 << 24  # of one attribute
_MAX_TEXT_BYTES = 1 << 26  # of a list of texts, if each is as long as it can be
_PLAIN_FILTERS = {"deflate", "shuffle", "fletcher32"}
_FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32", 4: "szip", 5: "nbit", 6: "scaleoffset", 32000: "lzf"}
BROKEN = (OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, OverflowError)
"""The errors that h5py raises for broken names, types and links."""


@dataclass(frozen=True, kw_only=True)
class Array:
    """Declaration of a dataset, or of a named type, which has the shape () and no bytes."""

    name: str
    type: str
    """Name of the type for messages."""
    shape: tuple[int, ...] = ()
    declared: int = 0
    """Bytes of the array or of one chunk in memory, whichever is more."""
    stored: int = 0
    """Bytes that the array takes in this file."""
    kind: str = ""
    """NumPy's `dtype.kind`, or `bfloat16`, or `text` for text of any length; "" if NumPy has no such type."""
    filters: tuple[str, ...] = ()
    """Names of the filters, such as compression, that its bytes went through."""
    external: str = ""
    """The name of the other file that holds the data; "" if none does."""
    virtual: bool = False
    """Whether it is put together from datasets, which may be in other files."""


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """Declaration of an attribute."""

    name: str
    elements: int
    size: int
    """Bytes in memory; of text of any length and of lists, only the references to them."""
    kind: str
    """NumPy's `dtype.kind`, or `text` for text of any length; "" if NumPy has no such type."""
    type: str
    """Name of the type for messages."""


@dataclass(kw_only=True, eq=False)
class Hdf5:
    """Structure of an HDF5 file."""

    size: int
    objects: int = 0
    depth: int = 0
    """Depth of the deepest group; the scan ends as soon as objects, attributes or depth are too many."""
    arrays: list[Array] = field(default_factory=list)
    attributes: list[Attribute] = field(default_factory=list)
    crowded: dict[str, int] = field(default_factory=dict)
    """The object with too many attributes to read, by path, and their number; the scan ends there."""
    links: list[str] = field(default_factory=list)
    """A sentence for each link in the place of an object, and for each second name of one."""
    root_attributes: frozenset[str] = frozenset()
    """Names of the attributes of the root group; empty if there were too many to read."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every array by its path in the file."""
        return {array.name: array.shape for array in self.arrays}


def checked_hdf5(path: Path, *, shown: Path | None = None) -> Hdf5:
    """Read the structure and check it against the rules; `shown` is the file to name if `path` is a part of it."""
    shown = shown or path
    try:
        with h5py.File(path, "r") as file:
            facts = _facts(file, path.stat().st_size)
    except BROKEN as error:
        raise failure(shown, error, "HDF5 file") from error
    require_none(shown, _array_faults(facts))
    require_none(shown, _size_faults(facts))
    return facts


def _array_faults(file: Hdf5) -> Faults:
    """Yield what leads out of the file, and arrays of other kinds than weights."""
    for link in file.links:
        yield "hdf5-link", link
    for array in file.arrays:
        if array.external:
            yield "hdf5-external", f"{array.name} is stored in another file ({array.external[:60]!r})"
        if array.virtual:
            yield "hdf5-virtual", f"{array.name} is virtual"
        for name in array.filters:
            if name not in _PLAIN_FILTERS:
                yield "hdf5-filter", f"{array.name} is packed by {name}"
        if array.kind not in {"f", "i", "u", "bfloat16"}:  # Keras stores bfloat16 as two opaque bytes
            yield "hdf5-type", f"{array.name} holds {array.type}, not numbers"


def _size_faults(file: Hdf5) -> Faults:
    """Yield arrays and attributes that declare more than they hold, or are too many."""
    if file.objects > _MAX_OBJECTS or file.depth > _MAX_DEPTH:
        yield "hdf5-bomb", f"holds more than {_MAX_OBJECTS:,} objects, or groups deeper than {_MAX_DEPTH}"
    for array in file.arrays:
        if array.declared > max(_BOMB_MIN_BYTES, _MAX_RATIO * array.stored) or array.declared > _MAX_ARRAY_BYTES:
            yield "hdf5-bomb", f"{array.name} declares {array.declared:,} bytes and holds {array.stored:,}"
    stored = sum(array.stored for array in file.arrays)
    if stored > file.size:
        yield "hdf5-bomb", f"its arrays have {stored:,} bytes together, and the file has {file.size:,}"
    for name, count in file.crowded.items():
        yield "hdf5-attribute", f"{name} has {count:,} attributes; up to {_MOST_ATTRIBUTES} are read"
    if len(file.attributes) > _MAX_ATTRIBUTES:
        yield "hdf5-attribute", f"holds more than {_MAX_ATTRIBUTES:,} attributes"
    for attribute in file.attributes:
        if attribute.kind not in {"f", "i", "u", "b", "S", "text"}:
            yield "hdf5-attribute", f"attribute {attribute.name} holds {attribute.type}"
        elif attribute.size > _MAX_ATTRIBUTE_BYTES:
            yield "hdf5-attribute", f"attribute {attribute.name} has {attribute.size:,} bytes"
        # A text of any length has at most the bytes that the arrays leave of the file.
        elif attribute.kind == "text" and attribute.elements * (file.size - stored) > _MAX_TEXT_BYTES:
            yield "hdf5-attribute", f"attribute {attribute.name} has {attribute.elements:,} texts of any length"


def shapes_of(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of every dataset by its path in the file."""
    return checked_hdf5(path).shapes


def _facts(file: h5py.File, size: int) -> Hdf5:
    facts = Hdf5(size=size)
    seen = {h5py.h5o.get_info(file.id).addr: "/"}
    waiting: list[tuple[str, h5py.Group, int]] = [("", file, 0)]
    _note_attributes("", file, facts)
    if not facts.crowded:
        facts.root_attributes = frozenset(file.attrs)
    while waiting:
        path, group, depth = waiting.pop()
        facts.depth = max(facts.depth, depth)
        for name in group:
            facts.objects += 1
            too_many = facts.objects > _MAX_OBJECTS or len(facts.attributes) > _MAX_ATTRIBUTES
            if too_many or depth > _MAX_DEPTH or facts.crowded:
                return facts
            inner = _object(f"{path}{name}", group, name, seen, facts)
            if isinstance(inner, h5py.Group):
                waiting.append((f"{path}{name}/", inner, depth + 1))
    return facts


def _object(path: str, group: h5py.Group, name: str, seen: dict[int, str], facts: Hdf5) -> Any:
    """Note the object or link under a name; return it if it is a group to search."""
    link = group.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        described = "a user-defined link"
        if isinstance(link, h5py.ExternalLink):
            described = f"a link into another file ({link.filename[:60]!r})"
        elif isinstance(link, h5py.SoftLink):
            described = f"a soft link to {link.path[:60]!r}"
        facts.links.append(f"{path} is {described}")
        return None
    found = group[name]
    address = h5py.h5o.get_info(found.id).addr
    if address in seen:
        facts.links.append(f"{path} is another name of {seen[address]}")
        return None
    seen[address] = path
    if isinstance(found, h5py.Datatype):
        facts.arrays.append(Array(name=path, type="a named type"))  # with kind "": the rules refuse it as an array
        return None
    _note_attributes(f"{path}@", found, facts)
    if isinstance(found, h5py.Dataset):
        facts.arrays.append(_array(path, found))
        return None
    return found


def _array(path: str, dataset: h5py.Dataset) -> Array:
    made = dataset.id.get_create_plist()
    kind, said, itemsize = _type(dataset.id.get_type(), dataset)
    chunk = math.prod(made.get_chunk()) if made.get_layout() == h5py.h5d.CHUNKED else 0
    filters = [made.get_filter(number)[0] for number in range(made.get_nfilters())]
    external = made.get_external(0)[0].decode(errors="replace") if made.get_external_count() else ""
    return Array(
        name=path,
        shape=tuple(dataset.shape or ()),
        declared=max(math.prod(dataset.shape or ()), chunk) * itemsize,
        stored=0 if external else dataset.id.get_storage_size(),
        kind=kind,
        type=said,
        filters=tuple(_FILTERS.get(number, f"filter {number}") for number in filters),
        external=external,
        virtual=made.get_layout() == h5py.h5d.VIRTUAL,
    )


def _type(stored: Any, dataset: h5py.Dataset | None = None) -> tuple[str, str, int]:
    """Return the kind (NumPy's `dtype.kind`, `bfloat16`, `text` or ""), a name for messages, the bytes of one value."""
    size = stored.get_size()
    is_text = isinstance(stored, h5py.h5t.TypeStringID) and stored.is_variable_str()
    if is_text or isinstance(stored, h5py.h5t.TypeVlenID):
        return ("text", "texts of any length", size) if is_text else ("O", "lists of any length", size)
    try:
        found = stored.dtype
    except (TypeError, ValueError, NotImplementedError):
        return "", "a type that NumPy does not know", size
    if isinstance(stored, h5py.h5t.TypeEnumID) and found.kind != "b":
        return "", "an enumeration", size
    opaque = found.kind == "V" and found.names is None and found.itemsize == 2
    if opaque and dataset is not None and "dtype" in dataset.attrs:
        attribute = h5py.h5a.open(dataset.id, b"dtype")  # where Keras stores the type; a long attribute is not read
        short = attribute.shape == () and attribute.get_storage_size() <= 64
        if short and dataset.attrs["dtype"] == "bfloat16":
            return "bfloat16", "bfloat16", 2
    if h5py.check_dtype(ref=found) is not None or found.kind == "O":
        return "O", "references", size
    return found.kind, str(found)[:60], size


def _note_attributes(owner: str, found: Any, facts: Hdf5) -> None:
    """Note the attributes of an object, unless they are too many: HDF5 reads all of them to find one."""
    count = h5py.h5a.get_num_attrs(found.id)
    if count > _MOST_ATTRIBUTES:
        facts.crowded[owner.removesuffix("@") or "/"] = count
        return
    for number in range(count):
        attribute = h5py.h5a.open(found.id, index=number)
        kind, said, itemsize = _type(attribute.get_type())
        elements = math.prod(attribute.shape or ())
        name = f"{owner}{attribute.name.decode(errors='replace')}"
        facts.attributes.append(Attribute(name=name, elements=elements, size=elements * itemsize, kind=kind, type=said))
