"""Parquet tables: written with a checksum on every page, and read only after their sizes and types were checked."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from rnneval.errors import RecordError
from rnneval.paths import open_regular, reason_of, whole_file

LOSSES, TRACE, SWEEP = "rnneval.losses/1", "rnneval.trace/1", "rnneval.sweep/1"
GRADIENT_HISTORY, STATE_HISTORY = "rnneval.gradient-history/1", "rnneval.state-history/1"
UNIFORM = "rnneval.uniform"  # Metadata of a state history: the loss of guessing, in nats per token.
WIRING = (
    "rnneval.wiring"  # Metadata of a state history: verdict and reason of the wiring check, as in `fail: shared-state`.
)
_HISTORY = {"layer": str, "variable": str, "statistic": str, "value": float}
TABLES: Mapping[str, Mapping[str, type]] = {
    LOSSES: {
        "token": int, "document": int, "byte_start": int, "byte_end": int, "id": int, "nats": float,
    },
    TRACE: {
        "position": float, "unit": float, "lag": float, "layer": str, "slot": str, "statistic": str, "value": float,
        "low": float, "high": float,
    },
    GRADIENT_HISTORY: {"step": int, **_HISTORY},
    STATE_HISTORY: {"epoch": int, **_HISTORY},
    SWEEP: dict.fromkeys(
        (
            "path", "run", "status", "rule", "error", "sha256", "format", "record", "signature", "text_sha256",
            "vocabulary_sha256", "warnings",
        ),
        str,
    ),
}  # fmt: skip
"""The type of each column, by schema. A column that is not listed, such as a score of a sweep, holds numbers.

Whole numbers that may be missing are numbers here, since pandas writes them as floats.
"""
_MAY_LACK_VALUES = frozenset(("position", "unit", "lag", "low", "high"))
_MAY_NOT_BE_FINITE = frozenset((GRADIENT_HISTORY, STATE_HISTORY))
"""Tables that record training runs, which may diverge."""
_SCHEMA = b"rnneval.schema"
MOST_BYTES = 1 << 29  # Bytes of a whole table in memory.
_MOST_CHUNK_BYTES = 1 << 24
"""Compressed bytes of one column of one row group. Snappy expands them by at most a factor of 22."""
_MOST_FOOTER_BYTES = 1 << 20
_MOST_DISTINCT = 4096
"""Different layers, slots, variables or statistics: figures and pages have a line or more for each."""
_MOST_CHECKPOINTS = 1 << 15  # Rows of a sweep: a page has a line for each.
_WORD_BYTES = 100  # Memory that a text cell takes as a Python string.
_CODECS = ("SNAPPY", "UNCOMPRESSED")


@contextmanager
def table_written(path: str | os.PathLike[str], schema: Any, **options: Any) -> Iterator[Any]:
    """Yield a `pyarrow.parquet.ParquetWriter` of a file, written completely or not at all; `schema` is pyarrow's."""
    import pyarrow.parquet as pq

    with whole_file(path) as temporary:
        with pq.ParquetWriter(temporary, schema, write_page_checksum=True, **options) as writer:
            yield writer
        with temporary.open("rb") as written:
            _require_readable(Path(path), written, MOST_BYTES)


def in_utf8(text: str) -> bytes:
    """Encode a text for a table, with an escape for half of a surrogate pair, which a JSON file may hold."""
    return text.encode("utf-8", errors="backslashreplace")


def require_rows(path: str | os.PathLike[str], schema: Any, rows: int, room: int = MOST_BYTES) -> None:
    """Refuse a table of so many rows, before it is made or read, if it takes more than `room` bytes in memory."""
    row_bytes = sum(_WORD_BYTES if str(field.type) in ("string", "large_string") else 8 for field in schema)
    if (schema.metadata or {}).get(_SCHEMA) == SWEEP.encode() and rows > _MOST_CHECKPOINTS:
        raise _too_large(path, f"a sweep of {rows:,} checkpoints", f"{_MOST_CHECKPOINTS:,}")
    if rows * row_bytes > room:
        raise _too_large(path, f"{rows:,} rows of {row_bytes} bytes", f"{MOST_BYTES:,} bytes in memory")


