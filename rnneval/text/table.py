"""The tokens of a text: an id and the end of its span each, and what the text has in any range of spans.

The span of a token reaches from the end of the token before to its own end, so that nothing is lost. Text after the
last token of a document belongs to that token. A document without any token is no document to a model: its text belongs
to the first token of the next (which is never scored), or at the end of all to the last token.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.text.spool import Column
from rnneval.text.units import Bools, Ints, Letters, byte_flags


@dataclass(frozen=True, kw_only=True)
class TokenSlice:
    """Some tokens in a row and their spans; every array has the shape `(n,)`.

    A token's span reaches from the end of the token before to its own end, so that sums over all tokens are those of
    the text: the white space before a word is the word's; text after a document's last token is that token's. A
    character and a word count at the token with their first byte. What the vocabulary lacks is skipped within the span,
    or mapped to this token.
    """

    ids: NDArray[np.int32]
    characters: Ints
    bytes: Ints
    words: Ints
    """Maximal runs of characters that are not white space, where they begin."""
    newlines: Ints
    """Line feeds."""
    unknown: Ints
    """Characters, bytes or words that the vocabulary lacks."""
    byte_start: Ints
    """First byte of the span in the final text."""
    byte_end: Ints
    """Byte after the last one of the span."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The tokens of a piece of text."""

    ids: NDArray[Any]
    """`(tokens,)`."""
    ends: Ints
    """The end of each token, in bytes from the start of the piece."""
    unknown: Ints
    """A byte of each character, byte or word that the vocabulary lacks, rising."""


class TokenTable:
    """The final text and its tokens, added in order and read in any order."""

    def __init__(self) -> None:
        self._columns = [Column(np.uint8), Column(np.int32), Column(np.int64), Column(np.int64)]
        self._documents: list[int] = []
        self._first: list[int] = []
        self.closed = False

    @property
    def bytes(self) -> int:
        """Bytes of the text so far."""
        return self._columns[0].size

    def begin_document(self) -> None:
        """Note that a document begins."""
        self._documents.append(self.bytes)
        self._first.append(self._columns[1].size)

    def add(self, letters: Letters, batch: Batch | None) -> None:
        """Add the next characters and the tokens that end in them."""
        utf8, ids, ends, unknown = self._columns
        if batch is not None:
            ids.append(batch.ids)
            ends.append(utf8.size + batch.ends)
            unknown.append(utf8.size + batch.unknown)
        utf8.append(np.frombuffer(letters.utf8, np.uint8))

    def finish_text(self) -> None:
        """Note that the text is complete: `utf8` `(bytes,)`, and `documents`, the first byte of each document."""
        self.utf8: NDArray[np.uint8] = self._columns[0].array()
        self.documents: Ints = np.array(self._documents, np.int64)

    def finish(self, ends: Ints | None = None, first: Ints | None = None) -> None:
        """Note that all tokens are there, or that they are spans with these ends, and the first one of each document.

        Sets `ids`, `ends`, `unknown` (the byte of each unknown character, byte or word) and `starts`, the first token
        of each document that has one. `trails`: a document has text after its last token, which no token spells.
        """
        self.ids, self.ends, self.unknown = (column.array() for column in self._columns[1:])
        if ends is not None:
            self.ids, self.ends = np.zeros(len(ends), np.int32), ends
        first = np.array(self._first, np.int64) if first is None else first
        following = np.append(first[1:], len(self.ends))
        some = first < following
        self.starts: Ints = first[some]
        last, stops = following[some] - 1, np.append(self.documents[1:], len(self.utf8))[some]
        stops[-1:] = len(self.utf8)
        self.trails = bool((self.ends[last] != stops).any())
        self.ends[last] = stops

    def read(self, start: int, stop: int) -> tuple[TokenSlice, Bools]:
        """Return tokens start to stop, and whether each span begins within a word that began before."""
        bounds = self._bounds(start, stop)
        flags = byte_flags(self.utf8, int(bounds[0]), int(bounds[-1]), self.documents)
        sums = {name: _sums(getattr(flags, name), bounds) for name in ("characters", "words", "newlines")}
        found = TokenSlice(
            ids=self.ids[start:stop],
            bytes=np.diff(bounds),
            unknown=np.diff(np.searchsorted(self.unknown, bounds)),
            byte_start=bounds[:-1],
            byte_end=bounds[1:],
            **sums,
        )
        return found, np.append(flags.runs_on, False)[bounds[:-1] - bounds[0]]

    def white_space(self, start: int, stop: int) -> tuple[Ints, Ints, Ints]:
        """Return how many characters of white space, of U+0020 and of line feeds the span of each token has."""
        bounds = self._bounds(start, stop)
        flags = byte_flags(self.utf8, int(bounds[0]), int(bounds[-1]), self.documents)
        return _sums(flags.space, bounds), _sums(flags.blank, bounds), _sums(flags.newlines, bounds)

    def _bounds(self, start: int, stop: int) -> Ints:
        """Return the byte at which the tokens begin, and the end of each."""
        before = self.ends[start - 1] if start else 0
        return np.append(before, self.ends[start:stop]).astype(np.int64, copy=False)

    def close(self) -> None:
        """Free the memory and the disk space; nothing can be read after that."""
        self.closed = True
        for column in self._columns:
            column.close()
        for name in ("utf8", "ids", "ends", "unknown"):
            vars(self).pop(name, None)


def _sums(flags: Bools, bounds: Ints) -> Ints:
    """Count the flags between each two bounds; the first flag is at the first bound."""
    before = np.append(0, np.cumsum(flags, dtype=np.int64))
    found: Ints = np.diff(before[bounds - bounds[0]])
    return found
