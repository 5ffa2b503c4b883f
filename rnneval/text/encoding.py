"""A text as ids on the disk, with everything that its tokens stand for counted in one pass."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import TextError, VocabularyError
from rnneval.options import Paths
from rnneval.records import run
from rnneval.text.blocks import BlockCuts, BlockCutter
from rnneval.text.options import TextOptions
from rnneval.text.pieces import Piece, final_text
from rnneval.text.sources import InMemory, Sources, TakenFile
from rnneval.text.spans import Spans, SpanTokeniser, whole_text
from rnneval.text.spool import Narrow, Spanner, Spool, TokenSpans, Wide
from rnneval.text.subword.tokeniser import SubwordTokeniser
from rnneval.text.tokenise import EOS, PLAIN, ByteTokeniser, CharTokeniser, Tokeniser, WordTokeniser, text_of_words
from rnneval.text.units import Ints, Letters, letters
from rnneval.text.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class Document:
    """A range of tokens between which the state is carried."""

    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class TokenSlice(TokenSpans):
    """Some tokens in a row and their spans; every array has the shape `(n,)`.

    A token's span reaches from the end of the token before to its own end, so that sums over all tokens are those of
    the text: the white space before a word is the word's; text after a document's last token is that token's.
    """

    byte_start: Ints
    """First byte of the span in the final text."""
    byte_end: Ints
    """Byte after the last one of the span."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedText:
    """The final text as ids, counted exactly. A context manager: leaving it frees the temporary file."""

    tokens: int
    document_starts: Ints
    """First token of each document, `(documents,)`; a document without any token is not among them."""
    document_stops: Ints
    """One past the last token of each document, `(documents,)`."""
    text_documents: int
    """Documents of the text, also those without any token, as `blocks.document` counts."""
    unknown: int
    """Characters, bytes or words that the vocabulary lacks, over the whole text."""
    lossless: bool
    """Whether the tokens give the text back, character for character (`decode`)."""
    layout: str | None
    """`plain` or `padded` if the white space of the text follows from its tokens (see `decode`)."""
    token_kind: str
    """`char`, `byte`, `word`, `word+eos` where line feeds are tokens, or `subword-` and 8 digits of the tokenizer."""
    files: tuple[run.TextFile, ...]
    taken: tuple[TakenFile, ...]
    """The files, each with its characters that are part of the text."""
    sha256: str
    """Hash of the final text in UTF-8, documents end to end."""
    characters: int
    bytes: int
    words: int
    """Maximal runs of characters that are not white space; a document's end ends a word."""
    warnings: tuple[run.Warning, ...]
    vocabulary: Vocabulary | None
    """None if the tokens are spans of another program."""
    blocks: BlockCuts
    signature_part: str
    """The text's options in a record's signature, such as `tok:char|norm:none|newlines:keep|unk:error|docs:one`."""
    spool: Spool = field(repr=False)
    """The tokens on disk; they are read by `read`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the temporary file; nothing can be read after that."""
        self.spool.close()

    @cached_property
    def documents(self) -> tuple[Document, ...]:
        """The documents of `document_starts` and `document_stops` as objects: for texts of few documents."""
        pairs = zip(self.document_starts.tolist(), self.document_stops.tolist(), strict=True)
        return tuple(Document(start=start, stop=stop) for start, stop in pairs)

    def block_of(self, byte_start: Ints) -> Ints:
        """Return the block of each token by its span's first byte; int64 `(n,)` → int64 `(n,)`."""
        return self.blocks.block_of(byte_start)

    def are_scored(self, positions: Ints, unscored: int) -> NDArray[np.bool_]:
        """Return whether tokens lie behind the first `unscored` ones of their documents, `(n,)`."""
        document = np.searchsorted(self.document_starts, positions, side="right") - 1
        found: NDArray[np.bool_] = positions - self.document_starts[document] >= unscored
        return found

    def ids(self, start: int, stop: int) -> NDArray[np.int32]:
        """Return the ids of tokens start to stop, int32 `(stop − start,)`: `read` without the counting.

        Raises:
            IndexError: not a range of this text's tokens.
        """
        self._check(start, stop)
        return self.spool.ids(start, stop)

    def read(self, start: int, stop: int, *, scored_from: int = 1) -> TokenSlice:
        """Return tokens start to stop, in any order of calls, in time O(stop − start).

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
        spans, byte_start = self.spool.spans(start, further)
        _move_words(spans, self._first_scored(start, further, scored_from) - start)
        ends = byte_start + np.cumsum(spans.bytes[: stop - start])
        return TokenSlice(**spans.cut(None, stop - start), byte_start=ends - spans.bytes[: stop - start], byte_end=ends)

    def decode(self, document: int) -> str:
        """Return the text of a document from its ids alone; the text itself, exactly, if `lossless`.

        Words are put together by `layout` (`plain` where there is none): see `text_of_words`.

        Raises:
            VocabularyError: the tokens have no vocabulary.
        """
        if self.vocabulary is None:
            raise VocabularyError("the tokens are spans of another program, whose vocabulary was not given")
        start, stop = int(self.document_starts[document]), int(self.document_stops[document])
        if self.vocabulary.subword is not None and self.token_kind.startswith("subword"):
            return self.vocabulary.subword.decode(self.ids(start, stop))
        first, tokens = self.vocabulary.first_id, self.vocabulary.tokens
        unknown = self.vocabulary.unknown or ""
        words = [tokens[id_ - first] if id_ >= first else unknown for id_ in self.ids(start, stop).tolist()]
        match self.token_kind:
            case "char":
                return "".join(words)
            case "byte":
                return "".join(words).encode("latin-1", errors="replace").decode(errors="replace")
            case _:
                return text_of_words(words, self.layout or PLAIN, EOS)

    def _check(self, start: int, stop: int) -> None:
        if not 0 <= start <= stop <= self.tokens:
            raise IndexError(f"tokens {start} to {stop}: the text has {self.tokens}: give 0 ≤ start ≤ stop ≤ that")

    def _first_scored(self, start: int, stop: int, scored_from: int) -> Ints:
        """Return the first scored token of each document that has one within start to stop."""
        if scored_from == 0:
            return np.empty(0, np.int64)
        low, high = np.searchsorted(self.document_starts, [start - scored_from, stop - scored_from])
        first = self.document_starts[low:high] + scored_from
        return first[first < self.document_stops[low:high]]


def _move_words(spans: TokenSpans, places: Ints) -> None:
    """Count a word that runs on into one of these places there instead of before; changes the spans."""
    places = places[spans.runs_on[places]]
    spans.words[places] += 1
    spans.words[places[places > 0] - 1] -= 1


_KINDS: dict[str, Callable[[Vocabulary, str], Tokeniser]] = {
    "char": CharTokeniser,
    "byte": ByteTokeniser,
    "word": WordTokeniser,
    "subword": SubwordTokeniser,
}


def tokeniser(vocabulary: Vocabulary, kind: str, unknown: str) -> Tokeniser:
    """Return the tokeniser of a kind.

    Raises:
        VocabularyError: the token for unknown ones is not in the vocabulary, or it has no subword tokenizer.
    """
    return _KINDS[kind](vocabulary, unknown)


def encode(given: Paths | InMemory, vocabulary: Vocabulary, options: TextOptions | None = None) -> EncodedText:
    """Read files as one text and turn it into ids, in memory that does not grow with its length.

    Args:
        given: One path, or several to be joined with nothing between; or a text in memory.
        vocabulary: Already made to fit the model (`Vocabulary.fit`).
        options: What to read, and how.

    Returns:
        The encoded text; close it (or use it as a context manager) to free its temporary file.

    Raises:
        TextError: a file cannot be read as UTF-8 text, nothing is left of it, it has characters, bytes or words that
            the vocabulary lacks (with `unknown="error"`), or no document has 2 tokens.
        VocabularyError: the token that stands for unknown ones is not in the vocabulary.
    """
    options, sources = options or TextOptions(), Sources(given)
    return _Encoder(sources, vocabulary, options, _own(vocabulary, options)).encode(final_text(sources, options))


@dataclass(frozen=True, kw_only=True)
class EncodedSpans:
    """A text as the tokens of another program."""

    text: EncodedText
    unscored: int
    """Tokens at the start of each document that the other program did not score: 0 or 1."""


def encode_spans(
    given: Paths | InMemory, spans: Spans, options: TextOptions, vocabulary: Vocabulary | None = None
) -> EncodedSpans:
    """Read files as one text that the spans of another program must tile.

    Args:
        given: As for `encode`.
        spans: The scored tokens of the other program.
        options: What to read, and how.
        vocabulary: Its vocabulary. Then the text is encoded with it, and the spans may still be those of other tokens.
            Without it, the tokens are the spans, and their ids 0.

    Raises:
        RecordError: the spans do not tile the text.
        TextError: as `encode`.
    """
    sources = Sources(given)
    pieces, tiling = whole_text(final_text(sources, options), spans)
    own = SpanTokeniser(spans.name, tiling, options.tokens) if vocabulary is None else _own(vocabulary, options)
    return EncodedSpans(
        text=_Encoder(sources, vocabulary, options, own).encode(pieces),
        unscored=tiling.unscored,
    )


def _own(vocabulary: Vocabulary, options: TextOptions) -> Tokeniser:
    return tokeniser(vocabulary, options.tokens or vocabulary.kind, options.unknown)


class _Encoder:
    """One pass over one text: each piece goes once through all counters."""

    def __init__(
        self, sources: Sources, vocabulary: Vocabulary | None, options: TextOptions, tokeniser: Tokeniser
    ) -> None:
        self._sources = sources
        self._vocabulary = vocabulary
        self._options = options
        self._tokeniser = tokeniser
        small = vocabulary is None or vocabulary.size < Narrow.largest_id
        narrow = tokeniser.narrow and options.unknown != "skip" and small
        self.spool = Spool(Narrow() if narrow else Wide())
        self._spanner = Spanner(self.spool, self._tokeniser.eos_id)
        self._blocks = BlockCutter()
        self._totals = _Totals()

    def encode(self, pieces: Iterable[Piece]) -> EncodedText:
        """Encode it all; a text that is refused leaves no temporary file."""
        try:
            return self._encode(pieces)
        except BaseException:
            self.spool.close()
            raise

    def _encode(self, pieces: Iterable[Piece]) -> EncodedText:
        for piece in self._tokeniser.pieces(pieces):
            looked_at = self._totals.add(piece)
            self._blocks.feed(looked_at)
            self._spanner.feed(self._tokeniser.tokens(piece, looked_at))
        self._spanner.finish()
        self._refuse()
        return self._result()

    def _refuse(self) -> None:
        name, unknowns = self._sources.name, self._tokeniser.unknowns
        if self._options.unknown == "error":
            unknowns.refuse(name, self._vocabulary)
        tokens, documents = self.spool.tokens, len(self._spanner.document_starts)
        if tokens > documents:
            return
        left_out = f" ({unknowns.total:,} unknown ones were skipped)" if self._options.unknown == "skip" else ""
        if tokens < 2:
            has = f"the text has {tokens} token{'s' * (tokens != 1)}{left_out}, at least 2 are needed"
        else:
            has = f"each of the {documents} documents has 1 token{left_out}, at least 2 are needed in one of them"
        raise TextError(f"{name}: {has}: the first has no prediction; give a longer text")

    def _result(self) -> EncodedText:
        totals, kind = self._totals, self._tokeniser.kind
        starts = np.array(self._spanner.document_starts, np.int64)
        return EncodedText(
            tokens=self.spool.tokens,
            document_starts=starts,
            document_stops=np.append(starts[1:], self.spool.tokens),
            text_documents=totals.documents,
            unknown=self._tokeniser.unknowns.total,
            lossless=self._layout() is not None and not self._tokeniser.unknowns.total,
            layout=self._layout(),
            token_kind=kind,
            files=tuple(self._sources.files),
            taken=self._sources.taken(self._options.sliced),
            sha256=totals.digest.hexdigest(),
            characters=totals.characters,
            bytes=totals.bytes,
            words=totals.words,
            warnings=tuple(self._warnings()),
            vocabulary=self._vocabulary,
            blocks=self._blocks.finish(),
            signature_part=self._options.signature_part(kind),
            spool=self.spool,
        )

    def _layout(self) -> str | None:
        return self._tokeniser.layout(self._spanner.layouts)

    def _warnings(self) -> list[run.Warning]:
        found = list(self._sources.warnings)
        if self._tokeniser.unknowns.total:
            found.append(run.Warning(code="unknown", message=self._about_unknown()))
        if self._layout() is None:
            found.append(run.Warning(code="lossy", message=self._tokeniser.why_not_lossless(self._sources.name)))
        returns = self._totals.carriage_returns
        if returns:
            message = f"{self._sources.name} has {returns:,} carriage returns, kept as they are; --newlines lf: LF only"
            found.append(run.Warning(code="carriage-return", message=message))
        taken_from = self._vocabulary.texts if self._vocabulary is not None else ()
        if self._options.part is None and taken_from and {file.sha256 for file in self._sources.files} == {*taken_from}:
            found.append(run.Warning(code="training-text", message=f"{self._sources.name}: {_TRAINED_ON}"))
        without = self._totals.documents - len(self._spanner.document_starts)
        if without:
            message = f"{without:,} of {self._totals.documents:,} documents have no token: their text goes to the next"
            found.append(run.Warning(code="no-token", message=message))
        return found

    def _about_unknown(self) -> str:
        done = "skipped" if self._options.unknown == "skip" else f"read as {self._options.unknown!r}"
        described = self._tokeniser.unknowns.describe(self._sources.name)
        return f"{described}: {done}; bits per character are a lower bound"


_TRAINED_ON = (
    "the vocabulary was taken from this very text, the training text: on text that was seen in training, no score says "
    "how good the model is on new text; give the part that was held out (--part, such as 90%:)"
)


class _Totals:
    """Counts over the final text, which no tokenisation changes."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.characters = self.bytes = self.words = self.carriage_returns = self.documents = 0
        self._after_word = False

    def add(self, piece: Piece) -> Letters:
        """Count a piece, and return its flags."""
        self.documents += len(piece.starts)
        looked_at = letters(piece.text, piece.starts, after_word=self._after_word)
        self._after_word = not looked_at.space[-1]
        self.digest.update(looked_at.utf8)
        self.characters += len(piece.text)
        self.bytes += len(looked_at.utf8)
        self.words += int(np.count_nonzero(looked_at.begins))
        self.carriage_returns += piece.text.count("\r")
        return looked_at
