"""From predictions to sums: observations of every token on disk, shown in the order of the text, added up by block.

Predictions come in any order, and again where a span is re-evaluated. They are shown once everything is settled, so no
sum depends on how the text was divided, and no memory on its length. A *block* is a piece of the text, of 256 bytes or
more: a record keeps one sum per block.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rnneval import metrics
from rnneval.backends.protocol import Predicted
from rnneval.metrics import LossesAlone, ScoredTokens
from rnneval.records import require_rows, table_written
from rnneval.records.run import Blocks
from rnneval.records.tables import LOSSES
from rnneval.text import BlockCuts, EncodedText
from rnneval.text.spool import DiskArray

_CHUNK = 1 << 14  # tokens shown at once: thirty columns of them stand in memory
_COLUMNS = ("ids", "characters", "bytes", "words", "newlines", "unknown", "byte_start", "byte_end")
_UNITS = ("tokens", "characters", "scored_bytes", "words", "unknown")
_ROW_GROUP = 1 << 16
_FIELDS: list[Any] = [
    ("token", pa.int64()),
    ("document", pa.int64()),
    ("byte_start", pa.int64()),
    ("byte_end", pa.int64()),
    ("id", pa.int32()),
    ("nats", pa.float64()),
]


class Observations:
    """Loss, confidence and rank of each position of a text."""

    def __init__(self, nats_dtype: Any = np.float32) -> None:
        self._dtype = np.dtype([("nats", nats_dtype), ("confidence", "<f4"), ("rank", "<i4")])
        self._rows = DiskArray(self._dtype, holds="losses")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rows.close()

    def put(self, position: int, records: NDArray[Any]) -> None:
        """Write the predictions of consecutive tokens, `(n,)`, packed, of which `position` is the first.

        Raises:
            TextError: the disk of temporary files is full.
        """
        self._rows.write(position, records)

    def get(self, start: int, stop: int) -> Predicted:
        """Read positions start to stop; a position that was never written is zero."""
        return Predicted.of(self._rows.read(start, stop))


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Scored tokens: their places in the text, and what they stand for; arrays of shape `(n,)`."""

    positions: NDArray[np.int64]
    ids: NDArray[np.int32]
    characters: NDArray[np.int64]
    bytes: NDArray[np.int64]
    words: NDArray[np.int64]
    newlines: NDArray[np.int64]
    unknown: NDArray[np.int64]
    byte_start: NDArray[np.int64]
    byte_end: NDArray[np.int64]


class Observer(Protocol):
    """Takes scored tokens: sums, a table of losses, traces."""

    def add(self, seen: Seen, scored: ScoredTokens) -> None:
        """Take n scored tokens, after all that come before them in the text."""
        ...


