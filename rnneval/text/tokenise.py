"""Documents → ids, and where each token ends: characters, bytes, words or pieces of words.

Characters and words are taken a million characters at a time, so that the arrays between a text and its ids stay small.
What a tokenizer of pieces of words makes of a place depends on the text around it: it gets a document as a whole.
"""

import re
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnneval.arrays import Ints
from rnneval.errors import VocabularyError
from rnneval.text.subword import locate
from rnneval.text.units import PIECE, Bools, code_points, is_lead, is_white
from rnneval.text.vocabulary import Vocabulary

EOS = "<eos>"  # the token for every line feed, if a vocabulary of words has it
_ABSENT = -1  # id of a token that the vocabulary lacks
_SHOWN = 5
_WHITE_SPACE = re.compile(r"\s")


class Batch(NamedTuple):
    """The tokens of the next bytes of a document."""

    ids: NDArray[Any]  # `(tokens,)`
    ends: Ints  # the end of each token, in bytes from the start of these
    unknown: Ints  # a byte of each character, byte or word that the vocabulary lacks, rising
    bytes: int


class Tokeniser(ABC):
    """Splits documents into tokens; `unknowns` counts those that the vocabulary lacks (bytes as Latin-1)."""

    kind: str  # the kind of tokens in signatures
    eos_id: int | None = None  # the id of a line feed, if it is a token among words
    drops_white_space = False  # whether the tokens alone do not say what stands between them
    why_lossy: str | None = None  # a message about the first place at which the tokens do not spell the text

    def __init__(self, noun: str, vocabulary: Vocabulary, unknown: str) -> None:
        self.vocabulary = vocabulary
        self.unknowns: Counter[str] = Counter()
        self._noun = noun
        self._skips = unknown == "skip"
        named = unknown not in {"error", "skip"}
        stand_in = vocabulary.id_of(unknown) if named else vocabulary.first_id  # `error`: it is refused in the end
        if stand_in is None:
            said = f"--unknown {unknown!r} is not a token of the vocabulary ({vocabulary.source})"
            raise VocabularyError(f"{said}: give error, skip, or one of its tokens")
        self._stand_in = stand_in

    @abstractmethod
    def batches(self, document: str) -> Iterator[Batch]:
        """Yield the tokens of a document, of all its bytes in their order."""

    def describe_unknowns(self, of: str, first: str) -> str:
        """Return a message with their number, the most frequent ones and the first place; `of` names the text."""
        total, distinct = self.unknowns.total(), len(self.unknowns)
        some = [self._show(token) for token, _ in self.unknowns.most_common(_SHOWN)] + ["…"] * (distinct > _SHOWN)
        lacked = f"{total:,} {self._noun}{'s' * (total != 1)} the vocabulary lacks"
        return f"{of} has {lacked} ({distinct:,} distinct: {', '.join(some)}; first at {first})"

    def advice(self) -> str:
        """Return the likely causes of unknown tokens, and what to do."""
        advice = "give the vocabulary the model was trained with, or --unknown skip, or --unknown TOKEN"
        if (unk := self.vocabulary.unknown) is not None:
            advice = f"--unknown '{unk}' maps them to the vocabulary's own {unk}, as is the convention; or {advice}"
        if not self.vocabulary.has_capitals and any(token.lower() in self.vocabulary.ids for token in self.unknowns):
            advice = f"some are known in lower case: --normalize lower; {advice}"
        if any("\r" in token for token in self.unknowns):
            advice = f"--newlines lf turns CRLF and CR into LF; {advice}"
        return advice

    def _show(self, token: str) -> str:
        if self._noun == "byte":
            return f"0x{ord(token):02X}"
        return f"{token!r} (U+{ord(token):04X})" if len(token) == 1 else repr(token[:40])

    def _batch(self, ids: NDArray[Any], ends: Ints, unknown: Bools, places: Ints, size: int) -> Batch:
        """Return a batch without the unknown tokens, or with the id that stands for them; `places` are theirs."""
        if self._skips:
            return Batch(ids=ids[~unknown], ends=ends[~unknown], unknown=places, bytes=size)
        return Batch(ids=np.where(unknown, self._stand_in, ids), ends=ends, unknown=places, bytes=size)


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
            utf8 = np.frombuffer(document[start : start + PIECE].encode(), np.uint8)
            values = code_points(utf8) if self.kind == "char" else utf8
            begins = np.flatnonzero(is_lead(utf8)) if self.kind == "char" else np.arange(len(utf8))
            ids = self._table.take(values, mode="clip")
            unknown = ids == _ABSENT
            points, counts = np.unique(values[unknown], return_counts=True)
            self.unknowns.update(dict(zip(map(chr, points), counts.tolist(), strict=True)))
            yield self._batch(ids, np.append(begins[1:], len(utf8)), unknown, begins[unknown], len(utf8))


