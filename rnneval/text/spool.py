"""Arrays on disk, and in them tokens and their spans: any range of them at any time, in constant memory.

*Span* is here the text that a token stands for; *record*, its form on disk. The span of a token reaches from the end of
the token before to its own end, so that nothing is lost. Text after the last token of a document belongs to that token.
A document without any token is no document to a model: its text belongs to the first token of the next (which is never
scored), or at the end of all to the last token.
"""

import tempfile
from array import array
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rnneval.errors import TextError
from rnneval.text.tokenise import Batch, LayoutWatch
from rnneval.text.units import Ints, Units, WordUnits

_COUNTS = ("characters", "bytes", "words", "newlines", "unknown")
_STRIDE = 1024
"""The byte offset of one token in this many is kept in memory."""


class DiskArray:
    """Rows of one type in an unnamed temporary file, written and read in any order, also by several threads.

    It is no `numpy.memmap`: there a full disk would end the process with SIGBUS, and the pages of the file would count
    as memory of the process.
    """

    def __init__(self, dtype: DTypeLike, shape: tuple[int, ...] = (), *, holds: str) -> None:
        """Make an empty array whose rows have a type and a shape; `holds` names the content in messages."""
        self._dtype, self._shape, self._holds = np.dtype(dtype), shape, holds
        self._row_bytes = self._dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        # Each write goes to a place of its own, so a buffer would only be emptied.
        self._file: Any = tempfile.TemporaryFile(prefix="rnneval-", buffering=0)  # noqa: SIM115 - closed by `close`
        self._lock = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the disk space."""
        self._file.close()

    def write(self, start: int, rows: NDArray[Any]) -> None:
        """Write rows `(n, *shape)` from row `start` on."""
        rest: Any = np.ascontiguousarray(rows, self._dtype).reshape(-1).view(np.uint8).data
        end = start * self._row_bytes + len(rest)
        try:
            with self._lock:
                self._file.seek(start * self._row_bytes)
                while rest:  # the system may take less at a time
                    rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise TextError(
                f"{tempfile.gettempdir()}: cannot hold {end:,} bytes of {self._holds}: {error.strerror or error}: "
                "set TMPDIR to a folder with more room"
            ) from error

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read rows start to stop, `(n, *shape)`; rows that were never written are zero."""
        rows = np.zeros((max(0, stop - start), *self._shape), self._dtype)
        rest: Any = rows.reshape(-1).view(np.uint8).data
        with self._lock:
            self._file.seek(start * self._row_bytes)
            while rest and (count := self._file.readinto(rest)):
                rest = rest[count:]
        return rows


@dataclass(frozen=True, kw_only=True)
class TokenSpans(Units):
    """Counts of the text that n consecutive tokens stand for; shape `(n,)` each.

    A word counts at the token in whose span it begins, and `runs_on` says that a span begins within a word. What the
    vocabulary lacks is skipped within the span, or mapped to this token.
    """

    ids: NDArray[Any]

    def cut(self, start: int | None, stop: int | None) -> dict[str, NDArray[Any]]:
        """Return the values of tokens start to stop, by the name of the field."""
        return {name: getattr(self, name)[start:stop] for name in TokenSpans.__dataclass_fields__}


class Narrow:
    """One character or byte per token: four bytes per record.

    Bits 0–20 hold the id (there are fewer than 2²¹ characters), 21–22 the bytes less one, then a bit for each of
    characters, words, newlines, unknown, runs_on.
    """

    dtype = np.dtype("<u4")
    largest_id = (1 << 21) - 1
    _flags = ("characters", "words", "newlines", "unknown", "runs_on")

    def pack(self, spans: TokenSpans) -> NDArray[Any]:
        """Return one record for each token."""
        records = spans.ids.astype(self.dtype)
        records |= (spans.bytes.astype(self.dtype) - 1) << 21
        for bit, name in enumerate(self._flags, start=23):
            records |= getattr(spans, name).astype(self.dtype) << bit
        return records

    def unpack(self, records: NDArray[Any]) -> TokenSpans:
        """Return the spans, as int64 (ids: int32)."""
        flags = {name: (records >> bit & 1).astype(np.int64) for bit, name in enumerate(self._flags, start=23)}
        runs_on = flags.pop("runs_on").astype(bool)
        of_bytes = (records >> 21 & 3).astype(np.int64) + 1
        return TokenSpans(ids=self.ids_of(records), bytes=of_bytes, runs_on=runs_on, **flags)

    def ids_of(self, records: NDArray[Any]) -> NDArray[np.int32]:
        """Return only the ids."""
        return (records & self.largest_id).astype(np.int32)


