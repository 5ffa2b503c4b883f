"""Tokens that another program made, as byte spans of a text: checked against the text, and counted as our own are.

The spans must tile the text. Only the first token of each document may be absent, since it often has no loss. Its span
then reaches from the start of the document to the first span that is there.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import RecordError
from rnneval.text.units import Bools, Ints, is_lead

_LONG = 64
"""Characters that the first tokens of some documents may always have, if those of most are of the usual length."""
_USUAL = 0.99
"""Share of the scored tokens that are of the usual length or shorter."""
_FEWEST = 100
"""Scored tokens that show what length is usual."""
_DECLARE = "if a document begins there, say so: --documents file or blank-line"


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenSpans:
    """The scored tokens of another program, in the order of the text; arrays of shape `(n,)`."""

    name: str
    """Name of the table in messages."""
    token: Ints
    """Place of each token among all tokens of the text, those without a row included."""
    start: Ints
    """First byte of the final text in UTF-8."""
    end: Ints
    """Byte after the last one."""

    def place(self, row: int) -> str:
        """Name a row in messages."""
        return f"{self.name}: row {row:,} (token {self.token[row]:,}, bytes {self.start[row]:,} to {self.end[row]:,})"


@dataclass(frozen=True, kw_only=True, eq=False)
class Tiling:
    """Every token of a text, those without a row included."""

    ends: Ints
    """Byte after the last one of each token, `(tokens,)`."""
    first_tokens: Ints
    """First token of each document, `(documents,)`; of one without a token, the next one's."""
    unscored: int
    """Tokens at the start of each document that have no row: 0 or 1."""


