"""Tables of losses by any program: Parquet, CSV, or columns in memory; a row is a scored token."""

import csv
import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnneval.errors import RecordError
from rnneval.paths import read_regular, reason_of
from rnneval.records.tables import MOST_BYTES, opened, read_columns
from rnneval.text.spans import LossTable

NEEDED: Mapping[str, type] = {"token": int, "byte_start": int, "byte_end": int, "nats": float}
COLUMNS: Mapping[str, type] = {**NEEDED, "document": int, "id": int}
"""Columns of a table of losses, the last two if it has them."""


def read_losses(source: Any) -> LossTable:
    """Read a table of losses: a .parquet or .csv file, a dict of arrays or a DataFrame, or raise a RecordError."""
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        table, sha256 = _file(path)
        arrays = _arrays(path, {name: table[name] for name in table.column_names})
        text = (table.schema.metadata or {}).get(b"rnneval.text")
    else:
        path, text = "", None
        arrays = _arrays("the table of losses", _in_memory(source))
        sha256 = hashlib.sha256(b"".join(array.tobytes() for array in arrays.values())).hexdigest()
    text_sha256 = None if text is None else text.decode(errors="replace")
    found = LossTable(path=path, sha256=sha256, text_sha256=text_sha256, **arrays)
    wrong = ~(np.isfinite(found.nats) & (found.nats >= 0))
    if wrong.any():
        row = int(wrong.argmax())
        raise RecordError(
            f"{found.name}: row {row:,}: the loss of token {found.token[row]:,} (byte {found.byte_start[row]:,}) is "
            f"{found.nats[row]:.6g}, the first of {np.count_nonzero(wrong):,}: a loss is −ln p, in nats, finite and at "
            "least 0"
        )
    return found


def _file(path: str) -> tuple[Any, str]:
    """Read a file by its ending as a `pyarrow.Table`; return it and its hash."""
    ending = Path(path).suffix.lower()
    if ending == ".parquet":
        with opened(path) as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            return read_columns(path, file, COLUMNS), sha256
    if ending != ".csv":
        raise RecordError(f"{path}: its ending names no kind of table: give a file that ends in .parquet or .csv")
    try:
        raw = read_regular(path, MOST_BYTES)
        return _csv(path, raw), hashlib.sha256(raw).hexdigest()
    except (OSError, ValueError) as error:  # pyarrow's are among them
        said = " ".join(reason_of(error).split())[:300]
        raise RecordError(f"{path}: cannot be read as a table: {said}") from error


def _csv(path: str, raw: bytes) -> Any:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    most, allowed = raw.count(b"\n") + raw.count(b"\r"), MOST_BYTES // (8 * len(COLUMNS))
    if most > allowed:
        raise RecordError(f"{path}: up to {most:,} rows, at most {allowed:,} are read: take a --part of the text")
    names = next(csv.reader([raw.partition(b"\n")[0].decode("utf-8-sig", errors="replace").rstrip("\r")]), [])
    found = [name for name in COLUMNS if name in names]
    for name in found:
        if names.count(name) > 1:
            raise RecordError(f"{path}: has more than one column {name!r}: keep one of them")
    if not found:
        return pa.table({})
    types = {name: pa.int64() if COLUMNS[name] is int else pa.float64() for name in found}
    # Only an empty cell is a missing value: `nan` is a number that is not finite, and is named as such.
    options = arrow_csv.ConvertOptions(column_types=types, include_columns=found, null_values=[""])
    return arrow_csv.read_csv(io.BytesIO(raw), convert_options=options)


def _in_memory(source: Any) -> dict[str, Any]:
    """Return the columns of a dict or a DataFrame as Arrow arrays."""
    import pyarrow as pa

    if not hasattr(source, "keys") or not hasattr(source, "__getitem__"):
        raise RecordError(
            f"the table of losses is of type {type(source).__name__}: give a path, a dict of arrays or a DataFrame"
        )
    names = [name for name in COLUMNS if name in source.keys()]  # noqa: SIM118 - of a DataFrame, these are its columns
    try:
        return {name: pa.chunked_array([pa.array(np.asarray(source[name]))]) for name in names}
    except (pa.ArrowException, ValueError, TypeError) as error:
        said = " ".join(str(error).split())[:300]
        raise RecordError(f"the table of losses: a column is not an array of numbers, `(n,)`: {said}") from error


def _arrays(name: str, columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns as NumPy arrays, int64 or float64."""
    import pyarrow as pa

    if missing := [column for column in NEEDED if column not in columns]:
        raise RecordError(f"{name}: has no column {', '.join(missing)}: a table of losses has {', '.join(NEEDED)}")
    sizes = {column: len(values) for column, values in columns.items()}
    if len(set(sizes.values())) > 1:
        raise RecordError(f"{name}: its columns have different numbers of rows: {sizes}")
    arrays: dict[str, Any] = {}
    for column, values in columns.items():
        whole = COLUMNS[column] is int
        if not (pa.types.is_integer(values.type) or (pa.types.is_floating(values.type) and not whole)):
            kind = "whole numbers" if whole else "numbers"
            raise RecordError(f"{name}: column {column!r} holds {values.type}, it must hold {kind}")
        if values.null_count:
            row = values.is_null().to_numpy().argmax()
            raise RecordError(
                f"{name}: row {row:,}: column {column!r} has no value, the first of {values.null_count:,}: a token "
                "without a loss has no row"
            )
        try:
            arrays[column] = values.cast(pa.int64() if whole else pa.float64()).to_numpy()
        except pa.ArrowInvalid as error:
            raise RecordError(f"{name}: column {column!r} has a number beyond int64: {error}") from error
    return arrays
