"""The structure of an HDF5 file, checked without following a link and without reading array data."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from rnneval.checkpoints.places import failure
from rnneval.checkpoints.rules import Faults, require_none

_MAX_OBJECTS, _MAX_DEPTH, _MAX_ATTRIBUTES = 100_000, 64, 100_000
_MOST_ATTRIBUTES = 256  # of one object: Keras writes up to five, and more only if it divides a list of names
_MAX_RATIO = 100  # declared by stored bytes
_BOMB_MIN_BYTES = 4096  # declared bytes up to which the ratio does not matter
_MAX_ARRAY_BYTES = 1 << 34
_MAX_ATTRIBUTE_BYTES = 1 << 24  # of one attribute
_MAX_TEXT_BYTES = 1 << 26  # of a list of texts, if each is as long as it can be
_PLAIN_FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32"}
_OTHER_FILTERS = {4: "szip", 5: "nbit", 6: "scaleoffset", 32000: "lzf"}
_TEXTS = "texts of any length"
BROKEN = (OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, OverflowError)
"""The errors that h5py raises for broken names, types and links."""
NO_WEIGHTS = frozenset(("seed_generator", "optimizer", "metrics", "_metrics", "compile_metrics", "loss"))
"""What is saved with the weights and has no part in evaluation: random generators and state of the training."""


@dataclass(frozen=True, kw_only=True)
class Hdf5:
    """Structure of an HDF5 file that breaks no rule."""

    shapes: dict[str, tuple[int, ...]]  # the shape of every array by its path in the file
    root_attributes: frozenset[str]
    is_empty: bool  # whether it holds no object at all

    @property
    def weights(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the weights that have a part in evaluation."""
        return {name: shape for name, shape in self.shapes.items() if not NO_WEIGHTS & set(name.split("/"))}


def checked_hdf5(path: Path, *, label: Path | None = None) -> Hdf5:
    """Read the structure and check it against the rules; `label` is the file to name if `path` is a part of it."""
    label = label or path
    try:
        with h5py.File(path, "r") as file:
            scan = _Scan(file, path.stat().st_size)
            require_none(label, scan.faults())
            return Hdf5(shapes=scan.shapes, root_attributes=frozenset(file.attrs), is_empty=not scan.objects)
    except BROKEN as error:
        raise failure(label, error, "HDF5 file") from error


