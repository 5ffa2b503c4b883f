"""A document of any length as tokens, in bounded memory: windows that overlap, joined where both agree.

What a tokenizer makes of a place depends on a little of the text around it: a word, a run of digits or spaces. Nothing
tells how much, so nothing is taken on trust: a window is joined to the next in the middle of their overlap, where both
have the very same tokens at the same places, at a distance from either's edge. Where they have not, both become longer.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import TextError
from rnneval.text.pieces import Piece
from rnneval.text.subword.base import Subword
from rnneval.text.subword.locating import Located, locate
from rnneval.text.units import Ints

WINDOW = 8192
"""Characters encoded at a time."""
OVERLAP = 512
LONGEST = 1 << 20
"""Characters of a window at most."""


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Some of a document and its tokens, whole."""

    text: str
    first: bool
    """It begins the document."""
    ids: NDArray[np.int32]
    ends: Ints
    """In bytes from the start of the stretch."""


def stretches(pieces: Iterable[Piece], subword: Subword) -> Iterator[Stretch]:
    """Give a whole text in stretches, none of which goes beyond a document.

    Raises:
        TextError: the text has no place where it could be parted within a million characters.
        VocabularyError: the library fails.
    """
    for _, texts in groupby(_by_document(pieces), key=lambda numbered: numbered[0]):
        yield from _Document((text for _, text in texts), subword).stretches()


def _by_document(pieces: Iterable[Piece]) -> Iterator[tuple[int, str]]:
    """Give the text with the number of its document; no text is empty."""
    number = 0
    for piece in pieces:
        places = [*piece.starts, len(piece.text)]
        if places[0] > 0:
            yield number, piece.text[: places[0]]
        for start, stop in pairwise(places):
            number += 1
            yield number, piece.text[start:stop]


class _Document:
    """One document, read front to back; `_text` begins where the present window does."""

    def __init__(self, texts: Iterator[str], subword: Subword) -> None:
        self._texts, self._subword = texts, subword
        self._text = ""
        self._done = 0
        """Bytes of `_text` that were given already: what the window sees before its own tokens."""
        self._first = True
        self._located: tuple[int, Located] | None = None
        """What was found for so many characters of `_text`."""

    def stretches(self) -> Iterator[Stretch]:
        """Give all of it."""
        size, overlap = WINDOW, OVERLAP
        while self._reaches(size + 1):
            self._refuse(size)
            self._reaches(2 * size - overlap)
            left, start = self._locate(size), size - overlap
            right_text = self._text[start : start + size]
            right = locate(self._subword, right_text)
            shift, shared = len(self._text[:start].encode()), self._text[start:size].encode()
            place = _agreed(left, right, shift, shared)
            if place is None:
                size, overlap = 2 * size, 2 * overlap
                continue
            yield self._stretch(left, self._text[:size].encode()[self._done : place])
            self._text, self._done = self._text[start:], place - shift
            self._located = (len(right_text), right)
            size, overlap = WINDOW, OVERLAP
        if self._text:
            yield self._stretch(self._locate(len(self._text)), self._text.encode()[self._done :])

    def _reaches(self, characters: int) -> bool:
        """Read on; tell whether there are so many."""
        parts, length = [self._text], len(self._text)
        while length < characters and (more := next(self._texts, "")):
            parts.append(more)
            length += len(more)
        self._text = "".join(parts)
        return length >= characters

    def _locate(self, characters: int) -> Located:
        if self._located is None or self._located[0] != characters:
            self._located = (characters, locate(self._subword, self._text[:characters]))
        return self._located[1]

    def _stretch(self, located: Located, utf8: bytes) -> Stretch:
        """Give what was found beyond `_done`: so many bytes, which follow there."""
        stop, first, self._first = self._done + len(utf8), self._first, False
        which = (located.ends <= stop) & ((located.ends > self._done) | first)
        return Stretch(text=utf8.decode(), first=first, ids=located.ids[which], ends=located.ends[which] - self._done)

    def _refuse(self, size: int) -> None:
        if size > LONGEST:
            raise TextError(
                f"more than {LONGEST:,} characters, beginning {self._text[:30]!r}, have no place where the tokenizer "
                f"({self._subword.name}) parts them whatever follows: is this text? --documents blank-line or file "
                "gives shorter documents"
            )


def _agreed(left: Located, right: Located, shift: int, shared: bytes) -> int | None:
    """Give the last place in the middle third of the overlap at which a character and a token end in both.

    Args:
        left: Of the window before.
        right: Of the window after, which begins `shift` bytes later.
        shift: In bytes.
        shared: The overlap.

    Returns:
        In bytes of the left window; None where their tokens differ within that third, or are too few to tell.
    """
    low, high = shift + len(shared) // 3, shift + 2 * len(shared) // 3
    theirs = right.ends + shift
    mine, other = (slice(*np.searchsorted(ends, [low, high], side="right")) for ends in (left.ends, theirs))
    ends = left.ends[mine]
    if len(ends) < 3 or not np.array_equal(ends, theirs[other]):
        return None
    if not np.array_equal(left.ids[mine], right.ids[other]):
        return None
    inner = ends[1:-1]
    lead = (np.frombuffer(shared, np.uint8)[inner - shift] & 0xC0) != 0x80
    places = inner[lead & (ends[:-2] < inner) & (inner < ends[2:])]  # and none there shares its character with the next
    return int(places[-1]) if len(places) else None
