"""Flags of every character and byte of the final text, and the division of a text into blocks.

Blocks do not depend on tokens.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_BEYOND_SPACES = 0x3002
"""All white space of Unicode lies below."""
_SMALLEST_BLOCK = 256
_MOST_BLOCKS = 4096
_NEAR = 256


@dataclass(frozen=True, kw_only=True)
class Letters:
    """Counts and flags of the n characters of a piece; every array has the shape `(n,)`."""

    points: NDArray[np.uint8] | NDArray[np.uint32]
    """Code points."""
    widths: NDArray[np.uint8]
    """Bytes in UTF-8."""
    space: Bools
    """White space, by `str.isspace`."""
    newline: Bools
    """Line feed."""
    begins: Bools
    """A word begins here: not white space, after white space or at the start of a document."""
    utf8: bytes
    """The piece itself."""


def letters(text: str, *, after_word: bool = False) -> Letters:
    """Return the flags of a piece; `after_word`: the character before, of the same document, is not white space.

    >>> letters("a b").begins.tolist()
    [True, False, True]
    """
    utf8 = text.encode()
    ascii_only = len(utf8) == len(text)
    points = np.frombuffer(utf8, np.uint8) if ascii_only else np.frombuffer(text.encode("utf-32-le"), "<u4")
    space = _spaces().take(points, mode="clip")
    begins = ~space
    begins[1:] &= space[:-1]
    begins[:1] &= not after_word
    if ascii_only:
        widths = np.ones(len(points), np.uint8)
    else:
        widths = 1 + (points >= 0x80).view(np.uint8) + (points >= 0x800) + (points >= 0x10000)
    return Letters(
        points=points,
        widths=widths.astype(np.uint8, copy=False),
        space=space,
        newline=points == 0x0A,
        begins=begins,
        utf8=utf8,
    )


def byte_starts(piece: Letters) -> Ints:
    """Return the first byte of each character, from the start of the piece, `(n,)`."""
    if len(piece.utf8) == len(piece.points):
        return np.arange(len(piece.points))
    return np.cumsum(piece.widths, dtype=np.int64) - piece.widths


@cache
def _spaces() -> Bools:
    """Return whether code points are white space, the last entry for all beyond."""
    return np.array([chr(point).isspace() for point in range(_BEYOND_SPACES)])


@dataclass(frozen=True, kw_only=True)
class BlockCuts:
    """The blocks of a text, in order, none empty; both arrays have the shape `(blocks,)`."""

    ends: Ints
    """End of each block, in bytes of the final text."""
    document: Ints
    """The document of the text that holds it (one without any token counts too: cuts never depend on tokens)."""

    def block_of(self, byte_start: Ints) -> Ints:
        """Return the block of each byte; `byte_start` int64 `(n,)` → int64 `(n,)`.

        >>> cuts = BlockCuts(ends=np.array([300, 512]), document=np.array([0, 0]))
        >>> cuts.block_of(np.array([0, 299, 300])).tolist()
        [0, 0, 1]
        """
        return np.searchsorted(self.ends, byte_start, side="right").astype(np.int64, copy=False)


def block_cuts(utf8: NDArray[np.uint8], documents: Ints) -> BlockCuts:
    """Divide a text, `(bytes,)`, whose documents begin at these bytes, into blocks.

    S is 256 bytes, doubled until the text has at most 4,096 · S. Block k ends at the first white space at or after
    k · S, if it begins at most S/2 bytes after it, else at the first character boundary at or after k · S. The end of a
    document is the end of a block.
    """
    size = _SMALLEST_BLOCK
    while len(utf8) > _MOST_BLOCKS * size:
        size *= 2
    document_ends = np.append(documents[1:], len(utf8))
    found = [_block_end(utf8, target, size // 2) for target in range(size, len(utf8), size)]
    ends = np.unique(np.append(found, document_ends)).astype(np.int64)
    return BlockCuts(ends=ends, document=np.searchsorted(document_ends, ends, side="left").astype(np.int64))


def _block_end(utf8: NDArray[np.uint8], target: int, reach: int) -> int:
    boundary = target + int(np.append(is_lead(utf8[target : target + 3]), True).argmax())
    for length in (min(reach, _NEAR), reach):  # white space is near, but in texts without any
        text = utf8[boundary : target + length + 4].tobytes().decode(errors="ignore")
        place = next((place for place, letter in enumerate(text) if letter.isspace()), len(text))
        end = boundary + len(text[:place].encode())
        if place < len(text) and end <= target + reach:
            return end
    return boundary


def is_lead(utf8: NDArray[np.uint8]) -> Bools:
    """Return whether bytes are the first of a character, `(n,)`."""
    found: Bools = (utf8 & 0xC0) != 0x80
    return found


@dataclass(frozen=True, kw_only=True)
class ByteFlags:
    """Flags of n bytes of a text, `(n,)` each; a character and a word are flagged at their first byte."""

    characters: Bools
    words: Bools
    """A word begins."""
    newlines: Bools
    space: Bools
    """The byte is that of white space, its first one."""
    blank: Bools
    """U+0020."""
    runs_on: Bools
    """True within a word that began before: there is no white space here, and there was none before."""


def byte_flags(utf8: NDArray[np.uint8], start: int, stop: int, documents: Ints) -> ByteFlags:
    """Return the flags of bytes start to stop of a text whose documents begin at these bytes."""
    low, high = start, stop
    while low > 0 and not is_lead(utf8[low : low + 1]).all():
        low -= 1
    while high < len(utf8) and not is_lead(utf8[high : high + 1]).all():
        high += 1
    before = utf8[max(low - 4, 0) : low].tobytes().decode(errors="ignore")[-1:]
    found = letters(utf8[low:high].tobytes().decode(), after_word=bool(before) and not before.isspace())
    values, inside = utf8[low:high], slice(start - low, stop - low)
    lead = is_lead(values)
    space, words = (np.zeros(len(values), bool) for _ in range(2))
    space[lead], words[lead] = found.space, found.begins
    runs_on = np.repeat(~found.space, found.widths) & ~words
    first = documents[slice(*np.searchsorted(documents, [low, high]))] - low
    words[first] |= runs_on[first]
    runs_on[first] = False
    return ByteFlags(
        characters=lead[inside],
        words=words[inside],
        newlines=values[inside] == 0x0A,
        space=space[inside],
        blank=values[inside] == 0x20,
        runs_on=runs_on[inside],
    )
