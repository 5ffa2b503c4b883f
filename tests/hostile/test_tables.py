"""Parquet tables that lie, grow or hold what no table of rnneval holds: refused before they are decoded."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rnneval.errors import RecordError, UsageError
from rnneval.records import read_table
from rnneval.render.figures import TidyTable, figures_of
from tests.hostile.cost import cost, require_refused

LOSSES = {"rnneval.schema": "rnneval.losses/1"}
ROWS = 1 << 20


def losses(rows, **columns):
    """A sound table of losses, with columns exchanged."""
    place = np.arange(rows)
    sound = {
        "token": place, "document": place * 0, "byte_start": place, "byte_end": place + 1,
        "id": np.zeros(rows, np.int32), "nats": np.ones(rows),
    }  # fmt: skip
    return pa.table({**sound, **columns}).replace_schema_metadata(LOSSES)


def written(table, path, groups=1, group_rows=None, **options):
    with pq.ParquetWriter(path, table.schema, write_page_checksum=True, **options) as writer:
        for _ in range(groups):
            writer.write_table(table, row_group_size=group_rows)
    return path


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "command",
    [
        ["report", "t.parquet", "--out", "r.html"],
        ["plot", "t.parquet", "--list"],
        ["import", "t.parquet", "--text", "t.txt"],
    ],
    ids=lambda command: command[0],
)
def test_two_megabytes_that_declare_63_million_rows(tmp_path, command):
    """Before: 6 GB."""
    repeated = losses(ROWS, **{name: np.zeros(ROWS, np.int64) for name in ("token", "byte_start", "byte_end")})
    written(repeated, tmp_path / "t.parquet", groups=60)
    assert (tmp_path / "t.parquet").stat().st_size < 3e6
    done = cost(*command, cwd=tmp_path)
    require_refused(done, "t.parquet: 62,914,560 rows of 48 bytes, at most 536,870,912 bytes in memory", mb=300)


@pytest.mark.parametrize(
    ("nats", "said"),
    [
        (pa.array(["1.0"] * 9), "column 'nats' holds string, it must hold numbers"),
        (pa.array([[1.0]] * 9), "column 'nats' holds list<element: double>, it must hold numbers"),
        (pa.array([1.0] * 8 + [None]), "column 'nats' lacks 1 of 9 values, and may lack none"),
        (pa.array([1.0] * 8 + [float("nan")]), "a number in it is not finite"),
    ],
)
def test_losses_that_are_no_numbers_are_refused(tmp_path, nats, said):
    path = written(losses(9, nats=nats), tmp_path / "t.parquet")
    with pytest.raises(RecordError, match=said):
        read_table(path)


def test_spans_out_of_order_are_refused_in_time_that_does_not_grow_with_their_product():
    rows = 100_000
    text = "x" * rows
    every = losses(rows, byte_start=np.zeros(rows, np.int64), byte_end=np.full(rows, rows)).to_pandas()
    assert figures_of(TidyTable(schema="rnneval.losses/1", frame=every, text=text))[0].name == "passage"
    for start, stop in ((-1, 1), (5, 3), (0, rows + 1)):
        frame = losses(2, byte_start=np.full(2, start), byte_end=np.full(2, stop)).to_pandas()
        with pytest.raises(UsageError, match="byte ranges are not those of the text"):
            figures_of(TidyTable(schema="rnneval.losses/1", frame=frame, text=text))
