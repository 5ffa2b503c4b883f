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
from rnneval.text.subword import Located, Subword, locate
from rnneval.text.tokenise import PLAIN, Batch, LayoutWatch, Tokeniser, byte_units, marks
from rnneval.text.units import Bools, Ints, Letters
from rnneval.text.vocabulary import Vocabulary

WINDOW = 8192
"""Characters encoded at a time."""
OVERLAP = 512
LONGEST = 1 << 20
"""Characters of a window at most."""


@dataclass(frozen=True, kw_only=True)
class _Excerpt(Piece):
    """A part of a document that begins and ends where tokens do."""

    ids: NDArray[np.int32]
    ends: Ints
    """End of each token, in bytes from the start of the excerpt."""


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

    def excerpts(self) -> Iterator[_Excerpt]:
        """Yield all of it."""
        size, overlap = WINDOW, OVERLAP
        while self._reaches(size + 1):
            if size > LONGEST:
                raise TextError(
                    f"more than {LONGEST:,} characters, beginning {self._text[:30]!r}, have no place where the "
                    f"tokenizer ({self._subword.name}) parts them whatever follows: is this text? --documents "
                    "blank-line or file gives shorter documents"
                )
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

    def _excerpt(self, located: Located, utf8: bytes) -> _Excerpt:
        """Return the tokens of the bytes that follow `_done`."""
        stop, first, self._first = self._done + len(utf8), self._first, False
        which = (located.ends <= stop) & ((located.ends > self._done) | first)
        ids, ends = located.ids[which], located.ends[which] - self._done
        return _Excerpt(text=utf8.decode(), starts=(0,) if first else (), ids=ids, ends=ends)


def _agreed(left: Located, right: Located, shift: int, shared: bytes) -> int | None:
    """Return the last place in the middle third of the overlap at which a character and a token end in both windows.

    The right window begins `shift` bytes after the left one, and `shared` is the overlap. The place is in bytes of the
    left window; None where the tokens differ within that third, or are too few to tell.
    """
    low, high = shift + len(shared) // 3, shift + 2 * len(shared) // 3
    theirs = right.ends + shift
    mine, other = (slice(*np.searchsorted(ends, [low, high], side="right")) for ends in (left.ends, theirs))
    ends = left.ends[mine]
    if len(ends) < 3 or not np.array_equal(ends, theirs[other]) or not np.array_equal(left.ids[mine], right.ids[other]):
        return None
    inner = ends[1:-1]
    lead = (np.frombuffer(shared, np.uint8)[inner - shift] & 0xC0) != 0x80
    places = inner[lead & (ends[:-2] < inner) & (inner < ends[2:])]  # and none there shares its character with the next
    return int(places[-1]) if len(places) else None


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
        """Encode the text, and cut it where tokens end in both windows; no excerpt crosses the end of a document."""
        for _, texts in groupby(_by_document(pieces), key=lambda numbered: numbered[0]):
            yield from _Document((text for _, text in texts), self._subword).excerpts()

    def tokens(self, piece: Piece, letters: Letters) -> Batch:
        """Return the tokens of a piece that is already encoded."""
        assert isinstance(piece, _Excerpt)  # noqa: S101 - one of our own pieces
        units, ids, ends = byte_units(letters), piece.ids.astype(np.int64), piece.ends
        unknown_id = -1 if self._subword.unknown_id is None else self._subword.unknown_id
        unknown: Bools = np.equal(piece.ids, unknown_id)
        texts: list[bytes] = []
        if unknown.any():
            starts = np.append(0, ends[:-1])
            texts = [letters.utf8[start:stop] for start, stop in zip(starts.tolist(), ends.tolist(), strict=True)]
            literal = self._subword.spellings[unknown_id]  # a literal `<unk>` of the text does not count
            unknown[unknown] = [texts[place].strip() != literal for place in np.flatnonzero(unknown)]
        self._compare(piece, letters.utf8, texts, unknown)
        if unknown.any():
            places = np.maximum(ends[unknown] - 1, 0)
            lacking = [texts[place].decode(errors="replace").strip() for place in np.flatnonzero(unknown)]
            self.note(Counter(lacking), units, int(places[0]))
            units = replace(units, unknown=marks(len(letters.utf8), places))
            if self.skips:
                ids, ends = ids[~unknown], ends[~unknown]
            else:
                ids[unknown] = self.stand_in
        self.advance(units)
        return Batch(units=units, ids=ids, ends=ends, starts=letters.starts, before=np.zeros_like(letters.starts))

    def layout(self, watch: LayoutWatch) -> tuple[str | None, str]:
        """Return `plain` if the pieces spell the text."""
        return (None, self._loss) if self._loss else (PLAIN, "")

    def _compare(self, excerpt: _Excerpt, utf8: bytes, texts: list[bytes], unknown: Bools) -> None:
        """Note the first place where the pieces do not spell the text; unknown ones are assumed to."""
        if self._loss:
            return
        if unknown.any():
            known = map(self._subword.spellings.__getitem__, excerpt.ids.tolist())
            spelt = b"".join(
                text if lacks else piece for text, lacks, piece in zip(texts, unknown.tolist(), known, strict=True)
            )
        else:
            spelt = self._subword.spell(excerpt.ids)
        wanted = (b" " if excerpt.starts and self._subword.adds_space else b"") + utf8
        if spelt != wanted:
            pairs = enumerate(zip(spelt, wanted, strict=False))
            place = next((place for place, (one, other) in pairs if one != other), min(len(spelt), len(wanted)))
            seen, given = (text[max(place - 8, 0) : place + 8].decode(errors="replace") for text in (wanted, spelt))
            self._loss = f"its tokens do not give the text back, as {seen!r} comes back as {given!r}"