class _Tiler:
    """The spans (at least one) beside the documents of the text; arrays of shape `(rows,)`.

    `documents` is the first byte of each document, `(documents,)`, and `letters` that of each character; `size` counts
    bytes.
    """

    def __init__(self, spans: TokenSpans, documents: Ints, letters: Ints, size: int) -> None:
        self._spans, self._documents, self._letters, self._size = spans, documents, letters, size
        self._previous_end = np.append(0, spans.end[:-1])
        self._gap: Ints = spans.start - self._previous_end
        self._missing: Ints = spans.token - np.append(-1, spans.token[:-1]) - 1
        self._document: Ints = np.searchsorted(documents, spans.start, side="right") - 1
        self._opens: Bools = np.diff(self._document, prepend=-1) != 0
        """Whether the row is the first of its document."""
        self._stops: Ints = np.append(documents[1:], size)[self._document]
        """End of the document of each row."""

    def tiling(self, *, by_length: bool) -> Tiling:
        """Check everything, and place the tokens that have no row; `by_length`: they may not be longer than usual."""
        for check in (self._bounds, self._overlaps, self._gaps, self._numbers):
            check()
        if by_length:
            self._first()
        self._ends()
        unscored = self._missing[self._opens] > 0
        if unscored.any() and not unscored.all():
            row = int(np.flatnonzero(self._opens)[unscored != unscored[0]][0])
            first, here = ("has no row", "has one") if unscored[0] else ("has a row", "has none")
            raise RecordError(
                f"{self._spans.place(row)}: the first token of the text {first}, that of document "
                f"{self._document[row]:,} {here}: score the first tokens of all documents, or of none"
            )
        ends, first_tokens = self._placed()
        return Tiling(ends=ends, first_tokens=first_tokens, unscored=int(unscored[0]))

    def _bounds(self) -> None:
        spans, size = self._spans, self._size
        for wrong, said in (
            (spans.token < 0, "a token number is below 0"),
            (spans.start < 0, "a span begins before the text"),
            (spans.end < spans.start, "a span ends before it begins"),
            (spans.end > size, f"a span ends after the text, which has {size:,} bytes"),
            ((spans.start >= size) & (spans.end >= size), f"an empty span after the text, which has {size:,} bytes"),
        ):
            if wrong.any():
                raise RecordError(f"{spans.place(int(wrong.argmax()))}: {said}: is it the same text, in UTF-8?")

    def _overlaps(self) -> None:
        wrong = self._gap < 0
        if wrong.any():
            row = int(wrong.argmax())
            raise RecordError(
                f"{self._spans.place(row)}: overlaps the row before, which ends at byte {self._previous_end[row]:,}, "
                f"by {-self._gap[row]:,} bytes{self._in_all(wrong)}: every byte belongs to one token, in the order of "
                "the text"
            )

    def _gaps(self) -> None:
        """Refuse bytes without a row that are not the first token of a document."""
        at_start = np.isin(self._previous_end, self._documents)
        wrong = (self._gap > 0) & ~(self._opens & at_start & (self._missing > 0))
        if not wrong.any():
            return
        row = int(wrong.argmax())
        first, last = self._previous_end[row], self._spans.start[row]
        message = f"{self._spans.place(row)}: bytes {first:,} to {last:,} before it, {last - first:,}, have no row"
        if self._opens[row] and at_start[row]:
            raise RecordError(
                f"{message} and no token number: the first token of a document counts, also if it has no loss"
            )
        if self._opens[row]:
            raise RecordError(f"{message}: they are the end of a document, and every token but a first one is scored")
        raise RecordError(
            f"{message}{self._in_all(wrong)}: every token but the first of a document is scored, white space included; "
            f"{_DECLARE}"
        )

    def _numbers(self) -> None:
        """Refuse token numbers that do not rise by 1, but for the unscored first token of each document."""
        spans, documents = self._spans, self._documents
        begun = np.searchsorted(documents, spans.start, "right") - np.searchsorted(documents, self._previous_end)
        allowed = np.where(self._opens, begun, 0)
        wrong = (self._missing < 0) | (self._missing > allowed)
        if wrong.any():
            row = int(wrong.argmax())
            before = "the text begins" if row == 0 else f"the row before is token {spans.token[row - 1]:,}"
            raise RecordError(
                f"{spans.place(row)}: {before}: tokens are numbered from 0 in the order of the text, and none but the "
                f"first of a document may have no row; {_DECLARE}"
            )

    def _first(self) -> None:
        """Refuse first tokens without a row that are longer than scored tokens usually are: several have no row.

        Lengths are in characters, or in bytes if the tokens are bytes. The median of the documents must be usual: the
        first token of one document among many may be a long one.
        """
        first = np.flatnonzero(self._missing > 0)
        if not len(first):
            return
        unit, lengths, gaps = (
            "character",
            *(
                np.searchsorted(self._letters, end) - np.searchsorted(self._letters, start)
                for start, end in ((self._spans.start, self._spans.end), (self._previous_end, self._spans.start))
            ),
        )
        if (self._spans.end - self._spans.start).max() == 1 and lengths.min() == 0:  # bytes, also within characters
            unit, lengths, gaps = "byte", np.ones(1, np.int64), self._gap
        firsts = gaps[first] / self._missing[first]
        usual, longest = int(np.quantile(lengths, _USUAL, method="higher")), int(lengths.max())
        limit = longest if longest == 1 else max(longest, _LONG)
        if len(lengths) >= _FEWEST and np.median(firsts) > usual:
            limit = usual
        if not (firsts > limit).any():
            return
        row = int(first[(firsts > limit).argmax()])
        raise RecordError(
            f"{self._spans.place(row)}: bytes {self._previous_end[row]:,} to {self._spans.start[row]:,} before it have "
            f"no row, so they would be the first token of a document, of {gaps[row]:,} {unit}s; of the scored tokens "
            f"99 % have {usual:,} or fewer: more than one token is missing: score every token but the first of a "
            "document; if that is one token, give the vocabulary (--vocab)"
        )

    def _ends(self) -> None:
        """Refuse a text whose end has no row, and a token that crosses the end of a document."""
        spans, size = self._spans, self._size
        last = int(spans.end[-1])
        if last < size:
            hint = "it was dropped with the last incomplete batch or segment"
            if last == len(self._letters):
                hint = f"the text has {last:,} characters, so that the spans seem to count characters, not bytes"
            raise RecordError(
                f"{spans.name}: the end of the text has no row: bytes {last:,} to {size:,}, "
                f"{size - last:,} after token {spans.token[-1]:,}: {hint}; score the whole text"
            )
        wrong = spans.end > self._stops
        wrong[-1] = False  # text after the last token belongs to it, also that of documents without any token
        if wrong.any():
            row = int(wrong.argmax())
            raise RecordError(f"{spans.place(row)}: crosses the end of a document at byte {self._stops[row]:,}")

    def _in_all(self, wrong: Bools) -> str:
        """Return the number of such places and of their bytes, if there are several."""
        count = int(np.count_nonzero(wrong))
        if count == 1:
            return ""
        return f" (the first of {count:,} places, {np.abs(self._gap[wrong]).sum():,} bytes in all)"

    def _placed(self) -> tuple[Ints, Ints]:
        """Return the end of each token and the first token of each document.

        A token without a row ends where the next token or document begins.
        """
        spans, documents = self._spans, self._documents
        ends = np.zeros(int(spans.token[-1]) + 1, np.int64)
        ends[spans.token] = spans.end
        ends[-1] = self._stops[-1]
        firsts = np.full(len(documents), len(ends), np.int64)
        for row in np.flatnonzero(self._opens).tolist():
            token, missing, document = int(spans.token[row]), int(self._missing[row]), int(self._document[row])
            if missing:
                alone = documents[document + 2 - missing : document + 1]  # documents of one token each came before
                ends[token - missing : token] = [*alone, spans.start[row]]
            firsts[document - max(missing - 1, 0) : document + 1] = np.arange(token - missing, token + (missing == 0))
        return ends, np.minimum.accumulate(firsts[::-1])[::-1]


