"""A text as ids, with everything that its tokens stand for counted exactly.

The span of a token reaches from the end of the token before to its own end; text after the last token of a document
belongs to that token. The text of a document without any token belongs to the first token of the next document, which
is never scored, or at the end of all to the last token.

A text of words (w below is any word) has a *layout* if all its white space follows one pattern: *plain*, `w w⏎`, one
space between words; *padded*, the ` w w ⏎` of WikiText, one space before every token. Without one, the words do not
determine the text, and there are no bits per character.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rnneval.arrays import Ints
from rnneval.errors import TextError
from rnneval.options import Paths
from rnneval.paths import reason_of
from rnneval.text import units
from rnneval.text.documents import FinalText, InMemory, TextOptions, final_text
from rnneval.text.tokenise import Tokeniser, tokeniser_of
from rnneval.text.units import Bytes, block_cuts
from rnneval.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from rnneval.text.spans import LossTable

PLAIN = "plain"
PADDED = "padded"
IN_MEMORY = 1 << 26  # most numbers of an array in memory; a longer one is in a temporary file
_HELD_OUT = 0.5  # most of a text that is taken for its held-out part, where the vocabulary was made of the whole text
_NO_LAYOUT = (
    "its white space cannot be told from its words: neither single spaces between "
    "words (plain) nor one before every word and line end (padded)"
)
_TRAINED_ON = (
    "the vocabulary was taken from this very text, the training text: no score on it says how good the model is on new "
    "text; give the part that was held out (--part, such as 90%:)"
)


@dataclass(frozen=True, kw_only=True)
class TokenSlice:
    """Some tokens in a row and their spans; every array has the shape `(n,)`.

    Sums over all tokens are those of the text. A character and a word count at the token with their first byte; a word
    may count −1 at a token without a score (`EncodedText.read`).
    """

    ids: NDArray[np.int32]
    characters: Ints
    bytes: Ints
    words: Ints  # maximal runs of characters that are not white space, where they begin
    newlines: Ints  # line feeds
    unknown: Ints  # characters, bytes or words that the vocabulary lacks
    byte_start: Ints  # first byte of the span in the final text
    byte_end: Ints  # byte after the last one of the span


class NumberColumn:
    """Numbers of one type, appended in order: in memory, or above `IN_MEMORY` of them in a temporary file."""

    def __init__(self, dtype: DTypeLike) -> None:
        self.size, self._dtype = 0, np.dtype(dtype)
        self._parts: list[NDArray[Any]] = [np.zeros(0, dtype)]
        self._file: Any = None

    def append(self, numbers: NDArray[Any]) -> None:
        """Add numbers `(n,)` at the end."""
        self.size += len(numbers)
        self._parts.append(numbers.astype(self._dtype, copy=False))
        if self.size <= IN_MEMORY:
            return
        try:
            self._file = self._file or tempfile.TemporaryFile(prefix="rnneval-")  # noqa: SIM115 - freed with the array
            for part in self._parts:
                self._file.write(np.ascontiguousarray(part).data)
            self._file.flush()  # a map of bytes that a full disk did not take would end the process
        except OSError as error:
            said = f"cannot hold {self.size * self._dtype.itemsize:,} bytes of encoded text: {reason_of(error)}"
            advice = "set TMPDIR to a folder with more room"
            raise TextError(f"{tempfile.gettempdir()}: {said}: {advice}") from error
        self._parts = []

    def array(self) -> NDArray[Any]:
        """Return all numbers, `(size,)`; they may be changed."""
        if self._file is None:
            parts, self._parts = self._parts, []  # they would take the same memory again
            return np.concatenate(parts)
        with self._file as file:  # a map of a file stays when it is closed
            return np.memmap(file, self._dtype, mode="r+", shape=(self.size,))


class EncodedText:
    """The final text as ids, counted exactly. A context manager: leaving it frees the memory or the temporary files."""

    def __init__(
        self, text: FinalText, *, ids: NDArray[np.int32], ends: Ints, first: Ints, unknown: Ints | None = None,
        kind: str, tokeniser: Tokeniser | None = None,
    ) -> None:  # fmt: skip
        """Take a text, the id and the last byte of each token, the first token of each document, the kind of tokens.

        `unknown` has a byte of each character, byte or word that the tokeniser's vocabulary lacks. Tokens of another
        program have no tokeniser.
        """
        utf8, documents = bytes_of(text)
        self._ids, self._ends, self._flags = ids, ends, units.flags_of(utf8, documents)
        self._unknown = np.zeros(0, np.int64) if unknown is None else unknown
        following = np.append(first[1:], len(ends))
        with_tokens = first < following
        self.tokens = len(ids)
        self.text_documents = len(text.documents)  # also those without any token, as `blocks.document` counts
        self.document_starts: Ints = first[with_tokens]  # first token of each document that has one, `(documents,)`
        self.document_stops: Ints = following[with_tokens]  # one past the last token of each, `(documents,)`
        text_stops = np.append(documents[1:], len(utf8))[with_tokens]
        text_stops[-1:] = len(utf8)
        self._text_stops = text_stops  # one past the last byte of each document that has a token, `(documents,)`
        self.files = text.files  # the files, each with its characters that are part of the text
        self.share = text.share  # share of the characters of the files that is part of the text: 1 without `--part`
        self.sha256 = text.sha256  # of the final text in UTF-8, documents end to end
        self.characters = sum(map(len, text.documents))
        self.bytes = len(utf8)
        self.words = int(np.count_nonzero(self._flags & units.WORD))  # maximal runs of what is not white space
        self.blocks = block_cuts(utf8, documents)
        self.vocabulary = None if tokeniser is None else tokeniser.vocabulary  # None for spans of another program
        self.token_kind = kind
        self.signature_part = text.options.signature_part(kind)  # `tok:char|norm:none|…|docs:one`
        self.unknown = len(self._unknown)  # characters, bytes or words that the vocabulary lacks, over the whole text
        layout: str | None = PLAIN
        why_lossy = unknown_message = None
        if tokeniser is not None:
            if self.unknown:
                before = utf8[: self._unknown[0]].tobytes().decode(errors="ignore")
                unknown_message = tokeniser.describe_unknowns(text.name, text.place(len(before)))
                if text.options.unknown == "error":
                    raise TextError(f"{unknown_message}: {tokeniser.advice()}")
            if tokeniser.drops_white_space:
                layout = self._layout(tokeniser.eos_id)
            why_lossy = tokeniser.why_lossy or (None if layout else _NO_LAYOUT)
        self.layout = None if why_lossy else layout  # `plain` or `padded` if white space follows from the tokens
        self.lossless = not why_lossy and not self.unknown  # whether the tokens give the text back
        self._require_enough(text)
        self.warnings = (*text.warnings, *self._warnings(text, unknown_message, why_lossy))  # code and message of each

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the memory or the temporary files; nothing can be read after that."""
        for name in ("_ids", "_ends", "_unknown", "_flags"):
            vars(self).pop(name, None)

    def are_scored(self, positions: Ints, unscored: int) -> NDArray[np.bool_]:
        """Return whether tokens lie behind the first `unscored` ones of their documents, `(n,)`."""
        document = np.searchsorted(self.document_starts, positions, side="right") - 1
        return np.asarray(positions - self.document_starts[document] >= unscored)

    def ids(self, start: int, stop: int) -> NDArray[np.int32]:
        """Return the ids of tokens start to stop, int32 `(stop − start,)`: `read` without the counting."""
        self._require_inside(start, stop)
        return np.array(self._ids[start:stop])

    def read(self, start: int, stop: int, *, scored_from: int = 1) -> TokenSlice:
        """Return tokens start to stop (one past the last), in any order of calls, in time O(stop − start).

        `scored_from` tokens at the start of each document have no score. A word that runs on from the last of these
        into the first scored one counts at the latter and no longer at the former, which may then have −1: so `words`
        summed over the scored tokens are the words of the scored text, and over all tokens those of the text.
        """
        self._require_inside(start, stop)
        further = min(stop + 1, self.tokens)  # whether a word runs on from the last token stands in the next
        bounds = self._bounds(start, further)
        words = self._count(units.WORD, bounds)
        if scored_from:
            low, high = np.searchsorted(self.document_starts, [start - scored_from, further - scored_from])
            first = self.document_starts[low:high] + scored_from
            places = first[first < self.document_stops[low:high]] - start  # of a document that has a scored token
            begins = bounds[places]
            runs_on = self._flags.take(begins, mode="clip") & units.RUNS_ON > 0
            places = places[runs_on & (begins < self.bytes)]
            words[places] += 1
            words[places[places > 0] - 1] -= 1
        bounds = bounds[: stop - start + 1]
        return TokenSlice(
            ids=np.array(self._ids[start:stop]),
            characters=self._count(units.CHARACTER, bounds),
            bytes=np.diff(bounds),
            words=words[: stop - start],
            newlines=self._count(units.NEWLINE, bounds),
            unknown=np.diff(np.searchsorted(self._unknown, bounds)),
            byte_start=bounds[:-1],
            byte_end=bounds[1:],
        )

    def _require_inside(self, start: int, stop: int) -> None:
        if not hasattr(self, "_ids"):
            raise ValueError("the text was closed, and nothing of it can be read")
        if not 0 <= start <= stop <= self.tokens:
            raise IndexError(f"tokens {start} to {stop}: the text has {self.tokens}: give 0 ≤ start ≤ stop ≤ that")

    def _bounds(self, start: int, stop: int) -> Ints:
        """Return the byte at which the tokens begin, and the end of each span."""
        before = self._ends[start - 1] if start else 0
        bounds = np.append(before, self._ends[start:stop]).astype(np.int64, copy=False)
        low, high = np.searchsorted(self.document_stops, [start, stop + 1])
        bounds[self.document_stops[low:high] - start] = self._text_stops[low:high]
        return bounds

    def _count(self, flag: int, bounds: Ints) -> Ints:
        """Count the bytes between each two bounds that have a flag."""
        has = self._flags[bounds[0] : bounds[-1]] & np.uint8(flag) > 0
        before = np.append(0, np.cumsum(has, dtype=np.int64))
        return np.asarray(np.diff(before[bounds - bounds[0]]))

    def _layout(self, eos_id: int | None) -> str | None:
        """Return `plain` or `padded`, or None if the white space does not follow from the words and line feeds."""
        if (self._ends[self.document_stops - 1] != self._text_stops).any():  # text after the last token of a document
            return None
        bounds = self._bounds(0, self.tokens)
        gap, blank = self._count(units.SPACE, bounds), self._count(units.BLANK, bounds)
        is_line = np.zeros(self.tokens, bool)
        if eos_id is not None:
            is_line, gap = self._ids == eos_id, gap - self._count(units.NEWLINE, bounds)
        after_word = np.append(False, ~is_line[:-1])
        after_word[self.document_starts] = False
        one = (gap == 1) & (blank == 1)
        if np.where(after_word & ~is_line, one, gap == 0).all():
            return PLAIN
        return PADDED if one.all() else None

    def _require_enough(self, text: FinalText) -> None:
        tokens, documents = self.tokens, len(self.document_starts)
        if tokens > documents:
            return
        has = f"the text has {tokens} token{'s' * (tokens != 1)}"
        has += f" in {documents} documents" if documents > 1 else ""
        if text.options.unknown == "skip" and self.unknown:
            has += f" ({self.unknown:,} unknown ones were skipped)"
        raise TextError(f"{text.name}: {has}, at least 2 are needed in one document: the first has no prediction")

    def _warnings(
        self, text: FinalText, unknown_message: str | None, why_lossy: str | None
    ) -> Iterator[tuple[str, str]]:
        options = text.options
        if unknown_message:
            done = "skipped" if options.unknown == "skip" else f"read as {options.unknown!r}"
            yield "unknown", f"{unknown_message}: {done}; bits per character are a lower bound"
        if why_lossy:
            yield "lossy", f"{text.name}: {why_lossy}; so there are no bits per character"
        if returns := sum(document.count("\r") for document in text.documents):
            kept = "kept as they are; --newlines lf: LF only"
            yield "carriage-return", f"{text.name} has {returns:,} carriage returns, {kept}"
        trained_on = set() if self.vocabulary is None else {sha256 for _, sha256 in self.vocabulary.texts}
        if text.share > _HELD_OUT and trained_on and {file.sha256 for file in text.files} == trained_on:
            part = "" if options.part is None else f" (--part {options.part} is {100 * text.share:.4g} % of it)"
            yield "training-text", f"{text.name}{part}: {_TRAINED_ON}"
        if without := self.text_documents - len(self.document_starts):
            lacking = f"{without:,} of {self.text_documents:,} documents have no token"
            yield "no-token", f"{lacking}: their text goes to the next"


