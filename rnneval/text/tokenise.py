"""Pieces of text → tokens and where they end: characters, bytes, words or pieces of words.

Unknown tokens are counted before anything is evaluated. A text of words (w below is any word) has the *layout* plain or
padded if all its white space follows that pattern: *plain*, `w w⏎`, has one space between words and nothing else;
*padded*, the ` w w ⏎` of WikiText, has one space before every token. If it has neither, the words do not determine
the text, and there are no bits per character.

A document is encoded into pieces of words in bounded memory, in windows that overlap. What a tokenizer makes of a place
depends on a little of the text around it: a word, a run of digits or spaces. How much is not known, so it is not
assumed: a window is joined to the next in the middle of their overlap, where both have the very same tokens at the same
places, at a distance from the edges of both. Where they have not, both become longer.
"""

import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import TextError, VocabularyError
from rnneval.text.pieces import Piece, whole_words
from rnneval.text.sources import Place
from rnneval.text.subword import Located, Subword, locate
from rnneval.text.table import Batch, TokenTable
from rnneval.text.units import Bools, Ints, Letters, bytes_before
from rnneval.text.vocabulary import Vocabulary

PLAIN = "plain"
PADDED = "padded"
EOS = "<eos>"
"""The token for every line feed, if a vocabulary of words has it."""
_ABSENT = -1
"""Id of a token that the vocabulary lacks."""
_SHOWN = 5
_CHUNK = 1 << 16
_REMEMBERED = 10_000
"""Most distinct unknown tokens that are counted, so that a text with another vocabulary does not fill the memory."""
WINDOW = 8192
"""Characters encoded at a time."""
OVERLAP = 512
LONGEST = 1 << 20
"""Characters of a window at most."""
_NOUNS = {"char": "character", "byte": "byte", "word": "word", "subword": "piece"}


def layout_of(table: TokenTable, eos_id: int | None) -> str | None:
    """Return `plain` or `padded`, or None if the white space of the text does not follow from its words.

    `eos_id` is the id of a line feed, if it is a token.
    """
    plain = padded = not table.trails
    after_word = False
    for start in range(0, len(table.ids), _CHUNK):
        stop = min(start + _CHUNK, len(table.ids))
        gap, blank, lines = table.white_space(start, stop)
        is_line = np.zeros(stop - start, bool)
        if eos_id is not None:
            is_line, gap = table.ids[start:stop] == eos_id, gap - lines
        is_first = np.isin(np.arange(start, stop), table.starts)
        one = (gap == 1) & (blank == 1)
        between_words = np.append(after_word, ~is_line[:-1]) & ~is_line & ~is_first
        plain = plain and bool(np.where(between_words, one, gap == 0).all())
        padded = padded and bool(one.all())
        after_word = not is_line[-1]
    return PLAIN if plain else PADDED if padded else None


def text_of_words(words: Sequence[str], layout: str) -> str:
    r"""Return the text of one document from its words, where `<eos>` is a line feed.

    >>> text_of_words(["a", "b", "<eos>", "c"], "plain"), text_of_words(["<eos>", "a", "<eos>"], "padded")
    ('a b\nc', ' \n a \n')
    """
    if layout == PADDED:
        return "".join(" \n" if word == EOS else f" {word}" for word in words)
    lines: list[list[str]] = [[]]
    for word in words:
        if word == EOS:
            lines.append([])
        else:
            lines[-1].append(word)
    return "\n".join(map(" ".join, lines))


