"""Token records in an unnamed temporary file: any range of them at any time, in constant memory."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import TextError
from rnneval.text.disk import DiskArray
from rnneval.text.units import Bools, Counts, Ints

_STRIDE = 1024
"""The byte offset of every such token is kept in memory."""


@dataclass(frozen=True, kw_only=True)
class Spans:
    """What n tokens in a row stand for; shape `(n,)` each."""

    ids: NDArray[Any]
    characters: Counts
    bytes: Counts
    words: Counts
    newlines: Counts
    unknown: Counts
    runs_on: Bools
    """The span begins within a word of the same document."""


@dataclass(frozen=True, kw_only=True)
class PlacedSpans:
    """Spans, and where in the text they begin."""

    spans: Spans
    byte_start: int


class Codec(Protocol):
    """Spans ↔ records of one dtype."""

    dtype: np.dtype[Any]

    def pack(self, spans: Spans) -> NDArray[Any]:
        """Give a record a token."""
        ...

    def unpack(self, records: NDArray[Any]) -> Spans:
        """Give the spans back, as int64 (ids: int32)."""
        ...

    def bytes_of(self, records: NDArray[Any]) -> Ints:
        """Give the spans' lengths in bytes alone."""
        ...

    def ids_of(self, records: NDArray[Any]) -> NDArray[np.int32]:
        """Give the ids alone."""
        ...


class Narrow:
    """One character or byte a token: four bytes a record.

    Bits 0–20 hold the id (there are fewer than 2²¹ characters), 21–22 the bytes less one, then a bit for each of
    characters, words, newlines, unknown, runs_on.
    """

    dtype = np.dtype("<u4")
    largest_id = (1 << 21) - 1
    _flags = ("characters", "words", "newlines", "unknown", "runs_on")

    def pack(self, spans: Spans) -> NDArray[Any]:
        """Give a record a token."""
        records = spans.ids.astype(self.dtype)
        records |= (spans.bytes.astype(self.dtype) - 1) << 21
        for bit, name in enumerate(self._flags, start=23):
            records |= getattr(spans, name).astype(self.dtype) << bit
        return records

    def unpack(self, records: NDArray[Any]) -> Spans:
        """Give the spans back."""
        flags = {name: (records >> bit & 1).astype(np.int64) for bit, name in enumerate(self._flags, start=23)}
        runs_on = flags.pop("runs_on").astype(bool)
        return Spans(ids=self.ids_of(records), bytes=self.bytes_of(records), runs_on=runs_on, **flags)

    def bytes_of(self, records: NDArray[Any]) -> Ints:
        """Give the spans' lengths in bytes alone."""
        return (records >> 21 & 3).astype(np.int64) + 1

    def ids_of(self, records: NDArray[Any]) -> NDArray[np.int32]:
        """Give the ids alone."""
        return (records & self.largest_id).astype(np.int32)


class Wide:
    """Any span below 4 GiB: 25 bytes a record."""

    _counts = ("characters", "bytes", "words", "newlines", "unknown")
    dtype = np.dtype([("ids", "<i4"), *((name, "<u4") for name in _counts), ("runs_on", "?")])

    def pack(self, spans: Spans) -> NDArray[Any]:
        """Give a record a token.

        Raises:
            TextError: one token stands for 4 GiB of text or more.
        """
        if len(spans.bytes) and int(spans.bytes.max()) >= 1 << 32:
            raise TextError(
                f"one token stands for {int(spans.bytes.max()):,} bytes of text, less than 4 GiB is allowed: "
                "is most of this text unknown to the vocabulary, or white space?"
            )
        records = np.empty(len(spans.ids), self.dtype)
        for name in self.dtype.names or ():
            records[name] = getattr(spans, name)
        return records

    def unpack(self, records: NDArray[Any]) -> Spans:
        """Give the spans back."""
        counts = {name: records[name].astype(np.int64) for name in self._counts}
        return Spans(ids=self.ids_of(records), runs_on=records["runs_on"], **counts)

    def bytes_of(self, records: NDArray[Any]) -> Ints:
        """Give the spans' lengths in bytes alone."""
        return records["bytes"].astype(np.int64)

    def ids_of(self, records: NDArray[Any]) -> NDArray[np.int32]:
        """Give the ids alone."""
        return records["ids"].astype(np.int32)


class Spool:
    """Records of tokens, appended in order, then read in any."""

    def __init__(self, codec: Codec) -> None:
        self.tokens = 0
        self._codec = codec
        self._bytes = 0
        self._offsets = array("q")
        """Where each `_STRIDE`-th token begins, in bytes of the text."""
        self._records = DiskArray(codec.dtype, holds="encoded text")

    def append(self, spans: Spans) -> None:
        """Write the next tokens.

        Raises:
            TextError: the disk of temporary files is full.
        """
        records = self._codec.pack(spans)
        ends = self._bytes + np.cumsum(spans.bytes, dtype=np.int64)
        starts = ends - spans.bytes
        self._offsets.extend(starts[-self.tokens % _STRIDE :: _STRIDE].tolist())
        self._records.write(self.tokens, records)
        self.tokens += len(records)
        self._bytes = int(ends[-1]) if len(ends) else self._bytes

    def ids(self, start: int, stop: int) -> NDArray[np.int32]:
        """Give the ids of a range of tokens, `(n,)`."""
        return self._codec.ids_of(self._records.read(start, stop))

    def spans(self, start: int, stop: int) -> PlacedSpans:
        """Give a range of tokens, and the byte of the text at which it begins."""
        from_known = start % _STRIDE
        records = self._records.read(start - from_known, stop)
        known = self._offsets[start // _STRIDE] if start < self.tokens else self._bytes
        before = self._codec.bytes_of(records[:from_known]).sum() if start < self.tokens else 0
        return PlacedSpans(spans=self._codec.unpack(records[from_known:]), byte_start=int(known + before))

    def close(self) -> None:
        """Free the disk space."""
        self._records.close()


def joined(several: Sequence[Spans]) -> Spans:
    """Give spans in a row as one."""
    names = Spans.__dataclass_fields__
    return Spans(**{name: np.concatenate([getattr(spans, name) for spans in several]) for name in names})