class Wide:
    """Any token whose span is below 4 GiB: 25 bytes per record."""

    dtype = np.dtype([("ids", "<i4"), *((name, "<u4") for name in _COUNTS), ("runs_on", "?")])

    def pack(self, spans: TokenSpans) -> NDArray[Any]:
        """Return one record for each token."""
        if len(spans.bytes) and int(spans.bytes.max()) >= 1 << 32:
            raise TextError(
                f"one token stands for {int(spans.bytes.max()):,} bytes of text, less than 4 GiB is allowed: "
                "is most of this text unknown to the vocabulary, or white space?"
            )
        records = np.empty(len(spans.ids), self.dtype)
        for name in self.dtype.names or ():
            records[name] = getattr(spans, name)
        return records

    def unpack(self, records: NDArray[Any]) -> TokenSpans:
        """Return the spans, as int64 (ids: int32)."""
        counts = {name: records[name].astype(np.int64) for name in _COUNTS}
        return TokenSpans(ids=self.ids_of(records), runs_on=records["runs_on"], **counts)

    def ids_of(self, records: NDArray[Any]) -> NDArray[np.int32]:
        """Return only the ids."""
        return records["ids"].astype(np.int32)


class Spool:
    """Records of tokens, appended in order and read in any order."""

    def __init__(self, codec: Narrow | Wide) -> None:
        self.tokens = 0
        self._codec = codec
        self._bytes = 0
        self._offsets = array("q")
        """Beginning of each `_STRIDE`-th token, in bytes of the text."""
        self._records = DiskArray(codec.dtype, holds="encoded text")

    def append(self, spans: TokenSpans) -> None:
        """Write the next tokens."""
        records = self._codec.pack(spans)
        ends = self._bytes + np.cumsum(spans.bytes, dtype=np.int64)
        starts = ends - spans.bytes
        self._offsets.extend(starts[-self.tokens % _STRIDE :: _STRIDE].tolist())
        self._records.write(self.tokens, records)
        self.tokens += len(records)
        self._bytes = int(ends[-1]) if len(ends) else self._bytes

    def ids(self, start: int, stop: int) -> NDArray[np.int32]:
        """Return the ids of a range of tokens, `(n,)`."""
        return self._codec.ids_of(self._records.read(start, stop))

    def spans(self, start: int, stop: int) -> tuple[TokenSpans, int]:
        """Return a range of tokens, and the byte of the text at which it begins."""
        from_known = start % _STRIDE
        spans = self._codec.unpack(self._records.read(start - from_known, stop))
        known = self._offsets[start // _STRIDE] if start < self.tokens else self._bytes
        before = spans.bytes[:from_known].sum() if start < self.tokens else 0
        return TokenSpans(**spans.cut(from_known, None)), int(known + before)

    def close(self) -> None:
        """Free the disk space."""
        self._records.close()


class Spanner:
    """Turns batches into spans on a spool, also spans that began in an earlier piece."""

    def __init__(self, spool: Spool, eos_id: int | None) -> None:
        self.document_starts = array("q")
        self.layouts = LayoutWatch()
        self._spool = spool
        self._eos_id = eos_id
        self._held: TokenSpans | None = None
        """The last token so far, which may still get the text after it."""
        self._rest: dict[str, int] = {}
        """Sums over the units after the last token."""
        self._rest_runs_on = False
        self._in_document = False
        """Whether the document has a token yet."""

    def feed(self, batch: Batch) -> None:
        """Take the next units and tokens."""
        if batch.ends is None and not self._rest:
            self._begin_documents(batch.starts)
            self._put(TokenSpans(ids=batch.ids, **vars(batch.units)))
            return
        ends = np.arange(1, len(batch.ids) + 1) if batch.ends is None else batch.ends
        before = np.searchsorted(ends, batch.starts, side="right") if batch.before is None else batch.before
        start = 0
        if self._in_document and before[:1].tolist() == [0]:  # what precedes the first start is the last token's
            start = int(batch.starts[0])
            self._keep(batch.units, 0, start)
            self._end_document()
        if not len(ends):
            self._keep(batch.units, start)
            return
        # The last token of each document ends with the document; of documents without tokens, the first start counts.
        last, where = np.unique(before, return_index=True)
        where, last = where[last > 0], last[last > 0] - 1
        if (ends[last] != batch.starts[where]).any():
            self.layouts.trail()
        stops = ends.copy()
        stops[last] = batch.starts[where]
        firsts = self._begin_documents(before[before < len(ends)])
        self._put(self._sums(batch, start, stops, firsts))
        self._keep(batch.units, int(stops[-1]))
        self._in_document = before[-1:].tolist() != [len(ends)]

    def finish(self) -> None:
        """Write the last token: nothing follows."""
        if self._held is None:
            return
        self._end_document()
        self._spool.append(self._held)
        self._held = None

    def _end_document(self) -> None:
        """Add the text after the last token to it."""
        self._in_document = False
        if self._rest:
            self.layouts.trail()
            if self._held is not None:
                more = {name: getattr(self._held, name) + self._rest[name] for name in _COUNTS}
                self._held = replace(self._held, **more)
            self._rest = {}

    def _begin_documents(self, firsts: Ints) -> Ints:
        """Note and return the tokens, counted from the next one, that are the first of a document."""
        firsts = np.unique(firsts) if self._in_document else np.union1d(firsts, [0])
        tokens = self._spool.tokens + (self._held is not None)
        self.document_starts.extend((tokens + firsts).tolist())
        self._in_document = True
        return firsts

    def _put(self, spans: TokenSpans) -> None:
        """Write all tokens but the last, which is held back."""
        if self._held is not None:
            self._spool.append(self._held)
        self._spool.append(TokenSpans(**spans.cut(None, -1)))
        self._held = TokenSpans(**spans.cut(-1, None))

    def _sums(self, batch: Batch, start: int, stops: Ints, firsts: Ints) -> TokenSpans:
        """Add up the units of each token, and those that were left before the first."""
        begins, units = np.append(start, stops[:-1]), batch.units
        sums: dict[str, Ints] = {}
        for name in _names(units):
            ended = np.append(getattr(units, name)[: stops[-1]], 0)  # the last token may be empty, and begin at the end
            sums[name] = np.add.reduceat(ended, begins, dtype=np.int64)
            sums[name][begins == stops] = 0  # a token that shares its character with the next has no counts
            sums[name][0] += self._rest.get(name, 0)
        runs_on = units.runs_on[begins]
        if self._rest:
            runs_on[0] = self._rest_runs_on
        self._rest = {}
        if isinstance(units, WordUnits):
            is_first = np.zeros(len(stops), bool)
            is_first[firsts] = True
            is_line = np.zeros(len(batch.ids), bool) if self._eos_id is None else batch.ids == self._eos_id
            self.layouts.feed(sums.pop("gap"), sums.pop("blank"), is_line, is_first)
        return TokenSpans(ids=batch.ids, runs_on=runs_on, **sums)

    def _keep(self, units: Units, start: int, stop: int | None = None) -> None:
        """Keep units after the last token for the next one."""
        which = slice(start, stop)
        if not len(units.characters[which]):
            return
        if not self._rest:
            self._rest_runs_on = bool(units.runs_on[start])
        for name in _names(units):
            self._rest[name] = self._rest.get(name, 0) + int(getattr(units, name)[which].sum(dtype=np.int64))


def _names(units: Units) -> tuple[str, ...]:
    return (*_COUNTS, "gap", "blank") if isinstance(units, WordUnits) else _COUNTS
