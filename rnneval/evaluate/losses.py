"""The losses of a text as a table, from which every number of a run record is made.

Reading a text fills the table (`rnneval.evaluate.run`), and so does the table of another program
(`rnneval.evaluate.imported`). Predictions come in any order, and again where a span is re-evaluated. They are added up
once everything is settled, in the order of the text, so no sum depends on how the text was divided.

A *block* is a piece of the text, of 256 bytes or more: a record keeps one sum per block.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rnneval import metrics
from rnneval.arrays import Ints
from rnneval.errors import TextError
from rnneval.metrics import LossesAlone, ScoredTokens, Totals
from rnneval.models.protocol import LanguageModel, Predicted
from rnneval.records import require_rows, table_written
from rnneval.records.run import Blocks
from rnneval.records.tables import LOSSES
from rnneval.text import EncodedText

_IN_MEMORY = 1 << 30  # most bytes of losses in memory; more lie in a temporary file
_CHUNK = 1 << 14  # rows that are added up at once: thirty columns of them stand in memory
_ROW_GROUP = 1 << 16  # rows that are written at once: small groups would make the index of the file grow
_UNITS = ("tokens", "characters", "scored_bytes", "words", "unknown")
_FIELDS: list[Any] = [
    ("token", pa.int64()),
    ("document", pa.int64()),
    ("byte_start", pa.int64()),
    ("byte_end", pa.int64()),
    ("id", pa.int32()),
    ("nats", pa.float64()),
]


class Observations:
    """A model's loss, confidence and rank at each position of a text, or at positions start to stop."""

    def __init__(self, lm: LanguageModel, start: int, stop: int) -> None:
        nats = np.float64 if lm.output_kind == "probabilities" else np.float32
        dtype = np.dtype([("nats", nats), ("confidence", "<f4"), ("rank", "<i4")])
        size = (stop - start) * dtype.itemsize
        self._start, self._records = start, _filed(size, dtype) if size > _IN_MEMORY else np.zeros(stop - start, dtype)

    def write(self, start: int, records: NDArray[Any]) -> None:
        """Keep packed predictions `(n,)` of consecutive positions."""
        at = start - self._start
        self._records[at : at + len(records)] = records

    def get(self, start: int, stop: int) -> Predicted:
        """Return the predictions of positions start to stop; one that was never written is zero."""
        return Predicted.of(self._records[start - self._start : stop - self._start])


