"""One loss a token on disk: a row a scored token, in the order of the text, written as it comes."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from rnneval.engine.summing import Seen
from rnneval.metrics import ScoredTokens
from rnneval.records import require_rows, table_written
from rnneval.text import EncodedText

SCHEMA = "rnneval.losses/1"
_ROW_GROUP = 1 << 16
_FIELDS: list[Any] = [
    ("token", pa.int64()),
    ("document", pa.int64()),
    ("byte_start", pa.int64()),
    ("byte_end", pa.int64()),
    ("id", pa.int32()),
    ("nats", pa.float64()),
]


def require_losses_fit(path: str | os.PathLike[str], text: EncodedText) -> None:
    """Refuse a text with more tokens than a table of losses may have rows.

    Raises:
        RecordError: it has.
    """
    require_rows(path, pa.schema(_FIELDS), text.tokens)


class LossWriter:
    """Writes scored tokens as they are shown."""

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
        """Write what is held as one row group; small ones would make the file's own index grow."""
        if self._held:
            self._writer.write_table(pa.concat_tables(self._held))
            self._held.clear()


@contextmanager
def losses_written(
    path: str | os.PathLike[str], text: EncodedText, described: Mapping[str, str]
) -> Iterator[LossWriter]:
    """Write a Parquet file, whole or not at all; its own metadata say what it was made from.

    Raises:
        RecordError: the file cannot be written.
    """
    metadata = {key.encode(): value.encode() for key, value in {"rnneval.schema": SCHEMA, **described}.items()}
    schema = pa.schema(_FIELDS, metadata=metadata)
    repeated = ["document", "id"]  # the other columns never repeat: a dictionary of them would only take memory
    with table_written(path, schema, use_dictionary=repeated) as writer:
        losses = LossWriter(writer, text)
        yield losses
        losses.flush()