def read_table(path: str | os.PathLike[str]) -> Any:
    """Read a table of rnneval as a `pyarrow.Table`: a Parquet file, or the folder of a history's parts.

    The sizes that the footer declares are checked before anything is decoded, then the checksum of every page, the type
    of every column, and that every number is finite, except in a history. What fails is a RecordError.
    """
    import pyarrow as pa

    place = Path(path)
    files = sorted(place.glob("part-*.parquet")) if place.is_dir() else [place]
    if not files:
        raise RecordError(f"{place}: not a Parquet table, and no history: there is no part-….parquet in this folder")
    parts: list[Any] = []
    for file in files:
        parts.append(_table(file, MOST_BYTES - sum(part.nbytes for part in parts)))
        if not parts[-1].schema.equals(parts[0].schema):
            raise RecordError(f"{file}: its columns are not those of {files[0].name}: another table in the same folder")
    whole = pa.concat_tables(parts).unify_dictionaries()
    failed = [
        part.schema.metadata for part in parts if part.schema.metadata.get(WIRING.encode(), b"").startswith(b"fail")
    ]
    return whole.replace_schema_metadata(failed[0]) if failed else whole  # one training that fails spoils the table


def read_columns(path: str, file: BinaryIO, columns: Mapping[str, type]) -> Any:
    """Read those of these columns that a Parquet table of any program has, their sizes and types checked."""
    place = Path(path)
    footer, stored = _require_readable(place, file, MOST_BYTES)
    for name in columns:
        if stored.names.count(name) > 1:
            raise RecordError(f"{place}: has more than one column {name!r}: keep one of them")
    kinds = {name: kind for name, kind in columns.items() if name in stored.names}
    return _decoded(place, file, footer, MOST_BYTES, kinds)


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[BufferedReader]:
    """Yield a Parquet file that is open, and turn every error of reading it into a `RecordError`."""
    try:
        with open_regular(path) as file:
            yield file
    except RecordError:
        raise
    except Exception as error:  # pyarrow, and the types that other packages register with it, raise errors of any kind
        why = " ".join(str(error).split())[:200] or type(error).__name__
        said = f"a damaged or truncated Parquet file ({why}): copy it again, or make it again"
        if isinstance(error, OSError) and error.errno:  # pyarrow's own have no number
            missing = isinstance(error, FileNotFoundError)
            said = f"cannot be read: {'no such file' if missing else reason_of(error)}"
        raise RecordError(f"{path}: {said}") from error


def _table(path: Path, room: int) -> Any:
    """Read one file of rnneval, which may take `room` bytes in memory."""
    import pyarrow as pa

    with opened(path) as file:
        footer, stored = _require_readable(path, file, room)
        metadata = {key: value for key, value in (stored.metadata or {}).items() if key.startswith(b"rnneval.")}
        schema = metadata.get(_SCHEMA, b"").decode()
        if not schema:
            raise RecordError(f"{path}: a Parquet table that rnneval did not write: it has no metadata rnneval.schema")
        kinds = {name: TABLES.get(schema, {}).get(name, float) for name in stored.names}
        table = _decoded(path, file, footer, room, kinds)
        table.validate(full=True)
        _require_values(path, table, schema)
        types = pa.schema([(field.name, field.type) for field in stored], metadata=metadata)
        return table.cast(types).replace_schema_metadata(metadata)