class WordTokeniser(Tokeniser):
    """Words of `str.split`; with `<eos>` in the vocabulary, every line feed is a token too."""

    drops_white_space = True

    def __init__(self, vocabulary: Vocabulary, unknown: str) -> None:
        super().__init__("word", vocabulary, unknown)
        self._ids = dict(vocabulary.ids)  # a plain dict answers twice as fast
        self.eos_id = vocabulary.ids.get(EOS)
        self.kind = "word" if self.eos_id is None else "word+eos"

    def batches(self, document: str) -> Iterator[Batch]:
        """Split a document into words and, with `<eos>`, line feeds; cut into pieces at white space."""
        start = 0
        while start < len(document):
            found = _WHITE_SPACE.search(document, start + PIECE)
            stop = found.start() if found else len(document)
            yield self._of_piece(document[start:stop])
            start = stop

    def _of_piece(self, piece: str) -> Batch:
        words, utf8 = piece.split(), np.frombuffer(piece.encode(), np.uint8)
        ids = np.array(list(map(self._ids.get, words, repeat(_ABSENT))), np.int64)
        white = is_white(utf8)
        begins = np.flatnonzero(~white & np.append(True, white[:-1]))
        ends = np.flatnonzero(~white & np.append(white[1:], True)) + 1
        unknown = ids == _ABSENT
        self.unknowns.update(words[place] for place in np.flatnonzero(unknown))
        batch = self._batch(ids, ends, unknown, begins[unknown], len(utf8))
        if self.eos_id is None:
            return batch
        if (ids == self.eos_id).any():
            self.why_lossy = "it has the word <eos> itself, which is also the token of a line feed"
        lines = np.flatnonzero(utf8 == 0x0A) + 1  # tokens of their own, between the words
        ends, ids = np.append(batch.ends, lines), np.append(batch.ids, np.full(len(lines), self.eos_id))
        order = np.argsort(ends, kind="stable")
        return batch._replace(ids=ids[order], ends=ends[order])


class SubwordTokeniser(Tokeniser):
    """Pieces of words, by the tokenizer that the vocabulary comes from."""

    def __init__(self, vocabulary: Vocabulary, unknown: str) -> None:
        super().__init__("piece", vocabulary, unknown)
        if vocabulary.subword is None:
            said = f"--tokens subword needs a tokenizer, and the vocabulary ({vocabulary.source}) is a list of tokens"
            advice = "give --vocab tokenizer.json (Hugging Face) or a .model file of SentencePiece"
            raise VocabularyError(f"{said}: {advice}")
        self._subword, self._unknown_id = vocabulary.subword, vocabulary.subword.unknown_id
        self.kind = f"subword-{self._subword.sha256[:8]}"

    def batches(self, document: str) -> Iterator[Batch]:
        """Encode a document; a literal `<unk>` of the text is no unknown piece."""
        utf8 = document.encode()
        ids, ends, spelt = locate(self._subword, document)
        starts = np.append(0, ends[:-1])
        unknown: Bools = np.zeros(len(ids), bool) if self._unknown_id is None else ids == self._unknown_id
        for place in np.flatnonzero(unknown).tolist():
            text = utf8[starts[place] : ends[place]]
            unknown[place] = text.strip() != spelt[place]
            if unknown[place]:
                spelt[place] = text  # its own text is assumed
                self.unknowns[text.decode(errors="replace").strip()] += 1
        whole = b"".join(spelt)
        if whole != b" " + utf8 and (whole != utf8 or self._subword.adds_space):
            self.why_lossy = self.why_lossy or _difference(whole, b" " * self._subword.adds_space + utf8)
        yield self._batch(ids, ends, unknown, np.maximum(ends[unknown] - 1, 0), len(utf8))


def _difference(spelt: bytes, wanted: bytes) -> str:
    """Describe the first place where pieces do not spell the text."""
    pairs = enumerate(zip(spelt, wanted, strict=False))
    place = next((place for place, (one, other) in pairs if one != other), min(len(spelt), len(wanted)))
    seen, back = (text[max(place - 8, 0) : place + 8].decode(errors="replace") for text in (wanted, spelt))
    return f"its tokens do not give the text back, as {seen!r} comes back as {back!r}"


def tokeniser_of(vocabulary: Vocabulary, kind: str | None, unknown: str) -> Tokeniser:
    """Return the tokeniser of a kind, by default that of the vocabulary; `unknown` is `error`, `skip` or a token."""
    kind = kind or vocabulary.kind
    if kind == "subword":
        return SubwordTokeniser(vocabulary, unknown)
    return WordTokeniser(vocabulary, unknown) if kind == "word" else UnitTokeniser(kind, vocabulary, unknown)
