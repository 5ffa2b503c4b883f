"""A text as ids, with everything that its tokens stand for counted exactly."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import TextError, VocabularyError
from rnneval.options import Paths
from rnneval.records import run
from rnneval.text.pieces import TextOptions, final_text
from rnneval.text.sources import InMemory, Sources, TakenFile, place_after
from rnneval.text.spans import Spans, kind_of, tiling_of
from rnneval.text.table import TokenSlice, TokenTable
from rnneval.text.tokenise import (
    PLAIN,
    SubwordTokeniser,
    Tokeniser,
    UnitTokeniser,
    Unknowns,
    WordTokeniser,
    slices,
    text_of_words,
)
from rnneval.text.units import BlockCuts, Ints, block_cuts, letters
from rnneval.text.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class Document:
    """A range of tokens between which the state is carried."""

    start: int
    stop: int


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedText:
    """The final text as ids, counted exactly. A context manager: leaving it frees the memory or the temporary files."""

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
    share: float
    """Share of the characters of the files that is part of the text: 1 without `--part`."""
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
    table: TokenTable = field(repr=False)
    """The text and its tokens; they are read by `read`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the memory or the temporary files; nothing can be read after that."""
        self.table.close()

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
        """Return the ids of tokens start to stop, int32 `(stop − start,)`: `read` without the counting."""
        self._check(start, stop)
        return np.array(self.table.ids[start:stop])

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
        """
        self._check(start, stop)
        further = min(stop + 1, self.tokens)  # whether a word runs on from the last token stands in the next
        found, runs_on = self.table.read(start, further)
        if scored_from:
            low, high = np.searchsorted(self.document_starts, [start - scored_from, further - scored_from])
            first = self.document_starts[low:high] + scored_from
            places = first[first < self.document_stops[low:high]] - start  # of a document that has a scored token
            places = places[runs_on[places]]
            found.words[places] += 1
            found.words[places[places > 0] - 1] -= 1
        return TokenSlice(**{name: column[: stop - start] for name, column in vars(found).items()})

    def decode(self, document: int) -> str:
        """Return the text of a document from its ids alone; the text itself, exactly, if `lossless`.

        Words are put together by `layout` (`plain` where there is none): see `text_of_words`.
        """
        if self.vocabulary is None:
            raise VocabularyError("the tokens are spans of another program, whose vocabulary was not given")
        ids = self.ids(int(self.document_starts[document]), int(self.document_stops[document]))
        if self.vocabulary.subword is not None and self.token_kind.startswith("subword"):
            return self.vocabulary.subword.decode(ids)
        first, tokens = self.vocabulary.first_id, self.vocabulary.tokens
        unknown = self.vocabulary.unknown or ""
        words = [tokens[id_ - first] if id_ >= first else unknown for id_ in ids.tolist()]
        match self.token_kind:
            case "char":
                return "".join(words)
            case "byte":
                return "".join(words).encode("latin-1", errors="replace").decode(errors="replace")
            case _:
                return text_of_words(words, self.layout or PLAIN)

    def _check(self, start: int, stop: int) -> None:
        if self.table.closed:
            raise ValueError("the text was closed, and nothing of it can be read")
        if not 0 <= start <= stop <= self.tokens:
            raise IndexError(f"tokens {start} to {stop}: the text has {self.tokens}: give 0 ≤ start ≤ stop ≤ that")


