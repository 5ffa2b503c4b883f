"""Word pieces → units and token ends, in bounded memory: a document is encoded in windows that overlap.

What a tokenizer makes of a place depends on a little of the text around it: a word, a run of digits or spaces. How much
is not known, so it is not assumed: a window is joined to the next in the middle of their overlap, where both have the
very same tokens at the same places, at a distance from the edges of both. Where they have not, both become longer.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import TextError, VocabularyError
from rnneval.text.pieces import Piece
from rnneval.text.subword.base import Located, Subword, locate
from rnneval.text.tokenise import PLAIN, Batch, LayoutWatch, Tokeniser, byte_units, marks
from rnneval.text.units import Bools, Ints, Letters
from rnneval.text.vocabulary import Vocabulary

WINDOW = 8192
"""Characters encoded at a time."""
OVERLAP = 512
LONGEST = 1 << 20
"""Characters of a window at most."""


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    """A part of a document with whole tokens."""

    text: str
    first: bool
    """Whether it begins the document."""
    ids: NDArray[np.int32]
    ends: Ints
    """End of each token, in bytes from the start of the excerpt."""


def excerpts(pieces: Iterable[Piece], subword: Subword) -> Iterator[Excerpt]:
    """Yield a whole text in excerpts, none of which crosses the end of a document.

    Raises:
        TextError: the text has no place where it could be parted within a million characters.
        VocabularyError: the library fails.
    """
    for _, texts in groupby(_by_document(pieces), key=lambda numbered: numbered[0]):
        yield from _Document((text for _, text in texts), subword).excerpts()


def _by_document(pieces: Iterable[Piece]) -> Iterator[tuple[int, str]]:
    """Yield texts with the number of their document; no text is empty."""
    number = 0
    for piece in pieces:
        places = [*piece.starts, len(piece.text)]
        if places[0] > 0:
            yield number, piece.text[: places[0]]
        for start, stop in pairwise(places):
            number += 1
            yield number, piece.text[start:stop]


class _Document:
    """One document, read from start to end; `_text` begins at the beginning of the present window."""

    def __init__(self, texts: Iterator[str], subword: Subword) -> None:
        self._texts, self._subword = texts, subword
        self._text = ""
        self._done = 0
        """Bytes of `_text` that were yielded already: the context before the tokens of the window."""
        self._first = True
        self._located: tuple[int, Located] | None = None
        """A number of characters of `_text`, and their tokens."""

    def excerpts(self) -> Iterator[Excerpt]:
        """Yield all of it."""
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
            yield self._excerpt(left, self._text[:size].encode()[self._done : place])
            self._text, self._done = self._text[start:], place - shift
            self._located = (len(right_text), right)
            size, overlap = WINDOW, OVERLAP
        if self._text:
            yield self._excerpt(self._locate(len(self._text)), self._text.encode()[self._done :])

    def _reaches(self, characters: int) -> bool:
        """Read on, and return whether the text has so many characters."""
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

    def _excerpt(self, located: Located, utf8: bytes) -> Excerpt:
        """Return the tokens of the bytes that follow `_done`."""
        stop, first, self._first = self._done + len(utf8), self._first, False
        which = (located.ends <= stop) & ((located.ends > self._done) | first)
        return Excerpt(text=utf8.decode(), first=first, ids=located.ids[which], ends=located.ends[which] - self._done)

    def _refuse(self, size: int) -> None:
        if size > LONGEST:
            raise TextError(
                f"more than {LONGEST:,} characters, beginning {self._text[:30]!r}, have no place where the tokenizer "
                f"({self._subword.name}) parts them whatever follows: is this text? --documents blank-line or file "
                "gives shorter documents"
            )


def _agreed(left: Located, right: Located, shift: int, shared: bytes) -> int | None:
    """Return the last place in the middle third of the overlap at which a character and a token end in both.

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


@dataclass(frozen=True, kw_only=True)
class _Encoded(Piece):
    """A piece that was already encoded, cut where its tokens end."""

    excerpt: Excerpt