def kind_of(name: str, tiling: Tiling, utf8: NDArray[np.uint8], wanted: str | None) -> str:
    """Return the kind of tokens: `char` or `byte` if every token is one, else `spans-` and 8 digits of their hash.

    Two tables of the same tokens on the same text have the same kind.

    Raises:
        RecordError: a kind is wanted, and a token is of another one.
    """
    expected = {"char": np.append(np.flatnonzero(is_lead(utf8))[1:], len(utf8)), "byte": np.arange(1, len(utf8) + 1)}
    ends = tiling.ends
    same = [kind for kind in expected if np.array_equal(ends, expected[kind])]
    if wanted in expected and wanted not in same:
        count = min(len(ends), len(expected[wanted]))
        token = min(int(np.append(ends[:count] != expected[wanted][:count], True).argmax()), len(ends) - 1)
        start = ends[token - 1] if token else 0
        raise RecordError(
            f"{name}: token {token:,} (bytes {start:,} to {ends[token]:,}) is not one "
            f"{'character' if wanted == 'char' else wanted}: leave --tokens {wanted} out"
        )
    if same:
        return wanted if wanted in same else same[0]
    return f"spans-{hashlib.sha256(ends.astype('<i8').tobytes()).hexdigest()[:8]}"


def tiling_of(spans: TokenSpans, utf8: NDArray[np.uint8], documents: Ints, *, by_length: bool) -> Tiling:
    """Require that the spans tile a text, whose documents begin at these bytes.

    `by_length`: first tokens without a row may not be longer than scored ones usually are, since nothing else shows how
    many are missing.
    """
    if not len(spans.token):
        raise RecordError(f"{spans.name}: has no row: one row for each scored token is needed")
    return _Tiler(spans, documents, np.flatnonzero(is_lead(utf8)), len(utf8)).tiling(by_length=by_length)
