"""Documents → ids, and where each token ends: characters, bytes, words or pieces of words.

A document is encoded in pieces, so that the arrays between a text and its ids stay small. Of words, a piece ends at
white space. What a tokenizer of pieces of words makes of a place depends on a little of the text around it: a word, a
run of digits or spaces. How much is not known, so it is not assumed: a document is encoded in windows that overlap, and
a window is joined to the next in the middle of their overlap, where both have the very same tokens at the same places,
at a distance from the edges of both. Where they have not, both become longer.
"""

import re
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import TextError, VocabularyError
from rnneval.text.subword import Located, Subword, locate
from rnneval.text.units import PIECE, Bools, Bytes, Ints, code_points, is_lead, is_white
from rnneval.text.vocabulary import Vocabulary

EOS = "<eos>"
"""The token for every line feed, if a vocabulary of words has it."""
_ABSENT = -1
"""Id of a token that the vocabulary lacks."""
_SHOWN = 5
_WHITE_SPACE = re.compile(r"\s")
WINDOW = 8192
"""Characters encoded at a time."""
OVERLAP = 512
LONGEST = 1 << 20
"""Characters of a window at most."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The tokens of the next bytes of a document."""

    ids: NDArray[Any]
    """`(tokens,)`."""
    ends: Ints
    """The end of each token, in bytes from the start of these."""
    unknown: Ints
    """A byte of each character, byte or word that the vocabulary lacks, rising."""
    bytes: int


class Tokeniser(ABC):
    """Splits documents into tokens; `unknowns` counts those that the vocabulary lacks (bytes as Latin-1)."""

    kind: str
    """The kind of tokens in signatures."""
    eos_id: int | None = None
    """The id of a line feed, if it is a token among words."""
    loss = ""
    """A message about the first place at which the tokens do not spell the text."""

    def __init__(self, noun: str, vocabulary: Vocabulary, unknown: str) -> None:
        self.vocabulary = vocabulary
        self.unknowns: Counter[str] = Counter()
        self._noun = noun
        self._skips = unknown == "skip"
        self._stand_in = vocabulary.first_id  # `error`: the text is refused in the end
        if unknown not in {"error", "skip"}:
            found = vocabulary.id_of(unknown)
            if found is None:
                raise VocabularyError(
                    f"--unknown {unknown!r} is not a token of the vocabulary ({vocabulary.source}): "
                    "give error, skip, or one of its tokens"
                )
            self._stand_in = found

    @abstractmethod
    def batches(self, document: str) -> Iterator[Batch]:
        """Yield the tokens of a document, of all its bytes in their order."""

    def describe_unknowns(self, of: str, first: str) -> str:
        """Return a message with their number, the most frequent ones and the first place; `of` names the text."""
        total, distinct = self.unknowns.total(), len(self.unknowns)
        some = ", ".join(self._show(token) for token, _ in self.unknowns.most_common(_SHOWN))
        more = ", …" if distinct > _SHOWN else ""
        return (
            f"{of} has {total:,} {self._noun}{'s' * (total != 1)} the vocabulary lacks ({distinct:,} distinct: "
            f"{some}{more}; first at {first})"
        )

    def advice(self) -> str:
        """Return the likely causes of unknown tokens, and what to do."""
        said = []
        if any("\r" in token for token in self.unknowns):
            said.append("--newlines lf turns CRLF and CR into LF")
        if not self.vocabulary.has_capitals and any(token.lower() in self.vocabulary.ids for token in self.unknowns):
            said.append("some are known in lower case: --normalize lower")
        advice = "give the vocabulary the model was trained with, or --unknown skip, or --unknown TOKEN"
        if (unk := self.vocabulary.unknown) is not None:
            advice = f"--unknown '{unk}' maps them to the vocabulary's own {unk}, as is the convention; or {advice}"
        return "; ".join([*said, advice])

    def _show(self, token: str) -> str:
        if self._noun == "byte":
            return f"0x{ord(token):02X}"
        return f"{token!r} (U+{ord(token):04X})" if len(token) == 1 else repr(token[:40])

    def _batch(self, ids: NDArray[Any], ends: Ints, unknown: Bools, places: Ints, size: int) -> Batch:
        """Return a batch without the unknown tokens, or with the id that stands for them; `places` are theirs."""
        if self._skips:
            ids, ends = ids[~unknown], ends[~unknown]
        else:
            ids = np.where(unknown, self._stand_in, ids)
        return Batch(ids=ids, ends=ends, unknown=places, bytes=size)


