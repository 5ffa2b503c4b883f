"""Counts and flags of every *unit* of the final text: a character, or a byte for tokens that can be parts of one."""

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

    @property
    def runs_on(self) -> Bools:
        """True for a character within a word that began before it."""
        return ~self.space & ~self.begins


@dataclass(frozen=True, kw_only=True)
class Units:
    """Counts at each of n characters (or bytes, for a byte model); shape `(n,)` each."""

    characters: Counts
    bytes: Counts
    words: Counts
    """Words that begin here."""
    newlines: Counts
    unknown: Counts
    runs_on: Bools
    """True for a unit within a word that began before it."""
    gap: Counts | None = None
    """White space between words; None where characters or bytes are tokens."""
    blank: Counts | None = None
    """U+0020 among `gap`."""


def letters(text: str, starts: Sequence[int] = (), *, after_word: bool = False) -> Letters:
    """Return the flags of a piece with its document starts; `after_word`: the character before is not white space.

    >>> letters("a b").begins.tolist()
    [True, False, True]
    """
    utf8 = text.encode()
    ascii_only = len(utf8) == len(text)
    points = np.frombuffer(utf8, np.uint8) if ascii_only else np.frombuffer(text.encode("utf-32-le"), "<u4")
    space = look_up(_spaces(), points)
    begins = ~space
    begins[1:] &= space[:-1]
    begins[0] &= not after_word or 0 in starts[:1]
    widths = np.ones(len(points), np.uint8) if ascii_only else _widths(points)
    return Letters(
        points=points,
        widths=widths,
        space=space,
        newline=points == 0x0A,
        begins=begins,
        utf8=utf8,
        starts=np.array(starts, np.int64),
    )


def look_up(table: NDArray[Any], points: NDArray[Any]) -> NDArray[Any]:
    """Return the entry of a table for each code point, the last entry for all beyond it."""
    return table.take(points, mode="clip")


def bytes_before(piece: Letters, characters: Ints) -> Ints:
    """Convert places in characters to places in bytes, both from the start of the piece."""
    if len(piece.utf8) == len(piece.points):
        return characters
    return (np.cumsum(piece.widths, dtype=np.int64) - piece.widths)[characters]


@cache
def _spaces() -> Bools:
    return np.array([chr(point).isspace() for point in range(_BEYOND_SPACES)])


def _widths(points: NDArray[Any]) -> NDArray[np.uint8]:
    widths = 1 + (points >= 0x80).view(np.uint8) + (points >= 0x800) + (points >= 0x10000)
    return widths.astype(np.uint8, copy=False)
