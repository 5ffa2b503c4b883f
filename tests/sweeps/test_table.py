"""The table of a sweep is held against its checksums when it is read again."""

from contextlib import suppress

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rnneval.errors import RecordError
from rnneval.records import table_written
from rnneval.sweeps.table import FILE, Row, read_table, write_table

ROWS = [Row(name=f"ckpt_{n}.keras", sha256=f"{n:064}", error="an empty file", rule="checkpoint") for n in range(40)]


def test_what_was_written_is_read(tmp_path):
    write_table(ROWS, tmp_path, {"signature": "s"})
    found = read_table(tmp_path)
    assert [(row["path"], row["epoch"], row["status"]) for row in found[:2]] == [
        ("ckpt_0.keras", 0, "failed"),
        ("ckpt_1.keras", 1, "failed"),
    ]
    assert len(found) == 40


def test_every_flipped_bit_of_a_page_is_refused(tmp_path):
    """pandas alone reads other names and hashes without a word."""
    path = write_table(ROWS, tmp_path, {})
    whole, rows = path.read_bytes(), read_table(tmp_path)
    silent, said = 0, set()
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)  # the paths
    first = column.dictionary_page_offset
    for at in range(first + 60, first + column.total_compressed_size, 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            assert read_table(tmp_path) == rows, at  # a field of a page's header that nothing reads
        except RecordError as error:
            said.add(str(error).partition(" (")[0])
        with suppress(Exception):
            silent += pd.read_parquet(path)["path"].tolist() != [row["path"] for row in rows]
    assert silent > 20
    assert said == {f"{path}: a damaged or truncated Parquet file"}


def test_another_table_is_refused(tmp_path):
    schema = pa.schema([("nats", pa.float64())], metadata={"rnneval.schema": "rnneval.losses/1"})
    with table_written(tmp_path / FILE, schema) as writer:
        writer.write_table(pa.table([np.ones(3)], schema=schema))
    with pytest.raises(RecordError, match=r"not a table of rnneval sweep \(schema rnneval\.sweep/1\): run the sweep"):
        read_table(tmp_path)


def test_no_table_is_said(tmp_path):
    with pytest.raises(
        RecordError, match=r"no sweep\.parquet in it: give the --out folder of a finished rnneval sweep"
    ):
        read_table(tmp_path)