class UnitTokeniser(Tokeniser):
    """One code point per token, or one byte of UTF-8."""

    def __init__(self, kind: str, vocabulary: Vocabulary, unknown: str) -> None:
        super().__init__("character" if kind == "char" else "byte", vocabulary, unknown)
        self.kind = kind
        end = 256 if kind == "byte" else sys.maxunicode + 1
        ids = {ord(token): id_ for token, id_ in vocabulary.ids.items() if len(token) == 1 and ord(token) < end}
        self._table = np.full(max(ids, default=-1) + 2, _ABSENT, np.int32)  # the last entry is for all beyond
        self._table[list(ids)] = list(ids.values())

    def batches(self, document: str) -> Iterator[Batch]:
        """Make a token of each character, or of each byte."""
        for start in range(0, len(document), PIECE):
            utf8 = as_bytes(document[start : start + PIECE])
            values: NDArray[Any] = utf8
            begins = np.arange(len(utf8))
            if self.kind == "char":
                values, begins = code_points(utf8), np.flatnonzero(is_lead(utf8))
            ids = self._table.take(values, mode="clip")
            unknown = ids == _ABSENT
            points, counts = np.unique(values[unknown], return_counts=True)
            self.unknowns.update(dict(zip(map(chr, points), counts.tolist(), strict=True)))
            yield self._batch(ids, np.append(begins[1:], len(utf8)), unknown, begins[unknown], len(utf8))


class WordTokeniser(Tokeniser):
    """Words of `str.split`; with `<eos>` in the vocabulary, every line feed is a token too."""

    def __init__(self, vocabulary: Vocabulary, unknown: str) -> None:
        super().__init__("word", vocabulary, unknown)
        self._ids = dict(vocabulary.ids)  # a plain dict answers twice as fast
        self.eos_id = vocabulary.ids.get(EOS)
        self.kind = "word" if self.eos_id is None else "word+eos"

    def batches(self, document: str) -> Iterator[Batch]:
        """Split a document into words and, with `<eos>`, line feeds."""
        for piece in between_words(document):
            words, utf8 = piece.split(), as_bytes(piece)
            ids = np.array(list(map(self._ids.get, words, repeat(_ABSENT))), np.int64)
            if self.eos_id is not None and (ids == self.eos_id).any():
                self.loss = "it has the word <eos> itself, which is also the token of a line feed"
            white = is_white(utf8)
            begins = np.flatnonzero(~white & np.append(True, white[:-1]))
            ends = np.flatnonzero(~white & np.append(white[1:], True)) + 1
            unknown = ids == _ABSENT
            self.unknowns.update(Counter(words[place] for place in np.flatnonzero(unknown)))
            batch = self._batch(ids, ends, unknown, begins[unknown], len(utf8))
            if self.eos_id is not None:  # line feeds are tokens of their own, between the words
                lines = np.flatnonzero(utf8 == 0x0A) + 1
                ends = np.concatenate([batch.ends, lines])
                order = np.argsort(ends, kind="stable")
                ids = np.concatenate([batch.ids, np.full(len(lines), self.eos_id)])
                batch = Batch(ids=ids[order], ends=ends[order], unknown=batch.unknown, bytes=batch.bytes)
            yield batch


