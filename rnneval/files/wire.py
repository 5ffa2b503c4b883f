"""The wire format of protocol buffers, as far as the index of a TensorFlow checkpoint needs it."""

from collections.abc import Iterator
from dataclasses import dataclass

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a message."""

    number: int
    value: int | bytes


def varint(raw: bytes, at: int) -> tuple[int, int]:
    """Read one number of seven bits a byte; give it and where it ends.

    Raises:
        ValueError: there is none.

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


def fields(raw: bytes) -> Iterator[Field]:
    """Read the fields of a message in their order.

    Raises:
        ValueError: it is cut, or holds a kind of field that there is not.

    Example:
        >>> [field.value for field in fields(bytes([0x08, 0x96, 0x01, 0x12, 0x02, 0x68, 0x69]))]
        [150, b'hi']
    """
    at = 0
    while at < len(raw):
        key, at = varint(raw, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = varint(raw, at)
            yield Field(number=key >> 3, value=value)
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
        yield Field(number=key >> 3, value=piece if kind == _BYTES else int.from_bytes(piece, "little"))
        at += size
