"""A folder of a history that holds files of others: nothing is removed, and each is refused in one line."""

import pandas as pd
import pytest

from rnneval.callbacks import GradientNorms, StateNorms
from rnneval.errors import RecordError
from tests.callbacks.small import compiled, trained
from tests.evaluate.small import LETTERS, letters


@pytest.mark.parametrize("existing", ["replace", "append"])
@pytest.mark.parametrize("name", ["part-000000.parquet", "part-a.parquet", "part-00000-5f1c.snappy.parquet"])
@pytest.mark.parametrize("content", ["text", "table"])
def test_files_of_other_programs_stay(tmp_path, existing, name, content):
    folder = tmp_path / "history"
    folder.mkdir()
    pd.DataFrame({"value": [1.0]}).to_parquet(folder / name) if content == "table" else (folder / name).write_text("x")
    before = (folder / name).read_bytes()
    with pytest.raises(RecordError, match=f"{name}: is no part of such a history, and stays: give another folder"):
        StateNorms(folder, letters(tmp_path, 300), vocabulary=list(LETTERS), existing=existing)
    assert (folder / name).read_bytes() == before


def test_a_history_of_the_other_callback_stays(tmp_path):
    trained(compiled(), [GradientNorms(tmp_path / "history")], epochs=1)
    before = sorted((tmp_path / "history").iterdir())
    for existing in ("replace", "append"):
        with pytest.raises(RecordError, match="is no part of such a history"):
            StateNorms(tmp_path / "history", string="ab", vocabulary=list(LETTERS), existing=existing)
    assert sorted((tmp_path / "history").iterdir()) == before