class Readable(Protocol):
    """Predictions by position in the text."""

    def get(self, start: int, stop: int) -> Predicted:
        """Return the predictions of positions start to stop, arrays of shape `(n,)`."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownLosses:
    """The losses of all tokens, `(tokens,)`; nothing else is known of a prediction."""

    nats: NDArray[np.float64]

    def get(self, start: int, stop: int) -> Predicted:
        """Return the losses of a range of tokens."""
        nats = self.nats[start:stop]
        unknown = np.full(len(nats), np.nan, np.float32)
        return Predicted(nats, unknown, np.full(len(nats), -1, np.int32))


def show(
    text: EncodedText,
    observations: Readable,
    observers: Iterable[Observer],
    *,
    unscored: int = 1,
    losses_alone: bool = False,
) -> None:
    """Show every scored token once, in the order of the text.

    Args:
        text: The text.
        observations: The predictions of its tokens.
        observers: They are shown the tokens, one after the other.
        unscored: Number of tokens at the start of each document that are not scored.
        losses_alone: Whether confidence and rank are not known.
    """
    observers, kind = tuple(observers), LossesAlone if losses_alone else ScoredTokens
    for start in range(0, text.tokens, _CHUNK):
        stop = min(start + _CHUNK, text.tokens)
        positions = np.arange(start, stop)
        wanted = text.are_scored(positions, unscored)
        if not wanted.any():
            continue
        piece = text.read(start, stop, scored_from=unscored)
        columns = {name: getattr(piece, name)[wanted] for name in _COLUMNS}
        seen = Seen(positions=positions[wanted], **columns)
        nats, confidence, rank = observations.get(start, stop)
        scored = kind(
            nats=nats[wanted].astype(np.float64),
            confidence=confidence[wanted].astype(np.float64),
            rank=rank[wanted].astype(np.int64),
            characters=seen.characters,
            bytes=seen.bytes,
            words=seen.words,
            newlines=seen.newlines,
        )
        for observer in observers:
            observer.add(seen, scored)


@dataclass(frozen=True, kw_only=True)
class NotFinite:
    """The first loss, in the order of the text, that is not a finite number."""

    token: int
    byte: int
    value: float


class Collector:
    """The sums of one run: units and each metric's terms by block, and how often each id was scored."""

    def __init__(self, cuts: BlockCuts, width: int) -> None:
        self._cuts = cuts
        self._units = {name: np.zeros(len(cuts.ends), np.int64) for name in _UNITS}
        self._sums: dict[str, NDArray[np.float64]] = {}
        self.id_counts = np.zeros(width, np.int64)
        self.not_finite: NotFinite | None = None

    @property
    def tokens(self) -> int:
        """Tokens that were scored so far."""
        return int(self._units["tokens"].sum())

    def unit(self, name: str) -> int:
        """Return how many `characters`, `scored_bytes`, `words`, … were scored so far."""
        return int(self._units[name].sum())

    def add(self, seen: Seen, scored: ScoredTokens) -> None:
        """Add scored tokens."""
        block = self._cuts.block_of(seen.byte_start)
        first = np.flatnonzero(np.diff(block, prepend=-1))  # tokens come in the order of the text
        blocks = block[first]
        one = np.ones(len(seen.ids), np.int64)
        for name, values in zip(_UNITS, (one, seen.characters, seen.bytes, seen.words, seen.unknown), strict=True):
            self._units[name][blocks] += np.add.reduceat(values, first, dtype=np.int64)
        self.id_counts += np.bincount(seen.ids, minlength=len(self.id_counts))
        self._note_not_finite(seen, scored)
        for name, term in metrics.tally(scored).items():
            if name not in self._sums:
                self._sums[name] = np.zeros(len(self._cuts.ends), np.float64)
            self._sums[name][blocks] += np.add.reduceat(term, first, dtype=np.float64)

    def _note_not_finite(self, seen: Seen, scored: ScoredTokens) -> None:
        bad = np.flatnonzero(~np.isfinite(scored.nats))
        if not bad.size:
            return
        at = bad[np.argmin(seen.positions[bad])]
        if self.not_finite is None or seen.positions[at] < self.not_finite.token:
            self.not_finite = NotFinite(
                token=int(seen.positions[at]), byte=int(seen.byte_start[at]), value=float(scored.nats[at])
            )

    def totals(self) -> dict[str, float]:
        """Return the sum of each term over all blocks."""
        return {name: float(values.sum()) for name, values in self._sums.items()}

    def blocks(self) -> Blocks:
        """Return the columns of the record; without sums if a loss is not finite, since no sum is a number then."""
        sums = {} if self.not_finite else self._sums
        return Blocks(
            bytes=tuple(self._cuts.ends.tolist()),
            document=tuple(self._cuts.document.tolist()),
            scored_bytes=tuple(self._units["scored_bytes"].tolist()),
            tokens=tuple(self._units["tokens"].tolist()),
            characters=tuple(self._units["characters"].tolist()),
            words=tuple(self._units["words"].tolist()),
            unknown=tuple(self._units["unknown"].tolist()),
            sums={name: tuple(values.tolist()) for name, values in sums.items()},
        )


def require_losses_fit(path: str | os.PathLike[str], text: EncodedText) -> None:
    """Refuse a text with more tokens than a table of losses may have rows.

    Raises:
        RecordError: the text has too many tokens.
    """
    require_rows(path, pa.schema(_FIELDS), text.tokens)


class LossWriter:
    """Writes a table of losses as scored tokens are shown."""

    def __init__(self, writer: Any, text: EncodedText) -> None:
        self._writer, self._text = writer, text
        self._held: list[Any] = []

    def add(self, seen: Seen, scored: ScoredTokens) -> None:
        """Write n rows: token, document, byte_start, byte_end, id, nats."""
        document = self._text.blocks.document[self._text.block_of(seen.byte_start)]
        columns: list[Any] = [seen.positions, document, seen.byte_start, seen.byte_end, seen.ids, scored.nats]
        arrays = [pa.array(column) for column in columns]
        self._held.append(pa.table(arrays, schema=self._writer.schema))
        if sum(map(len, self._held)) >= _ROW_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write the held rows as one row group; small groups would make the index of the file grow."""
        if self._held:
            self._writer.write_table(pa.concat_tables(self._held))
            self._held.clear()


@contextmanager
def losses_written(
    path: str | os.PathLike[str], text: EncodedText, described: Mapping[str, str]
) -> Iterator[LossWriter]:
    """Write a Parquet file atomically; its metadata say what it was made from.

    Raises:
        RecordError: the file cannot be written.
    """
    metadata = {key.encode(): value.encode() for key, value in {"rnneval.schema": LOSSES, **described}.items()}
    schema = pa.schema(_FIELDS, metadata=metadata)
    repeated = ["document", "id"]  # the other columns never repeat: a dictionary of them would only take memory
    with table_written(path, schema, use_dictionary=repeated) as writer:
        losses = LossWriter(writer, text)
        yield losses
        losses.flush()