class Unknowns:
    """A tally of what the vocabulary lacks: characters, words, or bytes (as characters of Latin-1)."""

    def __init__(self, kind: str) -> None:
        self.total = 0
        self._kind = kind
        self.first: Place | None = None
        """The first one in the final text."""
        self._counts: Counter[str] = Counter()
        self._counted_every_distinct = True
        self._place = Place(characters=0, lines=0, column=0)
        """The start of the present piece."""

    def add(self, counts: Mapping[str, int], utf8: bytes, first: int) -> None:
        """Count unknown tokens of a piece, the first of which begins at byte `first`."""
        self.total += sum(counts.values())
        if self.first is None:
            self.first = Place.after_text(utf8[:first].decode(errors="ignore")).after(self._place)
        for token, count in counts.items():
            if token in self._counts or len(self._counts) < _REMEMBERED:
                self._counts[token] += count
            else:
                self._counted_every_distinct = False

    def advance(self, text: str) -> None:
        """Move on to the end of a piece."""
        self._place = Place.after_text(text).after(self._place)

    def describe(self, of: str, first: str) -> str:
        """Return a message with their number, the most frequent ones and the first place; `of` names the text."""
        noun, distinct = _NOUNS[self._kind], len(self._counts)
        some = ", ".join(map(self._show, sorted(self._counts, key=lambda token: -self._counts[token])[:_SHOWN]))
        more = ", …" if distinct > _SHOWN else ""
        return (
            f"{of} has {self.total:,} {noun}{'s' * (self.total != 1)} the vocabulary lacks "
            f"({'' if self._counted_every_distinct else 'more than '}{distinct:,} distinct: {some}{more}; "
            f"first at {first})"
        )

    def refuse(self, described: str, vocabulary: Vocabulary) -> None:
        """Refuse a text with unknown tokens: say what is unknown, the likely causes, and what to do."""
        said = []
        if any("\0" in token for token in self._counts):
            said.append("U+0000 in a text is a sign of UTF-16 or of a damaged file")
        if any("\r" in token for token in self._counts):
            said.append("--newlines lf turns CRLF and CR into LF")
        if not vocabulary.has_capitals:
            lowered = sum(token != token.lower() and token.lower() in vocabulary.ids for token in self._counts)
            if lowered:
                some = "all" if lowered == len(self._counts) else f"{lowered:,} of the distinct"
                said.append(f"{some} are known in lower case: --normalize lower")
        advice = "give the vocabulary the model was trained with, or --unknown skip, or --unknown TOKEN"
        if (unk := vocabulary.unknown) is not None:
            advice = f"--unknown '{unk}' maps them to the vocabulary's own {unk}, as is the convention; or {advice}"
        raise TextError(f"{described}: {'; '.join([*said, advice])}")

    def _show(self, token: str) -> str:
        if self._kind == "byte":
            return f"0x{ord(token):02X}"
        return f"{token!r} (U+{ord(token):04X})" if len(token) == 1 else repr(token[:40])