def _filed(size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array of zeros, of so many bytes, in an unnamed temporary file."""
    try:
        with tempfile.TemporaryFile(prefix="rnneval-") as file:
            file.truncate(size)
            if hasattr(os, "posix_fallocate"):  # a page that a full disk does not take would end the process
                os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, dtype, "r+")
    except OSError as error:
        raise TextError(
            f"{tempfile.gettempdir()}: cannot hold {size:,} bytes of losses: {error.strerror or error}: set TMPDIR to "
            "a folder with more room"
        ) from error


class LossRows(NamedTuple):
    """Some rows of the table, in the order of the text; arrays of shape `(n,)`."""

    token: Ints  # positions in the text, from 0
    block: NDArray[np.intp]
    byte_start: Ints
    byte_end: Ints
    id: NDArray[np.int32]
    unknown: Ints
    scored: ScoredTokens  # losses, confidences and ranks, beside the units of text that each token stands for


@dataclass(frozen=True, kw_only=True, eq=False)
class Losses:
    """The losses of a text: a row for each token but the first `unscored` ones of each document."""

    text: EncodedText
    unscored: int
    nats: NDArray[np.floating[Any]]  # by position in the text, `(tokens,)`; of a position without a row, any number
    confidence: NDArray[np.float32] | None = None  # None, as is the rank, where the losses alone are known
    rank: NDArray[np.int32] | None = None

    def rows(self, most: int = _CHUNK) -> Iterator[LossRows]:
        """Yield all rows in the order of the text, those of up to `most` tokens at a time."""
        text = self.text
        for start in range(0, text.tokens, most):
            stop = min(start + most, text.tokens)
            token = np.arange(start, stop)
            wanted = text.are_scored(token, self.unscored)
            if not wanted.any():
                continue
            piece = text.read(start, stop, scored_from=self.unscored)
            units = {name: getattr(piece, name)[wanted] for name in ("characters", "bytes", "words", "newlines")}
            nats = self.nats[start:stop][wanted].astype(np.float64)
            if self.confidence is None or self.rank is None:
                scored: ScoredTokens = LossesAlone(nats=nats, confidence=nats, rank=piece.unknown[wanted], **units)
            else:
                confidence = self.confidence[start:stop][wanted].astype(np.float64)
                rank = self.rank[start:stop][wanted].astype(np.int64)
                scored = ScoredTokens(nats=nats, confidence=confidence, rank=rank, **units)
            byte_start, byte_end = piece.byte_start[wanted], piece.byte_end[wanted]
            block = text.blocks.block_of(byte_start)
            yield LossRows(token[wanted], block, byte_start, byte_end, piece.ids[wanted], piece.unknown[wanted], scored)


class NotFinite(NamedTuple):
    """The first loss, in the order of the text, that is not a finite number."""

    token: int
    byte: int
    value: float

    def __str__(self) -> str:
        """Return the place and the loss, for messages."""
        return f"the loss of token {self.token} (byte {self.byte} of the text) is {self.value}"


@dataclass(frozen=True, kw_only=True, eq=False)
class LossSums:
    """Sums over a table of losses."""

    blocks: Blocks
    """By block, as in the record; without the sums of metrics if a loss is not finite: no sum is a number then."""
    totals: Totals  # of all blocks together
    id_counts: Ints  # how often each id was scored, `(V,)`
    not_finite: NotFinite | None

    @property
    def total_nats(self) -> float | None:
        """The total loss; None if a loss is not finite."""
        return self.totals.sums.get("nats") if self.not_finite is None else None


def add_up(losses: Losses, width: int) -> LossSums:
    """Add up a table by block: units of text, and the terms of each metric; `width` is the number of ids."""
    layout, not_finite = losses.text.blocks, None
    units = {name: np.zeros(len(layout.ends), np.int64) for name in _UNITS}
    sums: dict[str, NDArray[np.float64]] = {}
    id_counts = np.zeros(width, np.int64)
    for rows in losses.rows():
        scored, first = rows.scored, np.flatnonzero(np.diff(rows.block, prepend=-1))  # rows of a block are neighbours
        blocks, one = rows.block[first], np.ones(len(rows.token), np.int64)
        counted = (one, scored.characters, scored.bytes, scored.words, rows.unknown)
        for name, values in zip(_UNITS, counted, strict=True):
            units[name][blocks] += np.add.reduceat(values, first, dtype=np.int64)
        for name, term in metrics.tally(scored).items():
            added = sums.setdefault(name, np.zeros(len(layout.ends), np.float64))
            added[blocks] += np.add.reduceat(term, first, dtype=np.float64)
        id_counts += np.bincount(rows.id, minlength=width)
        bad = np.flatnonzero(~np.isfinite(scored.nats))
        if bad.size and not_finite is None:
            at = bad[0]
            not_finite = NotFinite(int(rows.token[at]), int(rows.byte_start[at]), float(scored.nats[at]))
    return LossSums(
        blocks=Blocks(
            bytes=tuple(layout.ends.tolist()),
            document=tuple(layout.document.tolist()),
            **{name: tuple(values.tolist()) for name, values in units.items()},
            sums={} if not_finite else {name: tuple(values.tolist()) for name, values in sums.items()},
        ),
        totals=Totals(
            tokens=int(units["tokens"].sum()),
            characters=int(units["characters"].sum()),
            bytes=int(units["scored_bytes"].sum()),
            words=int(units["words"].sum()),
            lossless=losses.text.layout is not None,
            sums={name: float(values.sum()) for name, values in sums.items()},
        ),
        id_counts=id_counts,
        not_finite=not_finite,
    )


def require_losses_fit(path: str | os.PathLike[str], text: EncodedText) -> None:
    """Refuse, with a RecordError, a text with more tokens than a table of losses may have rows."""
    require_rows(path, pa.schema(_FIELDS), text.tokens)


def write_losses(losses: Losses, path: str | os.PathLike[str], described: Mapping[str, str]) -> None:
    """Write the table as Parquet, completely or not at all; its metadata say what it was made from."""
    schema = pa.schema(_FIELDS, metadata={"rnneval.schema": LOSSES, **described})
    repeated = ["document", "id"]  # the other columns never repeat: a dictionary of them would only take memory
    with table_written(path, schema, use_dictionary=repeated) as writer:
        for rows in losses.rows(_ROW_GROUP):
            document = losses.text.blocks.document[rows.block]
            columns = [rows.token, document, rows.byte_start, rows.byte_end, rows.id, rows.scored.nats]
            writer.write_table(pa.table([pa.array(column) for column in columns], schema=schema))
