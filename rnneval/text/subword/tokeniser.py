"""Stretches of word pieces → units and token ends, every byte of the text in one span."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from rnneval.errors import VocabularyError
from rnneval.text.layout import PLAIN, LayoutWatch
from rnneval.text.pieces import Piece
from rnneval.text.subword.base import Subword
from rnneval.text.subword.stretches import Stretch, stretches
from rnneval.text.tokenise import Batch, Reader, byte_units, marks
from rnneval.text.units import Bools, Letters
from rnneval.text.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class _Encoded(Piece):
    """A piece that was encoded already, as it was cut by its tokens."""

    stretch: Stretch


class SubwordTokeniser(Reader):
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
        """The first place at which the tokens do not give the text back, in words."""

    def pieces(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Encode the text, and cut it where its tokens end in any case."""
        for stretch in stretches(pieces, self._subword):
            yield _Encoded(text=stretch.text, starts=(0,) if stretch.first else (), stretch=stretch)

    def tokens(self, cut: Piece, piece: Letters) -> Batch:
        """Give the tokens of a piece."""
        assert isinstance(cut, _Encoded)  # noqa: S101 - one of our own pieces
        stretch, units = cut.stretch, byte_units(piece)
        ids, ends = stretch.ids.astype(np.int64), stretch.ends
        unknown = self._unknown(stretch, piece.utf8)
        self._compare(stretch, piece.utf8, unknown)
        if unknown.any():
            places = np.maximum(ends[unknown] - 1, 0)
            self.note(Counter(self._texts(stretch, piece.utf8, unknown)), units, int(places[0]))
            units = replace(units, unknown=marks(len(piece.utf8), places))
            if self.policy.skips:
                ids, ends = ids[~unknown], ends[~unknown]
            else:
                ids[unknown] = self.policy.id
        self.advance(units)
        return Batch(units=units, ids=ids, ends=ends, starts=piece.starts, before=np.zeros_like(piece.starts))

    def layout(self, watch: LayoutWatch) -> str | None:
        """Whether what the pieces spell is the text."""
        return None if self._loss else PLAIN

    def about_loss(self, name: str) -> str:
        """Say where they do not."""
        return f"{name}: {self._loss}; so there are no bits per character"

    def _unknown(self, stretch: Stretch, utf8: bytes) -> Bools:
        """Tell which tokens stand for text without a piece; a literal `<unk>` of the text is a token as any other."""
        unknown: Bools = np.equal(stretch.ids, -1 if self._subword.unknown_id is None else self._subword.unknown_id)
        if unknown.any():
            literal = self._subword.spellings[int(self._subword.unknown_id or 0)]
            spans = _spans(stretch, utf8)
            unknown[unknown] = [spans[place].strip() != literal for place in np.flatnonzero(unknown)]
        return unknown

    def _texts(self, stretch: Stretch, utf8: bytes, which: Bools) -> list[str]:
        spans = _spans(stretch, utf8)
        return [spans[place].decode(errors="replace").strip() for place in np.flatnonzero(which)]

    def _compare(self, stretch: Stretch, utf8: bytes, unknown: Bools) -> None:
        """Ask whether the pieces spell the text, once unknown ones are taken to."""
        if self._loss:
            return
        if unknown.any():
            spans = _spans(stretch, utf8)
            spelt = b"".join(
                spans[place] if unknown[place] else self._subword.spellings[id_]
                for place, id_ in enumerate(stretch.ids.tolist())
            )
        else:
            spelt = self._subword.spell(stretch.ids)
        wanted = (b" " if stretch.first and self._subword.adds_space else b"") + utf8
        if spelt != wanted:
            self._loss = _about(spelt, wanted)


def _spans(stretch: Stretch, utf8: bytes) -> list[bytes]:
    """Give the text of every token."""
    starts = np.append(0, stretch.ends[:-1])
    return [utf8[start:stop] for start, stop in zip(starts.tolist(), stretch.ends.tolist(), strict=True)]


def _about(spelt: bytes, wanted: bytes) -> str:
    """Show the first difference with a little of what is around it."""
    pairs = enumerate(zip(spelt, wanted, strict=False))
    place = next((place for place, (one, other) in pairs if one != other), min(len(spelt), len(wanted)))
    seen, given = (text[max(place - 8, 0) : place + 8].decode(errors="replace") for text in (wanted, spelt))
    return f"its tokens do not give the text back, as {seen!r} comes back as {given!r}"
