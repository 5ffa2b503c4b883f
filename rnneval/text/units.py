"""Counts and flags of every *unit* of the final text, and the division of a text into blocks.

A unit is a character, or a byte where a token may be part of a character. Blocks do not depend on tokens.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Counts = NDArray[Any]
"""An array of small counts, of any integer or boolean type."""

_BEYOND_SPACES = 0x3002
"""All white space of Unicode lies below."""
_SMALLEST_BLOCK = 256
_MOST_BLOCKS = 4096


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
    starts: Ints
    """Characters at which a document starts, `(documents,)`."""


@dataclass(frozen=True, kw_only=True)
class Units:
    """Counts of the text at each of n characters (or bytes, for a byte model); shape `(n,)` each."""

    characters: Counts
    bytes: Counts
    words: Counts
    """Maximal runs of characters that are not white space, where they begin."""
    newlines: Counts
    """Line feeds."""
    unknown: Counts
    """Characters, bytes or words that the vocabulary lacks."""
    runs_on: Bools
    """True within a word that began before: there is no white space here, and there was none before."""


@dataclass(frozen=True, kw_only=True)
class WordUnits(Units):
    """Units of a text whose tokens are words."""

    gap: Counts
    """White space between words."""
    blank: Counts
    """U+0020 among `gap`."""


def letters(text: str, starts: Sequence[int] = (), *, after_word: bool = False) -> Letters:
    """Return the flags of a piece with its document starts; `after_word`: the character before is not white space.

    >>> letters("a b").begins.tolist()
    [True, False, True]
    """
    utf8 = text.encode()
    ascii_only = len(utf8) == len(text)
    points = np.frombuffer(utf8, np.uint8) if ascii_only else np.frombuffer(text.encode("utf-32-le"), "<u4")
    space = _spaces().take(points, mode="clip")
    begins = ~space
    begins[1:] &= space[:-1]
    begins[0] &= not after_word or 0 in starts[:1]
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
        starts=np.array(starts, np.int64),
    )


def bytes_before(piece: Letters, characters: Ints) -> Ints:
    """Convert places in characters to places in bytes, both from the start of the piece."""
    if len(piece.utf8) == len(piece.points):
        return characters
    return (np.cumsum(piece.widths, dtype=np.int64) - piece.widths)[characters]


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


class BlockCutter:
    """Reads a text once and keeps, for each k, where block k could end.

    S is 256 bytes, doubled until the text has at most 4,096 · S; block k ends at the first white space at or after
    k · S, if it begins at most S/2 bytes after it, else at the first character boundary at or after k · S. As the
    final S is known at the end only, both places are kept for every k · S so far; a doubling drops every other k.
    """

    def __init__(self) -> None:
        self._size = _SMALLEST_BLOCK
        self._bytes = 0
        self._boundary = np.empty(0, np.int64)
        """First character boundary at or after (i + 1) · S."""
        self._space = np.empty(0, np.int64)
        """First white space at or after (i + 1) · S; −1 while none was seen."""
        self._document_ends = array("q")

    def feed(self, piece: Letters) -> None:
        """Take the next characters."""
        spaces = self._bytes + bytes_before(piece, np.flatnonzero(piece.space))
        ends = self._bytes + bytes_before(piece, piece.starts)
        self._document_ends.extend(ends[ends > 0].tolist())
        if len(spaces):
            self._space[self._space < 0] = spaces[0]
        utf8, first = np.frombuffer(piece.utf8, np.uint8), self._size * (len(self._space) + 1)
        targets = np.arange(first, self._bytes + len(utf8), self._size, dtype=np.int64)
        places = targets - self._bytes
        for _ in range(3):  # on to the next character, which has at most three bytes after its first, or to the end
            inside = places < len(utf8)
            inside[inside] = (utf8[places[inside]] & 0xC0) == 0x80
            places = places + inside
        self._boundary = np.append(self._boundary, self._bytes + places)
        self._space = np.append(self._space, np.append(spaces, -1)[np.searchsorted(spaces, targets)])
        self._bytes += len(utf8)
        while self._bytes > _MOST_BLOCKS * self._size:
            self._size *= 2
            self._boundary, self._space = self._boundary[1::2], self._space[1::2]

    def finish(self) -> BlockCuts:
        """Return the blocks of the whole text; its end is the end of a document."""
        document_ends = np.array([*self._document_ends, self._bytes], np.int64)
        targets = self._size * np.arange(1, len(self._space) + 1)
        near = (self._space >= 0) & (self._space - targets <= self._size // 2)
        ends = np.unique(np.concatenate([np.where(near, self._space, self._boundary), document_ends]))
        return BlockCuts(ends=ends, document=np.searchsorted(document_ends, ends, side="left").astype(np.int64))