def encode(given: Paths | InMemory, vocabulary: Vocabulary, options: TextOptions | None = None) -> EncodedText:
    """Read files as one text and turn it into ids.

    It takes 13 bytes of memory for each token of one character; columns of more than 67 million lie in temporary files.

    Args:
        given: One path, or several to be joined with nothing between; or a text in memory.
        vocabulary: Already made to fit the model (`Vocabulary.fit`).
        options: What to read, and how.

    Returns:
        The encoded text; close it (or use it as a context manager) to free its memory.

    Raises:
        TextError: a file cannot be read as UTF-8 text, nothing is left of it, it has characters, bytes or words that
            the vocabulary lacks (with `unknown="error"`), or no document has 2 tokens.
        VocabularyError: the token that stands for unknown ones is not in the vocabulary.
    """
    return _Encoder(Sources(given), vocabulary, options or TextOptions()).encode()


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

    With its vocabulary, the text is encoded with that, and the spans may still be those of other tokens. Without, the
    tokens are the spans, and their ids 0.
    """
    return _Encoder(Sources(given), vocabulary, options).encode_spans(spans)


_KINDS: dict[str, Callable[[Vocabulary, str], Tokeniser]] = {
    "char": partial(UnitTokeniser, "char"),
    "byte": partial(UnitTokeniser, "byte"),
    "word": WordTokeniser,
    "subword": SubwordTokeniser,
}
_HELD_OUT = 0.5
"""Most of a text that is taken for its held-out part, where the vocabulary was made of the whole text."""
_TRAINED_ON = (
    "the vocabulary was taken from this very text, the training text: on text that was seen in training, no score says "
    "how good the model is on new text; give the part that was held out (--part, such as 90%:)"
)


class _Encoder:
    """One pass over one text: each piece goes once through all counters."""

    def __init__(self, sources: Sources, vocabulary: Vocabulary | None, options: TextOptions) -> None:
        self._sources, self._vocabulary, self._options = sources, vocabulary, options
        self._tokeniser: Tokeniser | None = None
        if vocabulary is not None:
            self._tokeniser = _KINDS[options.tokens or vocabulary.kind](vocabulary, options.unknown)
        self._name = sources.name
        self._table = TokenTable()
        self._digest = hashlib.sha256()
        self._characters = self._words = self._carriage_returns = 0

    def encode(self) -> EncodedText:
        """Encode it all; a text that is refused leaves no temporary file."""
        with self._freed():
            self._read()
            self._table.finish()
            return self._result()

    def encode_spans(self, spans: Spans) -> EncodedSpans:
        """Require that the spans tile the text; they are its tokens if there is no vocabulary."""
        with self._freed():
            self._read()
            table, options = self._table, self._options
            own = self._tokeniser is None
            tiling = tiling_of(spans, table.utf8, table.documents, by_length=own)
            kind = kind_of(spans.name, tiling, table.utf8, options.tokens) if own else ""
            table.finish(*((tiling.ends, tiling.first_tokens) if own else ()))
            return EncodedSpans(text=self._result(kind), unscored=tiling.unscored)

    @contextmanager
    def _freed(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._table.close()
            raise

    def _read(self) -> None:
        self._documents = final_text(self._sources, self._options)
        for document in self._documents:
            self._table.begin_document()
            after_word = False
            for piece in slices(document) if self._tokeniser is None else self._tokeniser.pieces(document):
                looked_at = letters(piece.text, after_word=after_word)
                after_word = not looked_at.space[-1]
                self._digest.update(looked_at.utf8)
                self._characters += len(piece.text)
                self._words += int(np.count_nonzero(looked_at.begins))
                self._carriage_returns += piece.text.count("\r")
                batch = None if self._tokeniser is None else self._tokeniser.tokens(piece, looked_at)
                self._table.add(looked_at, batch)
        self._table.finish_text()

    def _refuse(self) -> None:
        if self._options.unknown == "error" and self._tokeniser is not None and self._tokeniser.unknowns.total:
            assert self._vocabulary is not None  # noqa: S101 - the tokeniser has it
            self._tokeniser.unknowns.refuse(self._described(self._tokeniser.unknowns), self._vocabulary)
        tokens, documents = len(self._table.ids), len(self._table.starts)
        if tokens > documents:
            return
        left_out = ""
        if self._options.unknown == "skip" and self._tokeniser is not None:
            left_out = f" ({self._tokeniser.unknowns.total:,} unknown ones were skipped)"
        if tokens < 2:
            has = f"the text has {tokens} token{'s' * (tokens != 1)}{left_out}, at least 2 are needed"
        else:
            has = f"each of the {documents} documents has 1 token{left_out}, at least 2 are needed in one of them"
        raise TextError(f"{self._name}: {has}: the first has no prediction; give a longer text")

    def _result(self, kind: str = "") -> EncodedText:
        self._refuse()
        layout: str | None = PLAIN
        unknown, loss = 0, ""
        if self._tokeniser is not None:
            kind, unknown = self._tokeniser.kind, self._tokeniser.unknowns.total
            layout, loss = self._tokeniser.layout(self._table)
        table = self._table
        taken = self._sources.taken(self._options.sliced)
        share = sum(len(file.characters) for file in taken) / sum(map(len, self._sources.texts))
        return EncodedText(
            tokens=len(table.ids),
            document_starts=table.starts,
            document_stops=np.append(table.starts[1:], len(table.ids)),
            text_documents=len(table.documents),
            unknown=unknown,
            lossless=layout is not None and not unknown,
            layout=layout,
            token_kind=kind,
            files=tuple(self._sources.files),
            taken=taken,
            share=share,
            sha256=self._digest.hexdigest(),
            characters=self._characters,
            bytes=table.bytes,
            words=self._words,
            warnings=tuple(self._warnings(loss, share)),
            vocabulary=self._vocabulary,
            blocks=block_cuts(table.utf8, table.documents),
            signature_part=self._options.signature_part(kind),
            table=table,
        )

    def _described(self, unknowns: Unknowns) -> str:
        """Describe the unknown tokens, the first with its place in the files, unless the text was rewritten."""
        sources, options, first = self._sources, self._options, unknowns.first
        if options.normalize == "none" and options.newlines == "keep":
            place = sources.found_at(sources.wanted(options.sliced).start + first)
        else:
            place = f"{place_after(''.join(self._documents)[:first])} of the text after --normalize and --newlines"
        return unknowns.describe(self._name, place)

    def _warnings(self, loss: str, share: float) -> list[run.Warning]:
        name, said = self._name, {}
        if self._tokeniser is not None and self._tokeniser.unknowns.total:
            done = "skipped" if self._options.unknown == "skip" else f"read as {self._options.unknown!r}"
            said["unknown"] = (
                f"{self._described(self._tokeniser.unknowns)}: {done}; bits per character are a lower bound"
            )
        if loss:
            said["lossy"] = f"{name}: {loss}; so there are no bits per character"
        if returns := self._carriage_returns:
            said["carriage-return"] = (
                f"{name} has {returns:,} carriage returns, kept as they are; --newlines lf: LF only"
            )
        taken_from = set() if self._vocabulary is None else {*self._vocabulary.texts}
        if share > _HELD_OUT and taken_from and {file.sha256 for file in self._sources.files} == taken_from:
            part = "" if self._options.part is None else f" (--part {self._options.part} is {100 * share:.4g} % of it)"
            said["training-text"] = f"{name}{part}: {_TRAINED_ON}"
        if without := len(self._table.documents) - len(self._table.starts):
            said["no-token"] = (
                f"{without:,} of {len(self._table.documents):,} documents have no token: their text goes to the next"
            )
        return self._sources.warnings + [run.Warning(code=code, message=message) for code, message in said.items()]