class Tokeniser(ABC):
    """Splits pieces into tokens; `unknowns` counts those of the kind `noun` that the vocabulary lacks."""

    kind = ""
    eos_id: int | None = None
    """The id of a line feed, if it is a token among words."""

    def __init__(self, noun: str, vocabulary: Vocabulary, unknown: str) -> None:
        self.unknowns = Unknowns(noun)
        self.skips = unknown == "skip"
        """Whether unknown tokens are dropped; else `stand_in` is their id."""
        self.stand_in = vocabulary.first_id  # `error`: the text is refused in the end
        if unknown not in {"error", "skip"}:
            found = vocabulary.id_of(unknown)
            if found is None:
                raise VocabularyError(
                    f"--unknown {unknown!r} is not a token of the vocabulary ({vocabulary.source}): "
                    "give error, skip, or one of its tokens"
                )
            self.stand_in = found

    def pieces(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Cut a text at places where tokens end, and drop nothing: no character or byte crosses the ends of pieces."""
        yield from pieces

    @abstractmethod
    def tokens(self, piece: Piece, letters: Letters) -> Batch:
        """Split one piece that `pieces` has cut; `letters` are the arrays of the same piece."""

    def layout(self, table: TokenTable) -> tuple[str | None, str]:
        """Return the layout by which the tokens determine the text (most spell it: `plain`), or None and the reason."""
        return PLAIN, ""


class UnitTokeniser(Tokeniser):
    """One code point per token, or one byte of UTF-8; a character and a word are counted at their first byte."""

    def __init__(self, kind: str, vocabulary: Vocabulary, unknown: str) -> None:
        super().__init__(kind, vocabulary, unknown)
        self.kind = kind
        end = 256 if kind == "byte" else sys.maxunicode + 1
        ids = {ord(token): id_ for token, id_ in vocabulary.ids.items() if len(token) == 1 and ord(token) < end}
        self._table = np.full(max(ids, default=-1) + 2, _ABSENT, np.int32)  # the last entry is for all beyond
        self._table[list(ids)] = list(ids.values())

    def tokens(self, piece: Piece, letters: Letters) -> Batch:
        """Make a token of each character, or of each byte."""
        values: NDArray[Any] = letters.points
        begins = bytes_before(letters, np.arange(len(values)))
        if self.kind == "byte":
            values = np.frombuffer(letters.utf8, np.uint8)
            begins = np.arange(len(values))
        ids, ends = self._table.take(values, mode="clip"), np.append(begins[1:], len(letters.utf8))
        unknown = ids == _ABSENT
        if unknown.any():
            points, counts = np.unique(values[unknown], return_counts=True)
            first = int(begins[unknown.argmax()])
            self.unknowns.add(dict(zip(map(chr, points), counts.tolist(), strict=True)), letters.utf8, first)
            if self.skips:
                ids, ends = ids[~unknown], ends[~unknown]
            else:
                ids[unknown] = self.stand_in
        self.unknowns.advance(piece.text)
        return Batch(ids=ids, ends=ends, unknown=begins[unknown])


class WordTokeniser(Tokeniser):
    """Words of `str.split`; with `<eos>` in the vocabulary, every line feed is a token too."""

    def __init__(self, vocabulary: Vocabulary, unknown: str) -> None:
        super().__init__("word", vocabulary, unknown)
        self._ids = dict(vocabulary.ids)  # a plain dict answers twice as fast
        self.eos_id = vocabulary.ids.get(EOS)
        self.kind = "word" if self.eos_id is None else "word+eos"
        self._literal_eos = False
        """The text itself has the word `<eos>`."""

    def pieces(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Cut the text between words."""
        return whole_words(pieces)

    def layout(self, table: TokenTable) -> tuple[str | None, str]:
        """Return the layout of the words, if there is one."""
        found = None if self._literal_eos else layout_of(table, self.eos_id)
        return found, "" if found else (
            "its white space cannot be told from its words: neither single spaces between "
            "words (plain) nor one before every word and line end (padded)"
        )

    def tokens(self, piece: Piece, letters: Letters) -> Batch:
        """Split a piece, which must not end within a word, into words and, with `<eos>`, line feeds."""
        words = piece.text.split()
        ids = np.array(list(map(self._ids.get, words, repeat(_ABSENT))), np.int64)
        self._literal_eos = self._literal_eos or (self.eos_id is not None and bool((ids == self.eos_id).any()))
        begins = bytes_before(letters, np.arange(len(letters.points)))
        stops = np.append(begins[1:], len(letters.utf8))
        ends = stops[~letters.space & np.append(letters.space[1:], True)]
        absent = np.flatnonzero(ids == _ABSENT)
        if len(absent):
            first = int(begins[letters.begins][absent[0]])
            self.unknowns.add(Counter(words[place] for place in absent), letters.utf8, first)
            ids[absent] = self.stand_in
        self.unknowns.advance(piece.text)
        unknown = ends[absent] - 1
        if self.skips:
            ids, ends = np.delete(ids, absent), np.delete(ends, absent)
        if self.eos_id is not None:  # line feeds are tokens of their own, between the words
            lines = stops[letters.newline]
            ends = np.concatenate([ends, lines])
            order = np.argsort(ends, kind="stable")
            ids, ends = np.concatenate([ids, np.full(len(lines), self.eos_id)])[order], ends[order]
        return Batch(ids=ids, ends=ends, unknown=unknown)


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
        ids, ends = piece.ids.astype(np.int64), piece.ends
        unknown_id = -1 if self._subword.unknown_id is None else self._subword.unknown_id
        unknown: Bools = np.equal(piece.ids, unknown_id)
        texts: list[bytes] = []
        if unknown.any():
            starts = np.append(0, ends[:-1])
            texts = [letters.utf8[start:stop] for start, stop in zip(starts.tolist(), ends.tolist(), strict=True)]
            literal = self._subword.spellings[unknown_id]  # a literal `<unk>` of the text does not count
            unknown[unknown] = [texts[place].strip() != literal for place in np.flatnonzero(unknown)]
        self._compare(piece, letters.utf8, texts, unknown)
        places = np.maximum(ends[unknown] - 1, 0)
        if unknown.any():
            lacking = [texts[place].decode(errors="replace").strip() for place in np.flatnonzero(unknown)]
            self.unknowns.add(Counter(lacking), letters.utf8, int(places[0]))
            if self.skips:
                ids, ends = ids[~unknown], ends[~unknown]
            else:
                ids[unknown] = self.stand_in
        self.unknowns.advance(piece.text)
        return Batch(ids=ids, ends=ends, unknown=places, before=np.zeros_like(letters.starts))

    def layout(self, table: TokenTable) -> tuple[str | None, str]:
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
