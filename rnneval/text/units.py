"""Characters, white space and words of a text, flagged at its bytes, and its division into blocks.

Everything is counted from the bytes of the final text, and never depends on tokens.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnneval.arrays import Ints

Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]

_SPACES = np.array([chr(point).isspace() for point in range(0x3002)])
"""Whether code points are white space; the last entry is for all beyond."""
PIECE = 1 << 17  # bytes, or characters, of a text that are looked at at a time, so that the arrays between stay small
_SMALLEST_BLOCK = 256
_MOST_BLOCKS = 4096
_NEAR = 256


def is_lead(utf8: Bytes) -> Bools:
    """Return whether bytes are the first of a character, `(n,)`."""
    return np.asarray((utf8 & 0xC0) != 0x80)


def code_points(utf8: Bytes) -> NDArray[np.uint8] | NDArray[np.uint32]:
    """Return the code point of each character of a text, `(characters,)`."""
    text = utf8.tobytes().decode()
    return utf8 if len(text) == len(utf8) else np.frombuffer(text.encode("utf-32-le"), "<u4")


def is_white(utf8: Bytes) -> Bools:
    """Return whether bytes belong to white space, by `str.isspace`, `(n,)`; the text has whole characters."""
    points = code_points(utf8)
    white: Bools = _SPACES.take(points, mode="clip")
    if len(points) == len(utf8):
        return white
    return np.repeat(white, np.diff(np.flatnonzero(is_lead(utf8)), append=len(utf8)))


CHARACTER, WORD, NEWLINE, SPACE, BLANK, RUNS_ON = (1 << bit for bit in range(6))
"""Flags of a byte: a character begins; a word begins, that is, what is not white space, after white space or at the
start of a document; a line feed; white space begins; U+0020; within a word that began before."""


def flags_of(utf8: Bytes, documents: Ints) -> Bytes:
    """Return the flags of each byte of a text whose documents begin at these bytes, `(bytes,)`."""
    found = np.zeros(len(utf8), np.uint8)
    start, after_white = 0, True
    while start < len(utf8):
        stop = start + PIECE
        while stop < len(utf8) and not is_lead(utf8[stop : stop + 1]).all():
            stop += 1
        values = utf8[start:stop]
        lead, white = is_lead(values), is_white(values)
        begins = np.append(after_white, white[:-1])
        begins[documents[slice(*np.searchsorted(documents, [start, stop]))] - start] = True
        word = ~white & begins
        flags = (lead, word, values == 0x0A, lead & white, values == 0x20, ~white & ~word)
        for flag, bit in zip(flags, (CHARACTER, WORD, NEWLINE, SPACE, BLANK, RUNS_ON), strict=True):
            found[start:stop] |= flag * np.uint8(bit)
        start, after_white = stop, bool(white[-1])
    return found


@dataclass(frozen=True, kw_only=True)
class BlockCuts:
    """The blocks of a text, in order, none empty; both arrays have the shape `(blocks,)`."""

    ends: Ints  # end of each block, in bytes of the final text
    document: Ints
    """The document of the text that holds it (one without any token counts too: cuts never depend on tokens)."""

    def block_of(self, byte_start: Ints) -> Ints:
        """Return the block of each byte; `byte_start` int64 `(n,)` → int64 `(n,)`."""
        return np.searchsorted(self.ends, byte_start, side="right").astype(np.int64, copy=False)


def block_cuts(utf8: Bytes, documents: Ints) -> BlockCuts:
    """Divide a text, `(bytes,)`, whose documents begin at these bytes, into blocks.

    S is 256 bytes, doubled until the text has at most 4,096 · S. Block k ends at the first white space at or after
    k · S, if it begins at most S/2 bytes after it, else at the first character boundary at or after k · S. The end of a
    document is the end of a block.
    """
    size, document_ends = _SMALLEST_BLOCK, np.append(documents[1:], len(utf8))
    while len(utf8) > _MOST_BLOCKS * size:
        size *= 2
    found = [_block_end(utf8, target, size // 2) for target in range(size, len(utf8), size)]
    ends = np.unique(np.append(found, document_ends)).astype(np.int64)
    return BlockCuts(ends=ends, document=np.searchsorted(document_ends, ends, side="left").astype(np.int64))


def _block_end(utf8: Bytes, target: int, reach: int) -> int:
    boundary = target + int(np.append(is_lead(utf8[target : target + 3]), True).argmax())
    for length in (min(reach, _NEAR), reach):  # white space is near, but in texts without any
        text = utf8[boundary : target + length + 4].tobytes().decode(errors="ignore")
        place = next((place for place, letter in enumerate(text) if letter.isspace()), len(text))
        end = boundary + len(text[:place].encode())
        if place < len(text) and end <= target + reach:
            return end
    return boundary
