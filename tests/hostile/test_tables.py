"""Parquet tables that lie, grow or hold what no table of rnneval holds: refused before they are decoded."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rnneval.errors import RecordError, UsageError
from rnneval.records import read_table, require_rows, table_written, tables
from rnneval.render.figures import TidyTable, figures_of, load
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


def test_the_parts_of_a_history_share_one_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MOST_BYTES", 70_000)
    words = pa.array(["gru"] * 1000).dictionary_encode()
    table = pa.table({"step": np.arange(1000), "layer": words, "variable": words, "statistic": words})
    table = table.append_column("value", pa.array(np.ones(1000)))
    table = table.replace_schema_metadata({"rnneval.schema": "rnneval.gradient-history/1"})
    for number in range(3):
        written(table, tmp_path / f"part-{number:06}.parquet")
    assert read_table(tmp_path / "part-000000.parquet").num_rows == 1000
    with pytest.raises(RecordError, match=r"part-000002\.parquet: 1,000 rows .* in memory, all parts together"):
        read_table(tmp_path)


def test_one_long_text_in_every_row(tmp_path):
    """A dictionary of one text of a megabyte in two columns of 30,000 rows would be 63 GB of texts."""
    rows = 30_000
    word = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * (1 << 20)]))
    table = pa.table({"path": word, "status": word}).replace_schema_metadata({"rnneval.schema": "rnneval.sweep/1"})
    written(table, tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 1e6
    done = cost("report", "t.parquet", "--out", "r.html", cwd=tmp_path)
    require_refused(done, "t.parquet: its texts take 62,9", mb=300)


@pytest.mark.parametrize(
    "metadata",
    [
        '{"index_columns": ["gone"], "columns": []}', "[" * 100_000,
    ],
)  # fmt: skip
def test_metadata_of_pandas_are_not_read(tmp_path, metadata):
    """Before: KeyError, RecursionError."""
    table = losses(50).replace_schema_metadata({**LOSSES, "pandas": metadata})
    path = written(table, tmp_path / "t.parquet")
    assert read_table(path).schema.metadata == {b"rnneval.schema": b"rnneval.losses/1"}
    assert load(path).frame["nats"].tolist() == [1.0] * 50


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
        with pytest.raises(UsageError, match=r"not in the order of a text|the losses reach to byte"):
            figures_of(TidyTable(schema="rnneval.losses/1", frame=frame, text=text))


@pytest.mark.parametrize(("layers", "read"), [(4_096, True), (4_097, False)])
def test_a_history_of_more_layers_than_a_page_can_show(tmp_path, layers, read):
    names = pa.array([f"gru{number}" for number in range(layers)]).dictionary_encode()
    columns = {"step": np.arange(layers), "layer": names, "variable": names, "statistic": names}
    table = pa.table({**columns, "value": np.ones(layers)})
    path = written(
        table.replace_schema_metadata({"rnneval.schema": "rnneval.gradient-history/1"}), tmp_path / "h.parquet"
    )
    if read:
        assert read_table(path).num_rows == layers
    else:
        with pytest.raises(RecordError, match="column 'layer' has 4,097 different texts, at most 4,096 are allowed"):
            read_table(path)


def test_losses_are_written_as_long_as_they_can_be_read(tmp_path):
    """Before: a table of any length was written, which report then refused. 10 million characters have room."""
    most = (1 << 29) // 48
    assert most > 10_000_000
    schema, place = losses(1).schema, tmp_path / "t.parquet"
    require_rows(place, schema, most)
    said = rf"t\.parquet: {most + 1:,} rows of 48 bytes, at most 536,870,912 bytes in memory .* a --part of the text"
    with pytest.raises(RecordError, match=said):
        require_rows(place, schema, most + 1)


def test_a_table_that_grew_too_long_never_takes_its_place(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MOST_BYTES", 48 * 100)
    place = tmp_path / "t.parquet"
    place.write_text("old")
    with pytest.raises(RecordError, match="101 rows of 48 bytes"), table_written(place, losses(1).schema) as writer:
        writer.write_table(losses(101))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("t.parquet", "old")]
    with table_written(place, losses(1).schema) as writer:
        writer.write_table(losses(100))
    assert read_table(place).num_rows == 100
