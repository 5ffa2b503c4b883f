"""A text as ids, on the disk, with what every token stands for."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rnneval.records import run
from rnneval.text.blocks import BlockCuts
from rnneval.text.layout import PLAIN, text_of_words
from rnneval.text.sources import TakenFile
from rnneval.text.spool import Spans, Spool
from rnneval.text.tokenise import EOS
from rnneval.text.units import Bools, Ints
from rnneval.text.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class Document:
    """A range of tokens between which the state is carried."""

    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class TokenSlice:
    """Some tokens in a row and their spans; every array has the shape `(n,)`.

    A token's span reaches from the end of the token before to its own end, so that sums over all tokens are those of
    the text: the white space before a word is the word's; text after a document's last token is that token's.
    """

    ids: NDArray[np.int32]
    characters: Ints
    bytes: Ints
    words: Ints
    """Maximal runs of characters that are not white space, at the token in whose span they begin; see `read`."""
    newlines: Ints
    """Line feeds."""
    unknown: Ints
    """Characters, bytes or words that the vocabulary lacks: skipped within the span, or mapped to this token."""
    byte_start: Ints
    byte_end: Ints
    """Where the span lies in the final text."""
    runs_on: Bools
    """The span begins within a word: the character before it, in the same document, is not white space either."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedText:
    """The final text as ids, counted exactly. A context manager: leaving it gives the temporary file back."""

    tokens: int
    document_starts: Ints
    """First token of each document, `(documents,)`; a document without any token is not among them."""
    document_stops: Ints
    """One past the last token of each document, `(documents,)`."""
    text_documents: int
    """Documents of the text, those without any token too: what `blocks.document` counts."""
    unknown: int
    """Characters, bytes or words that the vocabulary lacks, over the whole text."""
    lossless: bool
    """The tokens give the text back, character for character (`decode`)."""
    layout: str | None
    """`plain` or `padded` where the white space of the text can be told from its tokens (see `decode`)."""
    token_kind: str
    """`char`, `byte`, `word`, `word+eos` where line feeds are tokens, or `subword-` and 8 digits of the tokenizer."""
    files: tuple[run.TextFile, ...]
    taken: tuple[TakenFile, ...]
    """The same files, each with its characters that are part of the text."""
    sha256: str
    """Of the final text in UTF-8, documents end to end."""
    characters: int
    bytes: int
    words: int
    """Maximal runs of characters that are not white space; a document's end ends a word."""
    warnings: tuple[run.Warning, ...]
    vocabulary: Vocabulary
    blocks: BlockCuts
    signature_part: str
    """Such as `tok:char|norm:none|newlines:keep|unk:error|docs:one`."""
    spool: Spool = field(repr=False)
    """Where the tokens are; use `read`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the temporary file back; nothing can be read after that."""
        self.spool.close()

    @cached_property
    def documents(self) -> tuple[Document, ...]:
        """The same as `document_starts` and `document_stops`, as objects: for few documents."""
        pairs = zip(self.document_starts.tolist(), self.document_stops.tolist(), strict=True)
        return tuple(Document(start=start, stop=stop) for start, stop in pairs)

    def block_of(self, byte_start: Ints) -> Ints:
        """Give the block of each token by its span's first byte; int64 `(n,)` → int64 `(n,)`."""
        return self.blocks.block_of(byte_start)

    def ids(self, start: int, stop: int) -> NDArray[np.int32]:
        """Give the ids of tokens start to stop, int32 `(stop − start,)`: `read` without the counting.

        Raises:
            IndexError: not a range of this text's tokens.
        """
        self._check(start, stop)
        return self.spool.ids(start, stop)

    def read(self, start: int, stop: int, *, scored_from: int = 1) -> TokenSlice:
        """Give tokens start to stop, in any order of calls, in time O(stop − start).

        Args:
            start: First token.
            stop: One past the last.
            scored_from: How many tokens at the start of each document are without a score. Where a word runs on from
                the last of these into the first scored one, it counts at the latter, and no longer at the former:
                so `words` summed over the scored tokens are the words of the scored text, and over all tokens
                those of the text. With 2 or more, where the word began still earlier, the last unscored token has −1.
                0: every word stays where it begins.

        Raises:
            IndexError: not a range of this text's tokens.
        """
        self._check(start, stop)
        further = min(stop + 1, self.tokens)  # whether a word runs on from the last token stands in the next
        placed = self.spool.spans(start, further)
        _move_words(placed.spans, self._first_scored(start, further, scored_from) - start)
        return _slice(placed.spans, placed.byte_start, stop - start)

    def decode(self, document: int) -> str:
        """Give the text of a document from its ids alone; the text itself, exactly, if `lossless`.

        Words are put together by `layout` (`plain` where there is none): see `rnneval.text.layout`.
        """
        start, stop = int(self.document_starts[document]), int(self.document_stops[document])
        if self.vocabulary.subword is not None and self.token_kind.startswith("subword"):
            return self.vocabulary.subword.decode(self.ids(start, stop))
        first, tokens = self.vocabulary.first_id, self.vocabulary.tokens
        words = [tokens[id_ - first] for id_ in self.ids(start, stop).tolist()]
        match self.token_kind:
            case "char":
                return "".join(words)
            case "byte":
                return "".join(words).encode("latin-1", errors="replace").decode(errors="replace")
            case _:
                return text_of_words(words, self.layout or PLAIN, EOS)

    def decode_all(self) -> Iterator[str]:
        """Give the text of every document from the ids alone."""
        return map(self.decode, range(len(self.document_starts)))

    def _check(self, start: int, stop: int) -> None:
        if not 0 <= start <= stop <= self.tokens:
            raise IndexError(f"tokens {start} to {stop}: the text has {self.tokens}: give 0 ≤ start ≤ stop ≤ that")

    def _first_scored(self, start: int, stop: int, scored_from: int) -> Ints:
        """Give the first scored token of each document that has one within start to stop."""
        if scored_from == 0:
            return np.empty(0, np.int64)
        low, high = np.searchsorted(self.document_starts, [start - scored_from, stop - scored_from])
        first = self.document_starts[low:high] + scored_from
        return first[first < self.document_stops[low:high]]


def _move_words(spans: Spans, places: Ints) -> None:
    """Count a word that runs on into one of these places there, and no longer before; the spans are the caller's."""
    places = places[spans.runs_on[places]]
    spans.words[places] += 1
    spans.words[places[places > 0] - 1] -= 1


def _slice(spans: Spans, byte_start: int, count: int) -> TokenSlice:
    ends = byte_start + np.cumsum(spans.bytes[:count])
    return TokenSlice(
        ids=spans.ids[:count],
        characters=spans.characters[:count],
        bytes=spans.bytes[:count],
        words=spans.words[:count],
        newlines=spans.newlines[:count],
        unknown=spans.unknown[:count],
        byte_start=ends - spans.bytes[:count],
        byte_end=ends,
        runs_on=spans.runs_on[:count],
    )
