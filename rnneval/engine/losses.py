"""One loss a token on disk: a row a scored token, in the order of the text, in constant memory."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rnneval.engine.run import Seen
from rnneval.metrics import ScoredTokens
from rnneval.recordfile import whole_file
from rnneval.text import EncodedText

_CHUNK = 1 << 16
SCHEMA = "rnneval.losses/1"


class LossSpool:
    """Losses by position in an unnamed temporary file, written in any order; a token without one stays NaN."""

    def __init__(self, tokens: int) -> None:
        self._tokens = tokens
        self._file = tempfile.TemporaryFile(prefix="rnneval-")  # noqa: SIM115 - closed by __exit__
        for start in range(0, tokens, _CHUNK):
            self._file.write(np.full(min(_CHUNK, tokens - start), np.nan).tobytes())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, seen: Seen, scored: ScoredTokens) -> None:
        """Keep the losses; runs of neighbouring positions are written at once."""
        for at in np.split(np.arange(len(seen.positions)), np.flatnonzero(np.diff(seen.positions) != 1) + 1):
            if len(at):
                self._file.seek(int(seen.positions[at[0]]) * 8)
                self._file.write(scored.nats[at].tobytes())

    def write(self, path: str | os.PathLike[str], text: EncodedText, metadata: dict[str, str]) -> None:
        """Write token, document, byte_start, byte_end, id, nats as Parquet, whole or not at all.

        Raises:
            RecordError: the file cannot be written.
        """
        described = {key.encode(): value.encode() for key, value in {"rnneval.schema": SCHEMA, **metadata}.items()}
        schema = pa.schema(_FIELDS, metadata=described)
        with whole_file(path) as temporary, pq.ParquetWriter(Path(temporary), schema) as writer:
            for start, nats in self._chunks():
                writer.write_table(_table(text, start, nats, schema))

    def _chunks(self) -> Iterator[tuple[int, NDArray[np.float64]]]:
        for start in range(0, self._tokens, _CHUNK):
            self._file.seek(start * 8)
            yield start, np.frombuffer(self._file.read(min(_CHUNK, self._tokens - start) * 8))


_FIELDS: list[Any] = [
    ("token", pa.int64()),
    ("document", pa.int64()),
    ("byte_start", pa.int64()),
    ("byte_end", pa.int64()),
    ("id", pa.int32()),
    ("nats", pa.float64()),
]


def _table(text: EncodedText, start: int, nats: NDArray[np.float64], schema: Any) -> Any:
    tokens = np.arange(start, start + len(nats))
    piece = text.read(start, start + len(nats))
    document = text.blocks.document[text.block_of(piece.byte_start)]
    columns: list[NDArray[Any]] = [tokens, document, piece.byte_start, piece.byte_end, piece.ids, nats]
    scored = ~np.isnan(nats)
    return pa.table([pa.array(column[scored]) for column in columns], schema=schema)