def _require_readable(path: Path, file: BinaryIO, room: int) -> tuple[Any, Any]:
    """Return the footer and the Arrow schema of a file, or refuse it by the sizes that the footer declares."""
    import pyarrow.parquet as pq

    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 8, 0))
    footer_bytes = int.from_bytes(file.read(4), "little")
    file.seek(0)
    if _MOST_FOOTER_BYTES < footer_bytes <= size:  # pyarrow would build objects from all of it
        raise _too_large(path, f"its footer takes {footer_bytes:,} bytes", f"{_MOST_FOOTER_BYTES:,} bytes")
    footer = pq.read_metadata(file)
    stored = footer.schema.to_arrow_schema()
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    rows = sum(group.num_rows for group in groups)
    if any(group.num_rows < 0 for group in groups) or rows != footer.num_rows:
        raise ValueError(f"it declares {footer.num_rows:,} rows, its row groups {rows:,}")
    require_rows(path, stored, rows, room)
    for column in (group.column(number) for group in groups for number in range(group.num_columns)):
        if column.compression not in _CODECS:
            raise RecordError(
                f"{path}: a column is compressed by {column.compression}, rnneval writes {' or '.join(_CODECS)}: "
                "make it again with rnneval, or with compression='snappy'"
            )
        if not 0 <= column.total_compressed_size <= _MOST_CHUNK_BYTES:
            seen = f"a column of {column.total_compressed_size:,} bytes in one row group"
            raise _too_large(path, seen, f"{_MOST_CHUNK_BYTES:,} bytes")
    return footer, stored


def _decoded(path: Path, file: BinaryIO, footer: Any, room: int, kinds: Mapping[str, type]) -> Any:
    """Decode columns, one row group after another, and stop if their texts take more memory than was declared."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    words, held = [name for name, kind in kinds.items() if kind is str], 0
    with pq.ParquetFile(file, metadata=footer, page_checksum_verification=True, read_dictionary=words) as parquet:
        groups = [parquet.schema_arrow.empty_table().select([*kinds])]
        for field in groups[0].schema:
            _require_type(path, field, kinds[field.name])
        for number in range(parquet.num_row_groups):
            groups.append(parquet.read_row_group(number, [*kinds], use_threads=False))
            held += groups[-1].nbytes
            for column in groups[-1].columns:
                for chunk in (
                    column.chunks if pa.types.is_dictionary(column.type) else ()
                ):  # as if each row held its text
                    held += pc.sum(pc.binary_length(chunk.dictionary).take(chunk.indices)).as_py() or 0
            if held > room:
                raise _too_large(path, f"its texts take {held:,} bytes", f"{room:,} bytes in memory")
    return pa.concat_tables(groups)


def _require_type(path: Path, field: Any, kind: type) -> None:
    from pyarrow import types

    held = field.type.value_type if kind is str and types.is_dictionary(field.type) else field.type
    allowed: dict[type, tuple[Any, ...]] = {
        str: ("text", types.is_string, types.is_large_string),
        int: ("whole numbers", types.is_integer),
        float: ("numbers", types.is_integer, types.is_floating),
    }
    wanted, *fitting = allowed[kind]
    if not any(fits(held) for fits in fitting):
        raise RecordError(f"{path}: column {field.name!r} holds {field.type}, it must hold {wanted}: make it again")


def _require_values(path: Path, table: Any, schema: str) -> None:
    """Refuse a number that is not finite, except in a history, and a missing value where there must be one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    optional = table.schema.names if schema == SWEEP else _MAY_LACK_VALUES
    for name, column in zip(table.schema.names, table.columns, strict=True):
        finite = schema not in _MAY_NOT_BE_FINITE and pa.types.is_floating(column.type)
        if finite and not pc.all(pc.is_finite(column), min_count=0).as_py():
            raise ValueError("a number in it is not finite, which rnneval never writes")
        if schema != SWEEP and pa.types.is_dictionary(column.type):
            distinct = max((len(chunk.dictionary) for chunk in column.unify_dictionaries().chunks), default=0)
            if distinct > _MOST_DISTINCT:
                raise _too_large(path, f"column {name!r} has {distinct:,} different texts", f"{_MOST_DISTINCT:,}")
        if column.null_count and name not in optional:
            seen = f"column {name!r} lacks {column.null_count:,} of {len(column):,} values"
            raise RecordError(f"{path}: {seen}, and may lack none: make it again")


def _too_large(path: str | os.PathLike[str], size: str, allowed: str) -> RecordError:
    return RecordError(
        f"{os.fspath(path)}: {size}, at most {allowed} are allowed: take fewer rows (of losses and traces: a --part of "
        "the text)"
    )
