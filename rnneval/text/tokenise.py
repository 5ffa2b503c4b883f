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

import re
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import TextError, VocabularyError
from rnneval.text.subword import Located, Subword, locate
from rnneval.text.table import Batch, TokenTable
from rnneval.text.units import Bools, Letters, byte_starts
from rnneval.text.vocabulary import Vocabulary

PLAIN = "plain"
PADDED = "padded"
EOS = "<eos>"
"""The token for every line feed, if a vocabulary of words has it."""
_ABSENT = -1
"""Id of a token that the vocabulary lacks."""
_SHOWN = 5
_CHUNK = 1 << 16
PIECE = 1 << 20
"""Characters split at a time."""
_WHITE_SPACE = re.compile(r"\s")
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
        self.first = 0
        """Characters of the final text before the first one."""
        self._counts: Counter[str] = Counter()
        self._counted_every_distinct = True
        self._characters = 0
        """Characters of the final text before the present piece."""

    def add(self, counts: Mapping[str, int], utf8: bytes, first: int) -> None:
        """Count unknown tokens of a piece, the first of which begins at byte `first`."""
        if not self.total:
            self.first = self._characters + len(utf8[:first].decode(errors="ignore"))
        self.total += sum(counts.values())
        for token, count in counts.items():
            if token in self._counts or len(self._counts) < _REMEMBERED:
                self._counts[token] += count
            else:
                self._counted_every_distinct = False

    def advance(self, text: str) -> None:
        """Move on to the end of a piece."""
        self._characters += len(text)

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


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Some characters of a document, at least one."""

    text: str
    first: bool
    """Whether the document begins here."""
    tokens: Located | None = None
    """Its tokens, if they are known."""


def slices(document: str, *, between_words: bool = False) -> Iterator[Piece]:
    """Cut a document into pieces of a million characters, or a little more if only between words."""
    start = 0
    while start < len(document):
        stop = start + PIECE
        if between_words:
            found = _WHITE_SPACE.search(document, stop)
            stop = found.start() if found else len(document)
        yield Piece(text=document[start:stop], first=start == 0)
        start = stop


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

    def pieces(self, document: str) -> Iterator[Piece]:
        """Cut a document at places where tokens end, and drop nothing: no character or byte crosses them."""
        return slices(document)

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
        begins = byte_starts(letters)
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

    def pieces(self, document: str) -> Iterator[Piece]:
        """Cut a document between words."""
        return slices(document, between_words=True)

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
        begins = byte_starts(letters)
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


def _excerpts(text: str, subword: Subword) -> Iterator[Piece]:
    """Yield a document in pieces that begin and end where tokens do; `ends` of tokens count from the piece's start."""
    size, overlap = WINDOW, OVERLAP
    begin, done = 0, 0  # the first character of the window, and the bytes of it that were yielded already
    known: tuple[int, Located] | None = None  # a number of characters of the window, and their tokens
    while begin < len(text):
        window, last = text[begin : begin + size], begin + size >= len(text)
        if size > LONGEST and not last:
            raise TextError(
                f"more than {LONGEST:,} characters, beginning {window[:30]!r}, have no place where the tokenizer "
                f"({subword.name}) parts them whatever follows: is this text? --documents blank-line or file gives "
                "shorter documents"
            )
        left = known[1] if known is not None and known[0] == len(window) else locate(subword, window)
        if last:
            yield _excerpt(left, window.encode()[done:], done, first=begin == 0)
            return
        start = begin + size - overlap
        following = text[start : start + size]
        right, shift = locate(subword, following), len(text[begin:start].encode())
        place = _agreed(left, right, shift, text[start : begin + size].encode())
        if place is None:
            size, overlap = 2 * size, 2 * overlap
            continue
        yield _excerpt(left, window.encode()[done:place], done, first=begin == 0)
        begin, done, known = start, place - shift, (len(following), right)
        size, overlap = WINDOW, OVERLAP


def _excerpt(located: Located, utf8: bytes, done: int, *, first: bool) -> Piece:
    """Return the bytes that follow the first `done` ones of a window, with their tokens."""
    which = (located.ends <= done + len(utf8)) & ((located.ends > done) | first)
    tokens = Located(ids=located.ids[which], ends=located.ends[which] - done)
    return Piece(text=utf8.decode(), first=first, tokens=tokens)


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

    def pieces(self, document: str) -> Iterator[Piece]:
        """Encode a document, and cut it where tokens end in both windows."""
        return _excerpts(document, self._subword)

    def tokens(self, piece: Piece, letters: Letters) -> Batch:
        """Return the tokens of a piece that is already encoded."""
        assert piece.tokens is not None  # noqa: S101 - one of our own pieces
        found = piece.tokens.ids
        ids, ends = found.astype(np.int64), piece.tokens.ends
        unknown_id = -1 if self._subword.unknown_id is None else self._subword.unknown_id
        unknown: Bools = np.equal(found, unknown_id)
        texts: list[bytes] = []
        if unknown.any():
            starts = np.append(0, ends[:-1])
            texts = [letters.utf8[start:stop] for start, stop in zip(starts.tolist(), ends.tolist(), strict=True)]
            literal = self._subword.spellings[unknown_id]  # a literal `<unk>` of the text does not count
            unknown[unknown] = [texts[place].strip() != literal for place in np.flatnonzero(unknown)]
        self._compare(found, (b" " if piece.first and self._subword.adds_space else b"") + letters.utf8, texts, unknown)
        places = np.maximum(ends[unknown] - 1, 0)
        if unknown.any():
            lacking = [texts[place].decode(errors="replace").strip() for place in np.flatnonzero(unknown)]
            self.unknowns.add(Counter(lacking), letters.utf8, int(places[0]))
            if self.skips:
                ids, ends = ids[~unknown], ends[~unknown]
            else:
                ids[unknown] = self.stand_in
        self.unknowns.advance(piece.text)
        return Batch(ids=ids, ends=ends, unknown=places)

    def layout(self, table: TokenTable) -> tuple[str | None, str]:
        """Return `plain` if the pieces spell the text."""
        return (None, self._loss) if self._loss else (PLAIN, "")

    def _compare(self, ids: NDArray[np.int32], wanted: bytes, texts: list[bytes], unknown: Bools) -> None:
        """Note the first place where the pieces do not spell the text; unknown ones are assumed to."""
        if self._loss:
            return
        if unknown.any():
            known = map(self._subword.spellings.__getitem__, ids.tolist())
            spelt = b"".join(
                text if lacks else piece for text, lacks, piece in zip(texts, unknown.tolist(), known, strict=True)
            )
        else:
            spelt = self._subword.spell(ids)
        if spelt != wanted:
            pairs = enumerate(zip(spelt, wanted, strict=False))
            place = next((place for place, (one, other) in pairs if one != other), min(len(spelt), len(wanted)))
            seen, given = (text[max(place - 8, 0) : place + 8].decode(errors="replace") for text in (wanted, spelt))
            self._loss = f"its tokens do not give the text back, as {seen!r} comes back as {given!r}"
