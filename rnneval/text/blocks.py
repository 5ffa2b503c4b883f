"""Blocks of a text, cut at places that every tokenisation shares, in one pass and bounded memory."""

from array import array
from dataclasses import dataclass

import numpy as np

from rnneval.text.units import Ints, Letters, bytes_before

_SMALLEST = 256
_MOST = 4096


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
        self._size = _SMALLEST
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
        self._add_candidates(np.frombuffer(piece.utf8, np.uint8), spaces)
        self._bytes += len(piece.utf8)
        while self._bytes > _MOST * self._size:
            self._size *= 2
            self._boundary, self._space = self._boundary[1::2], self._space[1::2]

    def finish(self) -> BlockCuts:
        """Return the blocks of the whole text; its end is the end of a document."""
        document_ends = np.array([*self._document_ends, self._bytes], np.int64)
        targets = self._size * np.arange(1, len(self._space) + 1)
        near = (self._space >= 0) & (self._space - targets <= self._size // 2)
        ends = np.unique(np.concatenate([np.where(near, self._space, self._boundary), document_ends]))
        return BlockCuts(ends=ends, document=np.searchsorted(document_ends, ends, side="left").astype(np.int64))

    def _add_candidates(self, utf8: "np.ndarray[tuple[int], np.dtype[np.uint8]]", spaces: Ints) -> None:
        first = self._size * (len(self._space) + 1)
        targets = np.arange(first, self._bytes + len(utf8), self._size, dtype=np.int64)
        places = np.searchsorted(spaces, targets)
        found = np.append(spaces, -1)[places]
        self._boundary = np.append(self._boundary, self._bytes + _next_character(utf8, targets - self._bytes))
        self._space = np.append(self._space, found)


def _next_character(utf8: "np.ndarray[tuple[int], np.dtype[np.uint8]]", places: Ints) -> Ints:
    """Move each place to the next character boundary, or to the end."""
    for _ in range(3):  # a character has at most three bytes after its first
        inside = places < len(utf8)
        inside[inside] = (utf8[places[inside]] & 0xC0) == 0x80
        places = places + inside
    return places
