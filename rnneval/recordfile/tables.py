"""Tables of Parquet: written with a checksum over every page, which pandas ignores and `read_table` looks at."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rnneval.errors import RecordError
from rnneval.recordfile.paths import open_regular
from rnneval.recordfile.whole import whole_file

_SCHEMA = b"rnneval.schema"


@contextmanager
def table_written(path: str | os.PathLike[str], schema: Any, **options: Any) -> Iterator[Any]:
    """Give a `pyarrow.parquet.ParquetWriter` of a file that is written whole or not at all.

    Args:
        path: Where it goes.
        schema: A `pyarrow.Schema`; its metadata say what the table was made from (`rnneval.schema`).
        options: Of the writer.

    Raises:
        RecordError: the file cannot be written.
    """
    import pyarrow.parquet as pq

    with (
        whole_file(path) as temporary,
        pq.ParquetWriter(temporary, schema, write_page_checksum=True, **options) as writer,
    ):
        yield writer


def read_table(path: str | os.PathLike[str]) -> Any:
    """Read a table of rnneval as a `pyarrow.Table`: a Parquet file, or a history's folder of whole parts.

    Every page is held against its checksum, every column against its type, and no number but a finite one is taken.

    Raises:
        RecordError: it is missing, unreadable, damaged, or was not written by rnneval; the message names the file.
    """
    import pyarrow as pa

    place = Path(path)
    files = sorted(place.glob("part-*.parquet")) if place.is_dir() else [place]
    if not files:
        raise RecordError(f"{place}: not a Parquet table, and no history: there is no part-….parquet in this folder")
    parts = [_file(file) for file in files]
    for file, part in zip(files, parts, strict=True):
        if part.schema.names != parts[0].schema.names:
            raise RecordError(f"{file}: its columns are not those of {files[0].name}: another table in the same folder")
    try:
        return pa.concat_tables(parts).unify_dictionaries()
    except (pa.ArrowException, ValueError) as error:
        raise RecordError(f"{place}: its parts do not fit together ({_said(error)})") from error


def described(table: Any) -> Mapping[str, str]:
    """Give what stands in the table's own metadata: schema, signature, hashes."""
    return {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}


def _file(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # One file, by itself: its folder's name is no column, and neighbours are no parts of it.
        with open_regular(path) as opened, pq.ParquetFile(opened, page_checksum_verification=True) as file:
            table = file.read(use_threads=False)
        table.validate(full=True)
        described(table)
        for name in table.schema.names:
            _refuse_not_finite(table[name])
    except FileNotFoundError as error:
        raise RecordError(f"{path}: cannot be read: no such file") from error
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise RecordError(
            f"{path}: a damaged or truncated Parquet file ({_said(error)}): copy it again, or make it again"
        ) from error
    if _SCHEMA not in (table.schema.metadata or {}):
        raise RecordError(
            f"{path}: a Parquet table of schema 'unknown', none that rnneval wrote: its metadata name no rnneval.schema"
        )
    return table


def _refuse_not_finite(column: Any) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(column.type) and not pc.all(pc.is_finite(column), min_count=0).as_py():
        raise ValueError("a number in it is not finite, which rnneval never writes")


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
