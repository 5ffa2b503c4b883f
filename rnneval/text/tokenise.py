"""Pieces of text → units and token ends: characters, bytes or words."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import VocabularyError
from rnneval.text.layout import PLAIN, LayoutWatch
from rnneval.text.pieces import Piece, whole_words
from rnneval.text.units import Bools, Counts, Ints, Letters, Units, bytes_before, look_up
from rnneval.text.unknown import Place, Unknowns
from rnneval.text.vocabulary import Vocabulary

EOS = "<eos>"
"""A word vocabulary that has it reads every line feed as this token."""
_ABSENT = -1


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A piece of text as tokens: units `(n,)`, ids `(tokens,)`."""

    units: Units
    ids: NDArray[Any]
    ends: Ints | None
    """Where each token ends, in units; None where every unit is a token."""
    starts: Ints
    """Units at which a document starts."""
    before: Ints | None = None
    """How many of the tokens stand before each start, where one that ends there may belong to either side."""


class Tokeniser(Protocol):
    """Splits pieces into tokens; what it does not know it tells `unknowns`."""

    kind: str
    unknowns: Unknowns
    narrow: bool
    """Every token is one character or byte."""
    eos_id: int | None
    """What a line feed is, where it is a token among words."""

    def pieces(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Cut a text in places where its tokens end; nothing is left out."""
        ...

    def tokens(self, cut: Piece, piece: Letters) -> Batch:
        """Split one of those pieces."""
        ...

    def layout(self, watch: LayoutWatch) -> str | None:
        """Give how white space can be told from the tokens, or None where the tokens do not give the text back."""
        ...

    def about_loss(self, name: str) -> str:
        """Say why they do not; `name` is the text's."""
        ...


class _Policy:
    """What becomes of unknown tokens: `id` stands for them, or they are dropped (None)."""

    def __init__(self, vocabulary: Vocabulary, unknown: str) -> None:
        self.skips = unknown == "skip"
        self.id = vocabulary.first_id  # `error`: any will do, as the text is refused in the end
        if unknown not in {"error", "skip"}:
            if unknown not in vocabulary.ids:
                raise VocabularyError(
                    f"--unknown {unknown!r} is not a token of the vocabulary ({vocabulary.source}): "
                    "give error, skip, or one of its tokens"
                )
            self.id = vocabulary.ids[unknown]


class Reader:
    """Keeps count of where in the text a tokeniser is; what most have in common."""

    kind = ""
    narrow = True
    eos_id: int | None = None

    def __init__(self, kind: str, vocabulary: Vocabulary, unknown: str) -> None:
        self.unknowns = Unknowns(kind)
        self.policy = _Policy(vocabulary, unknown)
        self._characters = 0
        self._lines = 1

    def pieces(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Leave the pieces as they are: a character or byte is whole in any."""
        yield from pieces

    def layout(self, watch: LayoutWatch) -> str | None:
        """Characters and bytes are plainly themselves."""
        return PLAIN

    def about_loss(self, name: str) -> str:
        """Say which tokens do not give the text back."""
        return f"{name}: its {self.kind} tokens do not give the text back; so there are no bits per character"

    def note(self, counts: dict[str, int], units: Units, first: int) -> None:
        """Count unknown tokens, the first of which begins at unit `first` of the piece."""
        before = int(units.characters[: first + 1].sum()) - 1
        line = self._lines + int(units.newlines[:first].sum())
        self.unknowns.add(counts, Place(character=self._characters + before, line=line))

    def advance(self, units: Units) -> None:
        """Go on to the end of a piece."""
        self._characters += int(units.characters.sum())
        self._lines += int(units.newlines.sum())

    def _every_unit(self, units: Units, ids: NDArray[Any], values: NDArray[Any], starts: Ints) -> Batch:
        """Make each unit a token; `values` are code points or bytes."""
        unknown = ids == _ABSENT
        ends = None
        if unknown.any():
            points, counts = np.unique(values[unknown], return_counts=True)
            self.note(dict(zip(map(chr, points), counts.tolist(), strict=True)), units, int(unknown.argmax()))
            if self.policy.skips:
                ends = np.flatnonzero(~unknown) + 1
                ids = ids[~unknown]
            else:
                ids[unknown] = self.policy.id
        self.advance(units)
        return Batch(units=replace(units, unknown=unknown), ids=ids, ends=ends, starts=starts)


class CharTokeniser(Reader):
    """One code point a token."""

    kind = "char"

    def __init__(self, vocabulary: Vocabulary, unknown: str) -> None:
        super().__init__("char", vocabulary, unknown)
        self._table = _table({ord(token): id_ for token, id_ in vocabulary.ids.items() if len(token) == 1})

    def tokens(self, cut: Piece, piece: Letters) -> Batch:
        """Split a piece."""
        n = len(piece.points)
        units = Units(
            characters=np.ones(n, np.uint8),
            bytes=piece.widths,
            words=piece.begins,
            newlines=piece.newline,
            unknown=np.zeros(n, bool),
            runs_on=piece.runs_on,
        )
        return self._every_unit(units, look_up(self._table, piece.points), piece.points, piece.starts)


class ByteTokeniser(Reader):
    """One byte of UTF-8 a token; a character and a word are counted at their first byte."""

    kind = "byte"

    def __init__(self, vocabulary: Vocabulary, unknown: str) -> None:
        super().__init__("byte", vocabulary, unknown)
        ids = vocabulary.ids.items()
        self._table = _table({ord(token): id_ for token, id_ in ids if len(token) == 1 and ord(token) < 256})

    def tokens(self, cut: Piece, piece: Letters) -> Batch:
        """Split a piece."""
        values = np.frombuffer(piece.utf8, np.uint8)
        units = byte_units(piece)
        return self._every_unit(units, look_up(self._table, values), values, bytes_before(piece, piece.starts))


class WordTokeniser(Reader):
    """What `str.split` gives; with `<eos>` in the vocabulary also every line feed."""

    narrow = False

    def __init__(self, vocabulary: Vocabulary, unknown: str) -> None:
        super().__init__("word", vocabulary, unknown)
        self._ids = dict(vocabulary.ids)  # a plain dict answers twice as fast
        self.eos_id = vocabulary.ids.get(EOS)
        self.kind = "word" if self.eos_id is None else "word+eos"
        self._literal_eos = False
        """The text itself has the word `<eos>`."""

    def pieces(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Cut where no word is cut."""
        return whole_words(pieces)

    def layout(self, watch: LayoutWatch) -> str | None:
        """Give one of the two ways of writing lines of words."""
        return None if self._literal_eos else watch.layout

    def about_loss(self, name: str) -> str:
        """Say what the words do not tell."""
        return (
            f"{name}: its white space cannot be told from its words: neither single spaces between "
            "words (plain) nor one before every word and line end (padded); so there are no bits per character"
        )

    def tokens(self, cut: Piece, piece: Letters) -> Batch:
        """Split a piece, which must not end within a word."""
        words = cut.text.split()
        ids = np.array(list(map(self._ids.get, words, repeat(_ABSENT))), np.int64)
        self._literal_eos = self._literal_eos or (self.eos_id is not None and bool((ids == self.eos_id).any()))
        units = self._units(piece)
        ends = np.flatnonzero(~piece.space & np.append(piece.space[1:], True)) + 1
        absent = np.flatnonzero(ids == _ABSENT)
        if len(absent):
            first = int(np.flatnonzero(piece.begins)[absent[0]])
            self.note(Counter(words[place] for place in absent), units, first)
            units = replace(units, unknown=marks(len(piece.points), ends[absent] - 1))
            ids[absent] = self.policy.id
        self.advance(units)
        kept = marks(len(ids), absent, invert=True) if self.policy.skips else slice(None)
        return self._with_lines(Batch(units=units, ids=ids[kept], ends=ends[kept], starts=piece.starts))

    def _units(self, piece: Letters) -> Units:
        n = len(piece.points)
        return Units(
            characters=np.ones(n, np.uint8),
            bytes=piece.widths,
            words=piece.begins,
            newlines=piece.newline,
            unknown=np.zeros(n, bool),
            runs_on=piece.runs_on,
            gap=piece.space if self.eos_id is None else piece.space & ~piece.newline,
            blank=piece.points == 0x20,
        )

    def _with_lines(self, words: Batch) -> Batch:
        """Put the line feeds, which are tokens of their own, between the words."""
        if self.eos_id is None or words.ends is None:
            return words
        lines = np.flatnonzero(words.units.newlines) + 1
        ends = np.concatenate([words.ends, lines])
        order = np.argsort(ends, kind="stable")
        ids = np.concatenate([words.ids, np.full(len(lines), self.eos_id)])
        return replace(words, ids=ids[order], ends=ends[order])


def _table(ids: dict[int, int]) -> NDArray[np.int32]:
    """Give the id of each code point (or byte), −1 for none; the last entry stands for all beyond."""
    table = np.full(max(ids, default=-1) + 2, _ABSENT, np.int32)
    table[list(ids)] = list(ids.values())
    return table


def byte_units(piece: Letters) -> Units:
    """Give what is counted at each byte of a piece; a character and a word are counted at their first."""
    values = np.frombuffer(piece.utf8, np.uint8)
    lead = (values & 0xC0) != 0x80
    return Units(
        characters=lead,
        bytes=np.ones(len(values), np.uint8),
        words=_at(lead, piece.begins),
        newlines=values == 0x0A,
        unknown=np.zeros(len(values), bool),
        runs_on=np.repeat(~piece.space, piece.widths) & ~_at(lead, piece.begins),
    )


def _at(lead: Bools, of_characters: Counts) -> Bools:
    """Spread a fact of characters over bytes, at each one's first."""
    spread = np.zeros(len(lead), bool)
    spread[lead] = of_characters
    return spread


def marks(size: int, places: Ints, *, invert: bool = False) -> Bools:
    """Give `size` times False, but True at the places; or the other way round."""
    found = np.full(size, invert)
    found[places] = not invert
    return found
