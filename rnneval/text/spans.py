"""Tokens that another program made, as byte spans of a text: checked against the text, and counted as our own are.

The spans must tile the text. Only the first token of each document may be absent, since it often has no loss. Its span
then reaches from the start of the document to the first span that is there.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnneval.arrays import Ints
from rnneval.errors import RecordError
from rnneval.text.units import Bytes, is_lead

_DECLARE = "if a document begins there, say so: --documents file or blank-line"
_SCORED = "every token but the first of a document is scored and numbered, white space included"
_NUMBERED = (
    "tokens are numbered from 0 in the order of the text, and none but the first of a document may have no row; "
    + _DECLARE
)


@dataclass(frozen=True, kw_only=True, eq=False)
class LossTable:
    """The losses of scored tokens, in the order of the table; arrays of shape `(n,)`."""

    path: str  # path of the file; "" for columns in memory
    sha256: str  # hash of the file, or of the columns
    token: Ints
    byte_start: Ints
    byte_end: Ints
    nats: NDArray[np.float64]
    document: Ints | None = None
    id: Ints | None = None
    text_sha256: str | None = None
    """Hash of the text that was scored, if the table says it, as those of `rnneval evaluate --losses` do."""

    @property
    def name(self) -> str:
        """Name in messages."""
        return self.path or "the table of losses"


def tokens_of(table: LossTable, utf8: Bytes, documents: Ints) -> tuple[Ints, Ints, int]:
    """Require that the spans tile a text, whose documents begin at these bytes.

    Returned are the end of each token, `(tokens,)`, those without a row included, the first token of each document, and
    the number of tokens at the start of each document that have no row: 0 or 1.
    """
    if not len(table.token):
        raise RecordError(f"{table.name}: has no row: one row for each scored token is needed")
    size, before = len(utf8), np.append(0, table.byte_end[:-1])
    document = np.searchsorted(documents, table.byte_start, side="right") - 1
    stops = np.append(documents[1:], size)[document]
    opens = np.diff(document, prepend=-1) != 0  # whether the row is the first of its document
    gap, missing = table.byte_start - before, np.diff(table.token, prepend=-1) - 1
    begun = np.searchsorted(documents, table.byte_start, side="right") - np.searchsorted(documents, before)
    is_first = opens & np.isin(before, documents) & (missing > 0)  # bytes before the row may be a first token
    crossing = table.byte_end > stops
    crossing[-1] = False  # text after the last token belongs to it, also that of documents without any token
    unscored = missing[opens] > 0
    for wrong, said in (
        (table.token < 0, "a token number is below 0: is it the same text?"),
        (table.byte_start < 0, "a span begins before the text: is it the same text?"),
        (table.byte_end < table.byte_start, "a span ends before it begins"),
        (table.byte_end > size, f"a span ends after the text, which has {size:,} bytes: is it the same text?"),
        (table.byte_start >= size, f"an empty span after the text, which has {size:,} bytes"),
        (gap < 0, "overlaps the row before: every byte belongs to one token, in the order of the text"),
        ((gap > 0) & ~is_first, f"has bytes before it without a row: {_SCORED}; {_DECLARE}"),
        ((missing < 0) | (missing > np.where(opens, begun, 0)), f"has another token number than the next: {_NUMBERED}"),
        (crossing, "crosses the end of a document"),
    ):
        if wrong.any():
            row, count = int(wrong.argmax()), int(np.count_nonzero(wrong))
            last = f"the row before is token {table.token[row - 1]:,} and ends at byte {before[row]:,}; " if row else ""
            more = f" (the first of {count:,} such rows)" if count > 1 else ""
            raise RecordError(f"{_place(table, row)}: {last}{said}{more}")
    if (end := int(table.byte_end[-1])) < size:
        hint = "it was dropped with the last incomplete batch or segment"
        if end == int(np.count_nonzero(is_lead(utf8))):
            hint = f"the text has {end:,} characters, so that the spans seem to count characters, not bytes"
        lost = f"bytes {end:,} to {size:,}, {size - end:,} after token {table.token[-1]:,}"
        raise RecordError(f"{table.name}: the end of the text has no row: {lost}: {hint}; score the whole text")
    if unscored.any() and not unscored.all():
        row = int(np.flatnonzero(opens)[unscored != unscored[0]][0])
        said = "the first tokens of some documents have a row: score those of all documents, or of none"
        raise RecordError(f"{_place(table, row)}: {said}")
    ends = np.zeros(int(table.token[-1]) + 1, np.int64)
    ends[table.token] = table.byte_end
    firsts = np.full(len(documents), len(ends), np.int64)
    for row in np.flatnonzero(opens).tolist():
        token, absent, at = int(table.token[row]), int(missing[row]), int(document[row])
        if absent:
            alone = documents[at + 2 - absent : at + 1]  # documents of one token each came before
            ends[token - absent : token] = [*alone, table.byte_start[row]]
        firsts[at - max(absent - 1, 0) : at + 1] = np.arange(token - absent, token + (absent == 0))
    ends[-1] = stops[-1]
    return ends, np.minimum.accumulate(firsts[::-1])[::-1], int(unscored[0])


def _place(table: LossTable, row: int) -> str:
    span = f"token {table.token[row]:,}, bytes {table.byte_start[row]:,} to {table.byte_end[row]:,}"
    return f"{table.name}: row {row:,} ({span})"


def kind_of(name: str, ends: Ints, utf8: Bytes, wanted: str | None) -> str:
    """Return the kind of tokens: `char` or `byte` if every token is one, else `spans-` and 8 digits of their hash."""
    expected = {"char": np.append(np.flatnonzero(is_lead(utf8))[1:], len(utf8)), "byte": np.arange(1, len(utf8) + 1)}
    same = [kind for kind in expected if np.array_equal(ends, expected[kind])]
    if wanted in expected and wanted not in same:
        raise RecordError(f"{name}: its tokens are not of one {wanted} each: leave --tokens {wanted} out")
    if same:
        return wanted if wanted in same else same[0]
    return f"spans-{hashlib.sha256(ends.astype('<i8').tobytes()).hexdigest()[:8]}"
