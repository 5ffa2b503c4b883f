"""A TensorFlow checkpoint, read without TensorFlow: its index is compared with its data, and every checksum is checked.

TensorFlow compares the checksum of a tensor only when it reads that tensor. Here all are compared, before TensorFlow is
imported. (tensorflow/core/protobuf/tensor_bundle.proto, tensorflow/core/util/tensor_bundle/tensor_bundle.cc.)

The index is a sorted table of LevelDB: blocks and a footer. A block is entries that share prefixes of their keys, then
one byte that says how it is packed and a CRC-32C of both, rotated and shifted so that a checksum of checksums stays
strong ("masked"). The footer has the place of the block of blocks. (LevelDB, doc/table_format.md.) Keys are names of
tensors, values are protocol buffers.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import google_crc32c

_MOST_INDEX = 1 << 26
_FOOTER, _MAGIC = 48, 0xDB4775248B80FB57
_TRAILER = 5
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_STRING = 7
# Bytes of a value by the number of its type in TensorFlow's types.proto.
_WIDTHS = {1: 4, 2: 8, 3: 4, 4: 1, 5: 2, 6: 1, 8: 8, 9: 8, 10: 1, 14: 2, 17: 2, 18: 16, 19: 2, 22: 4, 23: 8}
_PIECE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """Entry of the index: one tensor, its type and shape, and its place and checksum in a data file (shard)."""

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
    """Index of a checkpoint, and the places at which it is wrong."""

    tensors: list[Tensor] = field(default_factory=list)
    disagreements: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def read_bundle(index: Path, data: tuple[Path, ...]) -> Bundle:
    """Read the index of a checkpoint and compare every checksum."""
    bundle = Bundle()
    if index.stat().st_size > _MOST_INDEX:
        bundle.disagreements.append(f"its index has {index.stat().st_size:,} bytes; up to {_MOST_INDEX:,} are read")
        return bundle
    try:
        for key, value in read_table(index.read_bytes()):
            if key:
                bundle.tensors.append(_tensor(key.decode("utf-8", errors="replace"), value))
                continue
            header = dict(fields(value))
            if header.get(1, 0) != len(data):
                seen = f"its index is of {header.get(1, 0)!r} data files, and {len(data)} are there"
                bundle.disagreements.append(seen)
            if header.get(2, 0):
                bundle.disagreements.append("its numbers are big-endian")
    except ChecksumError as error:
        bundle.damaged.append(str(error))
    except (ValueError, TypeError) as error:
        bundle.disagreements.append(str(error))
    sizes = [path.stat().st_size for path in data]
    bundle.disagreements += [said for tensor in bundle.tensors if (said := _disagreement(tensor, sizes))]
    if not bundle.disagreements and not bundle.damaged:
        bundle.damaged += _damaged(bundle.tensors, data)
    return bundle


def _tensor(name: str, raw: bytes) -> Tensor:
    held = dict(fields(raw))
    dimensions = held.get(2, b"")
    numbers = [value for key in (1, 3, 4, 5, 6) if isinstance(value := held.get(key, 0), int)]
    if not isinstance(dimensions, bytes) or len(numbers) < 5:
        raise ValueError(f"the entry of {name[:80]} makes no sense")
    shape: list[int] = []
    for key, dimension in fields(dimensions):
        if key == 2 and isinstance(dimension, bytes):
            shape.append(next((int(value) for inner, value in fields(dimension) if inner == 1), 0))
    kind, shard, offset, size, crc = numbers
    return Tensor(
        name=name, type=kind, shape=tuple(shape), shard=shard, offset=offset, size=size, crc=crc, sliced=7 in held
    )


def _disagreement(tensor: Tensor, sizes: list[int]) -> str:
    """Return what is wrong with an entry of the index; "" if nothing is."""
    name, elements = tensor.name[:80], math.prod(tensor.shape)
    if tensor.sliced:
        return f"{name} comes in slices"
    if tensor.shard >= len(sizes) or tensor.offset + tensor.size > sizes[tensor.shard]:
        return f"{name} lies outside of its data file: it is cut"
    if tensor.type == _STRING:
        return f"{name} has {elements:,} texts in {tensor.size:,} bytes" if elements > tensor.size else ""
    if tensor.type not in _WIDTHS:
        return f"{name} is of type {tensor.type}, no number"
    if elements * _WIDTHS[tensor.type] != tensor.size:
        return f"{name} has the shape {tensor.shape} and {tensor.size:,} bytes"
    return ""


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
    """Return the checksum of texts, stored as lengths, a checksum of those and the bytes; -1 if the lengths are wrong.

    In the checksum, lengths count as four or eight bytes.
    """
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


class ChecksumError(ValueError):
    """Raised for a block that does not match its checksum."""


def masked(crc: int) -> int:
    """Rotate right by 15 bits and add a constant, as LevelDB and TensorFlow store a CRC-32C.

    Example:
        >>> hex(masked(google_crc32c.value(b"123456789")))
        '0xc78ab0e5'
    """
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def read_table(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield every key and value in order; the checksum of each block is compared before it is read."""
    if len(raw) < _FOOTER or int.from_bytes(raw[-8:], "little") != _MAGIC:
        raise ValueError("its index is cut, or is no table")
    footer = raw[-_FOOTER:]
    about, at = _handle(footer, 0)
    index, _ = _handle(footer, at)
    _block(raw, *about)  # TensorFlow keeps nothing in it, but damage in it is damage of the file
    for _, handle in _entries(_block(raw, *index)):
        place, _ = _handle(handle, 0)
        yield from _entries(_block(raw, *place))


