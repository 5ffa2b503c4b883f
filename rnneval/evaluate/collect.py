"""From predictions to sums: observations of every token on disk, shown in the order of the text, added up by block.

Predictions come in any order, and again where a span is re-evaluated. They are shown once everything is settled, so no
sum depends on how the text was divided, and no memory on its length. A *block* is a piece of the text, of 256 bytes or
more: a record keeps one sum per block.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rnneval import metrics
from rnneval.metrics import LossesAlone, ScoredTokens
from rnneval.models.protocol import LanguageModel, Predicted
from rnneval.records import require_rows, table_written
from rnneval.records.run import Blocks
from rnneval.records.tables import LOSSES
from rnneval.text import BlockCuts, EncodedText
from rnneval.text.spool import DiskArray

_CHUNK = 1 << 14  # tokens shown at once: thirty columns of them stand in memory
_PLACED, _COUNTED = ("ids", "unknown", "byte_start", "byte_end"), ("characters", "bytes", "words", "newlines")
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


class Observations(DiskArray):
    """A model's loss, confidence and rank at each position of a text, as packed predictions."""

    def __init__(self, lm: LanguageModel) -> None:
        nats = np.float64 if lm.output_kind == "probabilities" else np.float32
        super().__init__(np.dtype([("nats", nats), ("confidence", "<f4"), ("rank", "<i4")]), holds="losses")

    def get(self, start: int, stop: int) -> Predicted:
        """Return the predictions of positions start to stop; a position that was never written is zero."""
        return Predicted.of(self.read(start, stop))


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Scored tokens: which they are, and their places in the text; arrays of shape `(n,)`."""

    positions: NDArray[np.int64]
    ids: NDArray[np.int32]
    unknown: NDArray[np.int64]
    byte_start: NDArray[np.int64]
    byte_end: NDArray[np.int64]


def show(
    text: EncodedText,
    predictions: Observations | NDArray[np.float64],
    observers: Sequence["Collector | LossWriter"],
    *,
    unscored: int = 1,
) -> None:
    """Show every scored token once, in the order of the text; the first `unscored` ones of a document are not scored.

    Of predictions, the losses alone may be known, `(tokens,)`.
    """
    for start in range(0, text.tokens, _CHUNK):
        stop = min(start + _CHUNK, text.tokens)
        positions = np.arange(start, stop)
        wanted = text.are_scored(positions, unscored)
        if not wanted.any():
            continue
        piece = text.read(start, stop, scored_from=unscored)
        seen = Seen(positions=positions[wanted], **{name: getattr(piece, name)[wanted] for name in _PLACED})
        if isinstance(predictions, Observations):
            kind, predicted = ScoredTokens, predictions.get(start, stop)
        else:
            kind, nats = LossesAlone, predictions[start:stop]
            predicted = Predicted(nats, np.full(len(nats), np.nan, np.float32), np.full(len(nats), -1, np.int32))
        scored = kind(
            nats=predicted.nats[wanted].astype(np.float64),
            confidence=predicted.confidence[wanted].astype(np.float64),
            rank=predicted.rank[wanted].astype(np.int64),
            **{name: getattr(piece, name)[wanted] for name in _COUNTED},
        )
        for observer in observers:
            observer.add(seen, scored)


class NotFinite(NamedTuple):
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

    def units(self) -> dict[str, int]:
        """Return how many `tokens`, `characters`, `scored_bytes`, `words` and `unknown` ones were scored so far."""
        return {name: int(values.sum()) for name, values in self._units.items()}

    def add(self, seen: Seen, scored: ScoredTokens) -> None:
        """Add scored tokens."""
        block = self._cuts.block_of(seen.byte_start)
        first = np.flatnonzero(np.diff(block, prepend=-1))  # tokens come in the order of the text
        blocks = block[first]
        one = np.ones(len(seen.ids), np.int64)
        counted = (one, scored.characters, scored.bytes, scored.words, seen.unknown)
        for name, values in zip(_UNITS, counted, strict=True):
            self._units[name][blocks] += np.add.reduceat(values, first, dtype=np.int64)
        self.id_counts += np.bincount(seen.ids, minlength=len(self.id_counts))
        bad = np.flatnonzero(~np.isfinite(scored.nats))
        if bad.size and self.not_finite is None:
            at = bad[0]
            token, byte, value = seen.positions[at], seen.byte_start[at], scored.nats[at]
            self.not_finite = NotFinite(token=int(token), byte=int(byte), value=float(value))
        for name, term in metrics.tally(scored).items():
            if name not in self._sums:
                self._sums[name] = np.zeros(len(self._cuts.ends), np.float64)
            self._sums[name][blocks] += np.add.reduceat(term, first, dtype=np.float64)

    def totals(self) -> dict[str, float]:
        """Return the sum of each term over all blocks."""
        return {name: float(values.sum()) for name, values in self._sums.items()}

    def blocks(self) -> Blocks:
        """Return the columns of the record; without sums if a loss is not finite, since no sum is a number then."""
        sums = {} if self.not_finite else self._sums
        return Blocks(
            bytes=tuple(self._cuts.ends.tolist()),
            document=tuple(self._cuts.document.tolist()),
            **{name: tuple(values.tolist()) for name, values in self._units.items()},
            sums={name: tuple(values.tolist()) for name, values in sums.items()},
        )


def require_losses_fit(path: str | os.PathLike[str], text: EncodedText) -> None:
    """Refuse, with a RecordError, a text with more tokens than a table of losses may have rows."""
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
    """Write a Parquet file atomically, or raise a RecordError; its metadata say what it was made from."""
    metadata = {key.encode(): value.encode() for key, value in {"rnneval.schema": LOSSES, **described}.items()}
    schema = pa.schema(_FIELDS, metadata=metadata)
    repeated = ["document", "id"]  # the other columns never repeat: a dictionary of them would only take memory
    with table_written(path, schema, use_dictionary=repeated) as writer:
        losses = LossWriter(writer, text)
        yield losses
        losses.flush()