def encode(source: Paths | InMemory, vocabulary: Vocabulary, options: TextOptions | None = None) -> EncodedText:
    """Read files as one text and turn it into ids.

    It takes 15 bytes of memory for each token of one character; the ids and ends of more than 67 million tokens lie in
    temporary files. A tokenizer of subwords takes up to 250 bytes for each byte of the longest document.

    Args:
        source: One path, or several to be joined with nothing between; or a text in memory.
        vocabulary: Already made to fit the model (`Vocabulary.fit`).
        options: What to read, and how.

    Returns:
        The encoded text; close it (or use it as a context manager) to free its memory.

    Raises:
        TextError: a file cannot be read as UTF-8 text, nothing is left of it, it has characters, bytes or words that
            the vocabulary lacks (with `unknown="error"`), or no document has 2 tokens.
        VocabularyError: the token that stands for unknown ones is not in the vocabulary.
    """
    options = options or TextOptions()
    tokeniser = tokeniser_of(vocabulary, options.tokens, options.unknown)
    return _encoded(final_text(source, options), tokeniser)


def encode_spans(
    source: Paths | InMemory, table: "LossTable", options: TextOptions, vocabulary: Vocabulary | None = None
) -> tuple[EncodedText, int]:
    """Read files as one text that the spans of another program must tile; encode it by its vocabulary, if known.

    Returned is also how many tokens at the start of each document the other program did not score: 0 or 1. Whether the
    spans are those of the vocabulary's tokens is for the caller to compare.
    """
    from rnneval.text.spans import kind_of, tokens_of  # a run needs none of it

    text = final_text(source, options)
    utf8, documents = bytes_of(text)
    ends, first, unscored = tokens_of(table, utf8, documents)
    if vocabulary is not None:
        return _encoded(text, tokeniser_of(vocabulary, options.tokens, options.unknown)), unscored
    kind, ids = kind_of(table.name, ends, utf8, options.tokens), np.zeros(len(ends), np.int32)
    return EncodedText(text, ids=ids, ends=ends, first=first, kind=kind), unscored


def bytes_of(text: FinalText) -> tuple[Bytes, Ints]:
    """Return the bytes of a text, and the first byte of each document."""
    pieces = [document.encode() for document in text.documents]
    return np.frombuffer(b"".join(pieces), np.uint8), np.cumsum([0, *map(len, pieces[:-1])], dtype=np.int64)


def _encoded(text: FinalText, tokeniser: Tokeniser) -> EncodedText:
    first, place = [], 0
    ids, ends, unknown = NumberColumn(np.int32), NumberColumn(np.int64), NumberColumn(np.int64)
    for document in text.documents:
        first.append(ids.size)
        for batch in tokeniser.batches(document):
            ids.append(batch.ids)
            ends.append(place + batch.ends)
            unknown.append(place + batch.unknown)
            place += batch.bytes
    firsts = np.array(first, np.int64)
    return EncodedText(
        text, ids=ids.array(), ends=ends.array(), first=firsts, unknown=unknown.array(), kind=tokeniser.kind,
        tokeniser=tokeniser,
    )  # fmt: skip
