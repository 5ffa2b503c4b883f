"""The sorted table of LevelDB, in which TensorFlow keeps the index of a checkpoint.

The file is blocks and a footer. A block is entries that share prefixes of their keys, then one byte that says how it is
packed and a CRC-32C of both, rotated and shifted so that a checksum of checksums stays strong ("masked"). The footer
has the place of the block of blocks. (LevelDB, doc/table_format.md.)
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import google_crc32c

from rnneval.files.wire import varint

_FOOTER, _MAGIC = 48, 0xDB4775248B80FB57
_TRAILER = 5


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A key and its value."""

    key: bytes
    value: bytes


class ChecksumError(ValueError):
    """A block does not match its checksum."""


def masked(crc: int) -> int:
    """Rotate right by 15 bits and add a constant, as LevelDB and TensorFlow store a CRC-32C.

    Example:
        >>> hex(masked(google_crc32c.value(b"123456789")))
        '0xc78ab0e5'
    """
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def read_table(raw: bytes) -> Iterator[Entry]:
    """Read every entry in order; the checksum of each block is compared before it is read.

    Raises:
        ChecksumError: a block does not match its checksum.
        ValueError: it is no such table, is packed, or its blocks lie outside of it.
    """
    if len(raw) < _FOOTER or int.from_bytes(raw[-8:], "little") != _MAGIC:
        raise ValueError("its index is cut, or is no table")
    footer = raw[-_FOOTER:]
    about, at = _handle(footer, 0)
    index, _ = _handle(footer, at)
    _block(raw, about)  # TensorFlow keeps nothing in it; damage in it is damage of the file all the same
    for entry in _entries(_block(raw, index)):
        place, _ = _handle(entry.value, 0)
        yield from _entries(_block(raw, place))


def _handle(raw: bytes, at: int) -> tuple[tuple[int, int], int]:
    offset, at = varint(raw, at)
    size, at = varint(raw, at)
    return (offset, size), at


def _block(raw: bytes, handle: tuple[int, int]) -> bytes:
    start, size = handle
    end = start + size
    if end + _TRAILER > len(raw) - _FOOTER:
        raise ValueError("a block of its index lies outside of it")
    (stored,) = struct.unpack_from("<I", raw, end + 1)
    if masked(google_crc32c.value(raw[start : end + 1])) != stored:
        raise ChecksumError("its index")
    if raw[end]:
        raise ValueError("its index is compressed, as TensorFlow never writes it")
    return raw[start:end]


def _entries(block: bytes) -> Iterator[Entry]:
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
        yield Entry(key=key, value=block[at + own : at + own + size])
        at += own + size