def _handle(raw: bytes, at: int) -> tuple[tuple[int, int], int]:
    offset, at = varint(raw, at)
    size, at = varint(raw, at)
    return (offset, size), at


def _block(raw: bytes, start: int, size: int) -> bytes:
    end = start + size
    if end + _TRAILER > len(raw) - _FOOTER:
        raise ValueError("a block of its index lies outside of it")
    (stored,) = struct.unpack_from("<I", raw, end + 1)
    if masked(google_crc32c.value(raw[start : end + 1])) != stored:
        raise ChecksumError("its index")
    if raw[end]:
        raise ValueError("its index is compressed, as TensorFlow never writes it")
    return raw[start:end]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    if len(block) < 4:
        raise ValueError("a block of its index is empty")
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    end = len(block) - 4 - 4 * restarts
    if end < 0:
        raise ValueError("a block of its index is cut")
    at, key = 0, b""
    while at < end:
        shared, at = varint(block, at)
        own, at = varint(block, at)
        size, at = varint(block, at)
        if shared > len(key) or at + own + size > end:
            raise ValueError("an entry of its index is cut")
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + size]
        at += own + size


def varint(raw: bytes, at: int) -> tuple[int, int]:
    """Return a number that is stored as seven bits per byte, and where it ends.

    Example:
        >>> varint(bytes([0xAC, 0x02]), 0)
        (300, 2)
    """
    value = 0
    for place in range(10):
        if at + place >= len(raw):
            break
        value |= (raw[at + place] & 0x7F) << (7 * place)
        if raw[at + place] < 0x80:
            return value, at + place + 1
    raise ValueError("a number does not end")


def fields(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the number and the value of each field of a protocol buffer, in their order.

    Example:
        >>> list(fields(bytes([0x08, 0x96, 0x01, 0x12, 0x02, 0x68, 0x69])))
        [(1, 150), (2, b'hi')]
    """
    at = 0
    while at < len(raw):
        key, at = varint(raw, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = varint(raw, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, at = varint(raw, at)
        elif kind in {_FIXED64, _FIXED32}:
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"a field of kind {kind}")
        if at + size > len(raw):
            raise ValueError("a field is cut")
        piece = raw[at : at + size]
        yield key >> 3, piece if kind == _BYTES else int.from_bytes(piece, "little")
        at += size