def as_bytes(text: str) -> Bytes:
    """Return the bytes of a text in UTF-8, `(n,)`."""
    return np.frombuffer(text.encode(), np.uint8)


def between_words(document: str) -> Iterator[str]:
    """Cut a document into pieces of a million characters or a little more, each but the first at white space."""
    start = 0
    while start < len(document):
        found = _WHITE_SPACE.search(document, start + PIECE)
        stop = found.start() if found else len(document)
        yield document[start:stop]
        start = stop


class SubwordTokeniser(Tokeniser):
    """Pieces of words, by the tokenizer that the vocabulary comes from."""

    def __init__(self, vocabulary: Vocabulary, unknown: str) -> None:
        super().__init__("piece", vocabulary, unknown)
        if vocabulary.subword is None:
            raise VocabularyError(
                f"--tokens subword needs a tokenizer, and the vocabulary ({vocabulary.source}) is a list of tokens: "
                "give --vocab tokenizer.json (Hugging Face) or a .model file of SentencePiece"
            )
        self._subword: Subword = vocabulary.subword
        self.kind = f"subword-{self._subword.sha256[:8]}"

    def batches(self, document: str) -> Iterator[Batch]:
        """Encode a document in windows, and cut it where tokens end in both of two."""
        before = b" " if self._subword.adds_space else b""
        for located, utf8 in _excerpts(document, self._subword):
            yield self._tokens(located, utf8, before)
            before = b""

    def _tokens(self, located: Located, utf8: bytes, before: bytes) -> Batch:
        """Return the tokens of some bytes, before which the tokenizer reads others."""
        ids, ends = located.ids, located.ends
        unknown_id = -1 if self._subword.unknown_id is None else self._subword.unknown_id
        unknown: Bools = np.equal(ids, unknown_id)
        spelt = list(map(self._subword.spellings.__getitem__, ids.tolist()))
        if unknown.any():
            starts = np.append(0, ends[:-1])
            for place in np.flatnonzero(unknown).tolist():
                text = utf8[starts[place] : ends[place]]
                unknown[place] = text.strip() != spelt[place]  # a literal `<unk>` of the text does not count
                if unknown[place]:
                    spelt[place] = text  # its own text is assumed
        if not self.loss:
            self.loss = _difference(b"".join(spelt), before + utf8)
        lacking = [spelt[place].decode(errors="replace").strip() for place in np.flatnonzero(unknown)]
        self.unknowns.update(Counter(lacking))
        return self._batch(ids, ends, unknown, np.maximum(ends[unknown] - 1, 0), len(utf8))


def _difference(spelt: bytes, wanted: bytes) -> str:
    """Describe the first place where pieces do not spell the text; "" if they do."""
    if spelt == wanted:
        return ""
    pairs = enumerate(zip(spelt, wanted, strict=False))
    place = next((place for place, (one, other) in pairs if one != other), min(len(spelt), len(wanted)))
    seen, back = (text[max(place - 8, 0) : place + 8].decode(errors="replace") for text in (wanted, spelt))
    return f"its tokens do not give the text back, as {seen!r} comes back as {back!r}"


def _excerpts(text: str, subword: Subword) -> Iterator[tuple[Located, bytes]]:
    """Yield the bytes of a text with their tokens, in excerpts that begin and end where tokens do."""
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


def _excerpt(located: Located, utf8: bytes, done: int, *, first: bool) -> tuple[Located, bytes]:
    """Return the bytes that follow the first `done` ones of a window, with their tokens."""
    which = (located.ends <= done + len(utf8)) & ((located.ends > done) | first)
    return Located(ids=located.ids[which], ends=located.ends[which] - done), utf8


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
    lead = is_lead(np.frombuffer(shared, np.uint8)[inner - shift])
    places = inner[lead & (ends[:-2] < inner) & (inner < ends[2:])]  # and none there shares its character with the next
    return int(places[-1]) if len(places) else None
