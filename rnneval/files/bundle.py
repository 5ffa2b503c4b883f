"""A TensorFlow checkpoint without TensorFlow: what its index says, held against its data, every checksum compared.

TensorFlow itself compares the checksum of a tensor when that tensor is read; here all are, before it is imported.
(tensorflow/core/protobuf/tensor_bundle.proto, tensorflow/core/util/tensor_bundle/tensor_bundle.cc.)
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import google_crc32c

from rnneval.files.table import ChecksumError, masked, read_table
from rnneval.files.wire import fields, varint

_MOST_INDEX = 1 << 26
_STRING = 7
# Bytes of a value by the number of its type in TensorFlow's types.proto.
_WIDTHS = {1: 4, 2: 8, 3: 4, 4: 1, 5: 2, 6: 1, 8: 8, 9: 8, 10: 1, 14: 2, 17: 2, 18: 16, 19: 2, 22: 4, 23: 8}
_PIECE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """An entry of the index."""

    name: str
    type: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int
    sliced: bool


@dataclass(kw_only=True, eq=False)
class Bundle:
    """What a checkpoint says of itself, and where that is wrong."""

    tensors: list[Tensor] = field(default_factory=list)
    disagreements: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def read_bundle(index: Path, data: tuple[Path, ...]) -> Bundle:
    """Read the index and compare every checksum.

    Raises:
        OSError: a file cannot be read.
    """
    bundle = Bundle()
    if index.stat().st_size > _MOST_INDEX:
        bundle.disagreements.append(f"its index has {index.stat().st_size:,} bytes; up to {_MOST_INDEX:,} are read")
        return bundle
    try:
        for entry in read_table(index.read_bytes()):
            if not entry.key:
                bundle.disagreements += _header_differs(entry.value, len(data))
            else:
                bundle.tensors.append(_tensor(entry.key.decode("utf-8", errors="replace"), entry.value))
    except ChecksumError as error:
        bundle.damaged.append(str(error))
    except (ValueError, TypeError) as error:
        bundle.disagreements.append(str(error))
    sizes = [path.stat().st_size for path in data]
    bundle.disagreements += [said for tensor in bundle.tensors for said in _differs(tensor, sizes)]
    if not bundle.disagreements and not bundle.damaged:
        bundle.damaged += _damaged(bundle.tensors, data)
    return bundle


def _header_differs(raw: bytes, shards: int) -> Iterator[str]:
    header = {part.number: part.value for part in fields(raw)}
    if header.get(1, 0) != shards:
        yield f"its index is of {header.get(1, 0)!r} data files, and {shards} are there"
    if header.get(2, 0):
        yield "its numbers are big-endian"


def _tensor(name: str, raw: bytes) -> Tensor:
    held: dict[int, int | bytes] = {}
    sliced = False
    for part in fields(raw):
        held[part.number] = part.value
        sliced |= part.number == 7
    shape, crc = held.get(2, b""), held.get(6, 0)
    if not isinstance(shape, bytes) or not all(isinstance(held.get(key, 0), int) for key in (1, 3, 4, 5, 6)):
        raise ValueError(f"the entry of {name[:80]} makes no sense")
    numbers = {key: value for key, value in held.items() if isinstance(value, int)}
    return Tensor(
        name=name,
        type=numbers.get(1, 0),
        shape=tuple(_dimensions(shape)),
        shard=numbers.get(3, 0),
        offset=numbers.get(4, 0),
        size=numbers.get(5, 0),
        crc=int(crc) if isinstance(crc, int) else 0,
        sliced=sliced,
    )


def _dimensions(raw: bytes) -> Iterator[int]:
    for dimension in fields(raw):
        if dimension.number == 2 and isinstance(dimension.value, bytes):
            yield next((int(part.value) for part in fields(dimension.value) if part.number == 1), 0)


def _differs(tensor: Tensor, sizes: list[int]) -> Iterator[str]:
    name, elements = tensor.name[:80], math.prod(tensor.shape)
    if tensor.sliced:
        yield f"{name} comes in slices"
    elif tensor.shard >= len(sizes) or tensor.offset + tensor.size > sizes[tensor.shard]:
        yield f"{name} lies outside of its data file: it is cut"
    elif tensor.type == _STRING:
        if elements > tensor.size:
            yield f"{name} has {elements:,} texts in {tensor.size:,} bytes"
    elif tensor.type not in _WIDTHS:
        yield f"{name} is of type {tensor.type}, no number"
    elif elements * _WIDTHS[tensor.type] != tensor.size:
        yield f"{name} has the shape {tensor.shape} and {tensor.size:,} bytes"


def _damaged(tensors: list[Tensor], data: tuple[Path, ...]) -> Iterator[str]:
    for shard, path in enumerate(data):
        with path.open("rb") as file:
            for tensor in sorted((t for t in tensors if t.shard == shard), key=lambda tensor: tensor.offset):
                file.seek(tensor.offset)
                if tensor.type == _STRING:
                    crc = _crc_of_texts(file.read(tensor.size), math.prod(tensor.shape))
                else:
                    crc = 0
                    left = tensor.size
                    while left and (piece := file.read(min(left, _PIECE))):
                        crc, left = google_crc32c.extend(crc, piece), left - len(piece)
                if masked(crc) != tensor.crc:
                    yield tensor.name[:120]


def _crc_of_texts(raw: bytes, count: int) -> int:
    """Texts are stored as their lengths, a checksum of those, and the bytes; lengths count as four or eight bytes."""
    crc, at = 0, 0
    try:
        for _ in range(count):
            length, at = varint(raw, at)
            crc = google_crc32c.extend(crc, length.to_bytes(4 if length < 1 << 32 else 8, "little"))
    except (ValueError, OverflowError):
        return -1
    if raw[at : at + 4] != masked(crc).to_bytes(4, "little"):
        return -1
    return int(google_crc32c.extend(crc, raw[at:]))
