"""Damaged records, tables and vocabularies: one line, or another whole value; never a traceback."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from rnneval.errors import RecordError
from rnneval.records import read_table, table_written
from tests.damage.plain import outcome, subjects, written

SUBJECTS = {subject.name: subject for subject in subjects()}
EACH = 25


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", SUBJECTS)
def test_a_damaged_file_is_refused_or_another_whole_one(name):
    counted = {"refused": 0, "unchanged": 0, "another": 0}
    for seed in range(EACH):
        counted[outcome(SUBJECTS[name], seed)[1]] += 1
    assert counted["refused"] > EACH // 4, counted


def test_every_flipped_bit_of_a_page_is_refused(tmp_path):
    """pandas alone would read another number without a word."""
    column = np.random.default_rng(0).random(300)
    schema = pa.schema([("value", pa.float64())], metadata={"rnneval.schema": "rnneval.losses/1"})
    path = tmp_path / "t.parquet"
    with table_written(path, schema, use_dictionary=False, compression="none") as writer:
        writer.write_table(pa.table([pa.array(column)], schema=schema))
    whole = path.read_bytes()
    first = whole.index(column.tobytes())
    silent = 0
    for at in range(first, first + column.nbytes, 61):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(RecordError, match=r"t\.parquet: a damaged or truncated Parquet file \(.*CRC.*\): copy it"):
            read_table(path)
        silent += not (pd.read_parquet(path)["value"].to_numpy() == column).all()
    assert silent > 30


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_rnneval_never_writes_is_refused(tmp_path, number):
    schema = pa.schema([("value", pa.float64())], metadata={"rnneval.schema": "rnneval.losses/1"})
    with table_written(tmp_path / "t.parquet", schema) as writer:
        writer.write_table(pa.table([pa.array([1.0, number, None])], schema=schema))
    with pytest.raises(RecordError, match="a number in it is not finite"):
        read_table(tmp_path / "t.parquet")


def test_tables_of_others_and_folders_without_any(tmp_path):
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "theirs.parquet")
    with pytest.raises(RecordError, match="none that rnneval wrote"):
        read_table(tmp_path / "theirs.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordError, match=r"not a Parquet table, and no history"):
        read_table(tmp_path / "empty")
    with pytest.raises(RecordError, match="cannot be read: no such file"):
        read_table(tmp_path / "none.parquet")


def test_a_damaged_part_of_a_history_is_named(tmp_path):
    files = SUBJECTS["history folder"].files
    folder = written(files, tmp_path / "history")
    assert read_table(folder).num_rows == 300
    (folder / "part-000001.parquet").write_bytes(files["part-000001.parquet"][:300])
    with pytest.raises(RecordError, match=r"part-000001\.parquet: a damaged or truncated"):
        read_table(folder)