class _Scan:
    """One walk over the objects of a file, which ends with the first broken rule."""

    def __init__(self, file: h5py.File, size: int) -> None:
        self._file, self._size = file, size
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.objects = 0
        self._attributes_seen = self._stored = 0
        self._texts: dict[str, int] = {}
        """Attributes that hold texts of any length, and how many."""

    def faults(self) -> Faults:
        """Yield broken rules: links first, since nothing beyond them is looked at."""
        seen = {h5py.h5o.get_info(self._file.id).addr: "/"}
        yield from self._attributes("", self._file)
        waiting: list[tuple[str, h5py.Group, int]] = [("", self._file, 0)]
        while waiting:
            above, group, depth = waiting.pop()
            for name in group:
                path = f"{above}{name}"
                self.objects += 1
                if self.objects > _MAX_OBJECTS or depth > _MAX_DEPTH:
                    yield "hdf5-bomb", f"holds more than {_MAX_OBJECTS:,} objects, or groups deeper than {_MAX_DEPTH}"
                if link := _described(group.get(name, getlink=True)):
                    yield "hdf5-link", f"{path} is {link}"
                found = group[name]
                address = h5py.h5o.get_info(found.id).addr
                if address in seen:
                    yield "hdf5-link", f"{path} is another name of {seen[address]}"
                seen[address] = path
                if isinstance(found, h5py.Datatype):
                    yield "hdf5-type", f"{path} holds a named type, not numbers"
                yield from self._attributes(f"{path}@", found)
                if isinstance(found, h5py.Dataset):
                    yield from self._array(path, found)
                else:
                    waiting.append((f"{path}/", found, depth + 1))
        if self._stored > self._size:
            yield "hdf5-bomb", f"its arrays have {self._stored:,} bytes together, and the file has {self._size:,}"
        for name, count in self._texts.items():
            # A text of any length has at most the bytes that the arrays leave of the file.
            if count * (self._size - self._stored) > _MAX_TEXT_BYTES:
                yield "hdf5-attribute", f"attribute {name} has {count:,} texts of any length"

    def _array(self, path: str, dataset: h5py.Dataset) -> Faults:
        made = dataset.id.get_create_plist()
        if made.get_external_count():
            name = made.get_external(0)[0].decode(errors="replace")
            yield "hdf5-external", f"{path} is stored in another file ({name[:60]!r})"
        if made.get_layout() == h5py.h5d.VIRTUAL:
            yield "hdf5-virtual", f"{path} is virtual"
        for number in (made.get_filter(at)[0] for at in range(made.get_nfilters())):
            if number not in _PLAIN_FILTERS:
                yield "hdf5-filter", f"{path} is packed by {_OTHER_FILTERS.get(number, f'filter {number}')}"
        stored_type = dataset.id.get_type()
        if _kind(stored_type, dataset) != "number":
            yield "hdf5-type", f"{path} holds no numbers"
        self.shapes[path] = shape = tuple(dataset.shape or ())
        chunk = math.prod(made.get_chunk()) if made.get_layout() == h5py.h5d.CHUNKED else 0
        declared, stored = max(math.prod(shape), chunk) * stored_type.get_size(), dataset.id.get_storage_size()
        if declared > max(_BOMB_MIN_BYTES, _MAX_RATIO * stored) or declared > _MAX_ARRAY_BYTES:
            yield "hdf5-bomb", f"{path} declares {declared:,} bytes and holds {stored:,}"
        self._stored += stored

    def _attributes(self, owner: str, attributes: Any) -> Faults:
        """Yield attributes that are too many to read (HDF5 reads all of them to find one), too large or no values."""
        count = h5py.h5a.get_num_attrs(attributes.id)
        self._attributes_seen += count
        if count > _MOST_ATTRIBUTES or self._attributes_seen > _MAX_ATTRIBUTES:
            name = owner.removesuffix("@") or "/"
            yield "hdf5-attribute", f"{name} has {count:,} attributes; up to {_MOST_ATTRIBUTES} are read"
        for number in range(count):
            attribute = h5py.h5a.open(attributes.id, index=number)
            kind, elements = _kind(attribute.get_type()), math.prod(attribute.shape or ())
            name = f"{owner}{attribute.name.decode(errors='replace')}"
            if not kind:
                yield "hdf5-attribute", f"attribute {name} holds neither numbers nor text"
            if (size := elements * attribute.get_type().get_size()) > _MAX_ATTRIBUTE_BYTES:
                yield "hdf5-attribute", f"attribute {name} has {size:,} bytes"
            if kind == _TEXTS:
                self._texts[name] = elements


def _described(link: Any) -> str:
    """Describe a link in the place of an object; "" for an object itself."""
    if isinstance(link, h5py.ExternalLink):
        return f"a link into another file ({link.filename[:60]!r})"
    if isinstance(link, h5py.SoftLink):
        return f"a soft link to {link.path[:60]!r}"
    return "" if isinstance(link, h5py.HardLink) else "a user-defined link"


def _kind(stored: Any, dataset: h5py.Dataset | None = None) -> str:
    """Return the kind of a type: a number, a truth value, a text of one length or of any; "" for all others."""
    if isinstance(stored, h5py.h5t.TypeStringID):
        return _TEXTS if stored.is_variable_str() else "text"
    if isinstance(stored, h5py.h5t.TypeIntegerID | h5py.h5t.TypeFloatID):
        return "number"
    if isinstance(stored, h5py.h5t.TypeEnumID):
        return "truth" if stored.dtype.kind == "b" else ""
    opaque = isinstance(stored, h5py.h5t.TypeOpaqueID) and stored.get_size() == 2
    if opaque and dataset is not None and "dtype" in dataset.attrs:
        # Keras stores bfloat16 as two opaque bytes, and its name beside them; a long attribute is not read.
        attribute = h5py.h5a.open(dataset.id, b"dtype")
        short = attribute.shape == () and attribute.get_storage_size() <= 64
        return "number" if short and dataset.attrs["dtype"] == "bfloat16" else ""
    return ""