class SubwordTokeniser(Tokeniser):
    """Pieces of words, by the tokenizer that the vocabulary comes from."""

    narrow = False

    def __init__(self, vocabulary: Vocabulary, unknown: str) -> None:
        super().__init__("subword", vocabulary, unknown)
        if vocabulary.subword is None:
            raise VocabularyError(
                f"--tokens subword needs a tokenizer, and the vocabulary ({vocabulary.source}) is a list of tokens: "
                "give --vocab tokenizer.json (Hugging Face) or a .model file of SentencePiece"
            )
        self._subword: Subword = vocabulary.subword
        self.kind = f"subword-{self._subword.sha256[:8]}"
        self._loss = ""
        """A message about the first place at which the tokens do not spell the text."""

    def pieces(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Encode the text, and cut it where tokens end in both windows."""
        for excerpt in excerpts(pieces, self._subword):
            yield _Encoded(text=excerpt.text, starts=(0,) if excerpt.first else (), excerpt=excerpt)

    def tokens(self, piece: Piece, letters: Letters) -> Batch:
        """Return the tokens of a piece that is already encoded."""
        assert isinstance(piece, _Encoded)  # noqa: S101 - one of our own pieces
        excerpt, units = piece.excerpt, byte_units(letters)
        ids, ends = excerpt.ids.astype(np.int64), excerpt.ends
        unknown = self._unknown(excerpt, letters.utf8)
        self._compare(excerpt, letters.utf8, unknown)
        if unknown.any():
            places = np.maximum(ends[unknown] - 1, 0)
            self.note(Counter(self._texts(excerpt, letters.utf8, unknown)), units, int(places[0]))
            units = replace(units, unknown=marks(len(letters.utf8), places))
            if self.skips:
                ids, ends = ids[~unknown], ends[~unknown]
            else:
                ids[unknown] = self.stand_in
        self.advance(units)
        return Batch(units=units, ids=ids, ends=ends, starts=letters.starts, before=np.zeros_like(letters.starts))

    def layout(self, watch: LayoutWatch) -> str | None:
        """Return `plain` if the pieces spell the text."""
        return None if self._loss else PLAIN

    def why_not_lossless(self, name: str) -> str:
        """Return a message about the first place at which the tokens do not spell the text."""
        return f"{name}: {self._loss}; so there are no bits per character"

    def _unknown(self, excerpt: Excerpt, utf8: bytes) -> Bools:
        """Return which tokens stand for text without a piece; a literal `<unk>` of the text does not count."""
        unknown: Bools = np.equal(excerpt.ids, -1 if self._subword.unknown_id is None else self._subword.unknown_id)
        if unknown.any():
            literal = self._subword.spellings[int(self._subword.unknown_id or 0)]
            spans = _spans(excerpt, utf8)
            unknown[unknown] = [spans[place].strip() != literal for place in np.flatnonzero(unknown)]
        return unknown

    def _texts(self, excerpt: Excerpt, utf8: bytes, which: Bools) -> list[str]:
        spans = _spans(excerpt, utf8)
        return [spans[place].decode(errors="replace").strip() for place in np.flatnonzero(which)]

    def _compare(self, excerpt: Excerpt, utf8: bytes, unknown: Bools) -> None:
        """Note the first place where the pieces do not spell the text; unknown ones are assumed to."""
        if self._loss:
            return
        if unknown.any():
            spans = _spans(excerpt, utf8)
            spelt = b"".join(
                spans[place] if unknown[place] else self._subword.spellings[id_]
                for place, id_ in enumerate(excerpt.ids.tolist())
            )
        else:
            spelt = self._subword.spell(excerpt.ids)
        wanted = (b" " if excerpt.first and self._subword.adds_space else b"") + utf8
        if spelt != wanted:
            self._loss = _about(spelt, wanted)


def _spans(excerpt: Excerpt, utf8: bytes) -> list[bytes]:
    """Return the text of every token."""
    starts = np.append(0, excerpt.ends[:-1])
    return [utf8[start:stop] for start, stop in zip(starts.tolist(), excerpt.ends.tolist(), strict=True)]


def _about(spelt: bytes, wanted: bytes) -> str:
    """Return a message about the first difference with some text around it."""
    pairs = enumerate(zip(spelt, wanted, strict=False))
    place = next((place for place, (one, other) in pairs if one != other), min(len(spelt), len(wanted)))
    seen, given = (text[max(place - 8, 0) : place + 8].decode(errors="replace") for text in (wanted, spelt))
    return f"its tokens do not give the text back, as {seen!r} comes back as {given!r}"
