"""A folder becomes a table: what is measured, what is kept, what a bad file costs. The models and the answer in float64
are those of the shelf; tasks run in this process, but for the kill tests. What is kept does not depend on what is
measured: where that is the question, records are made of numbers."""

import json
import pickle
import shutil
import zipfile
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from msgspec import structs

import rnneval
from rnneval.cli.main import run
from rnneval.errors import RecordError, TextError, UsageError
from rnneval.evaluate import sweep as many
from rnneval.evaluate.executor import WorkerDiedError
from rnneval.evaluate.sweep_table import records_of
from rnneval.records import read_run
from rnneval.records.run import Warning as RunWarning
from tests.evaluate.pools import Shuffled
from tests.files.identified import identify
from tests.gates.synthetic import ar_losses, make_run

LOSSES = ar_losses(128)


@pytest.fixture
def folder(shelf, tmp_path):
    """Two good checkpoints, two bad ones, and things that are none."""
    root = tmp_path / "checkpoints"
    (root / "lstm").mkdir(parents=True)
    shutil.copy(shelf / "flat.keras", root / "ckpt_10.keras")
    shutil.copy(shelf / "flat.h5", root / "ckpt_9.h5")
    (root / "lstm" / "epoch_3.keras").touch()
    (root / "step5.h5").write_bytes(pickle.dumps({}))
    shutil.copy(shelf / "vocab.json", root)
    return root


class Quick(Shuffled):
    """Looks at every file for real, and gives a good one a record as its own: of `.h5` files a worse one."""

    def __init__(self):
        super().__init__(2, seed=1)

    def run(self, call, items):
        yield from super().run(self._measure, items)

    def _measure(self, order):
        identify(Path(order.checkpoint.path))
        record = make_run(LOSSES + 0.25 * order.checkpoint.path.endswith(".h5"))
        checkpoint = structs.replace(record.checkpoint, path=order.path, sha256=order.checkpoint.sha256)
        warnings = (RunWarning(code="no-interval", message="a text without intervals"),)
        return structs.replace(record, checkpoint=checkpoint, warnings=warnings)


def run_by(monkeypatch, pool):
    """Let a pool of this process run the tasks of every sweep."""
    monkeypatch.setattr(many, "connected", lambda *_, **__: nullcontext(pool))


@pytest.fixture
def sweep(folder, shelf, tmp_path, monkeypatch):
    """Sweep the folder in this process; gives the sweep and how many checkpoints were measured."""

    def sweep(*, real=False, **options):
        pool = Shuffled(2, seed=1) if real else Quick()
        options = {"check": False, "states": False, **options}
        run_by(monkeypatch, pool)
        result = rnneval.sweep(folder, shelf.text, out=tmp_path / "out", **options)
        return result, len(pool.ran)

    return sweep


def test_a_row_and_a_record_a_checkpoint(sweep, shelf, tmp_path):
    result, measured = sweep(real=True)
    assert (measured, result.finished_before) == (4, 0)
    frame = result.to_frame()
    assert frame["path"].tolist() == ["ckpt_9.h5", "ckpt_10.keras", "lstm/epoch_3.keras", "step5.h5"]
    assert frame["status"].tolist() == ["ok", "ok", "failed", "failed"]
    assert frame["rule"].tolist()[2:] == ["interrupted-save", "pickle"]
    assert "an empty file; Keras leaves one where saving failed" in frame["error"].tolist()[2]
    assert "a pickle: reading one runs code" in frame["error"].tolist()[3]
    assert frame["epoch"].fillna(-1).tolist() == [9, 10, 3, -1]
    assert frame["step"].fillna(-1).tolist() == [-1, -1, -1, 5]
    assert frame["run"].tolist() == ["", "", "lstm", ""]
    for _, row in frame[:2].iterrows():
        record = read_run(tmp_path / "out" / row["record"])
        assert row["total_nats"] == pytest.approx(shelf.total_nats, rel=1e-6)  # by the loop in float64
        assert (row["sha256"], row["total_nats"]) == (record.checkpoint.sha256, record.total_nats)
        assert row["perplexity"] == record.scores["perplexity"].value
    assert pq.read_schema(tmp_path / "out" / "sweep.parquet").metadata[b"rnneval.schema"] == b"rnneval.sweep/1"
    records = records_of(tmp_path / "out")
    assert list(records) == ["ckpt_9.h5", "ckpt_10.keras"]
    assert [path.name.split("-")[0] for path in records.values()] == list(records)


def other_bytes(path):
    """The same model in a file of another content."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_what_is_finished_is_not_done_again(sweep, folder, shelf, tmp_path):
    first, _ = sweep()
    before = (tmp_path / "out" / "sweep.parquet").read_bytes()
    again, measured = sweep()
    assert (measured, again.finished_before) == (2, 2)  # what failed is tried again
    pd.testing.assert_frame_equal(again.to_frame(), first.to_frame())
    assert (tmp_path / "out" / "sweep.parquet").read_bytes() == before
    for change in (
        lambda: other_bytes(folder / "ckpt_10.keras"),
        lambda: (tmp_path / "out" / first.rows[0].record).write_text("{"),  # a record that is not whole
        lambda: shutil.copy(shelf / "flat.keras", folder / "ckpt_11.keras"),  # a new one
    ):
        change()
        result, measured = sweep()
        assert measured == 3
        assert result.to_frame()["status"].tolist().count("failed") == 2, result.to_frame()["error"].tolist()
    result, measured = sweep(part=":200")  # another text
    assert (measured, result.finished_before) == (5, 0)
    assert sweep(state="reset", segment=50)[1] == 5  # the same text, read in another way
    assert sweep()[0].finished_before == 3  # the records of the first one are still there


def test_a_worker_that_dies_is_a_row(folder, shelf, tmp_path, monkeypatch):
    class Deadly(Shuffled):
        def run(self, call, items):
            yield from super().run(self._died, items)

        def _died(self, item):
            raise WorkerDiedError("…")

    run_by(monkeypatch, Deadly(1, 0))
    result = rnneval.sweep(folder, shelf.text, out=tmp_path / "out")
    assert {row.rule for row in result.rows} == {"worker-died"}
    assert "more memory than a worker has (--memory), or its content crashes a parser" in result.rows[0].error
    with pytest.raises(RecordError, match="4 checkpoints all failed"):
        records_of(tmp_path / "out")


def test_usage(folder, shelf, tmp_path):
    for options, error, said in (
        ({"folder": tmp_path / "nowhere"}, UsageError, "no such folder"),
        ({"text": tmp_path / "nowhere.txt"}, TextError, "no such file"),
        ({"state": "reset"}, UsageError, "state='reset' needs segment"),
        ({"streams": 0}, UsageError, "not a number of rows"),
        ({"colour": "red"}, UsageError, "colour: not an option of sweep"),
        ({"fit_on": shelf.text}, UsageError, "fit_on.* are scored too"),
        ({"out": shelf.text}, RecordError, "cannot be made"),
        ({"opening": {"vocabulary": tmp_path / "nowhere.json"}}, UsageError, "cannot be read"),
    ):
        arguments = {"folder": folder, "text": shelf.text, "out": tmp_path / "out", **options}
        with pytest.raises(error, match=said):
            rnneval.sweep(**arguments)
        assert not list(tmp_path.glob("out/**/*.json"))


def test_the_command(folder, shelf, monkeypatch, capsys, refused):
    run_by(monkeypatch, Quick())
    out = folder.parent / "out"
    arguments = ["sweep", str(folder), str(shelf.text), "--out", str(out), "--no-check", "--no-states"]
    assert run(arguments) == 1
    printed = capsys.readouterr().out
    assert "failed: interrupted-save" in printed
    assert "4 checkpoints, 2 failed" in printed
    for name in ("lstm/epoch_3.keras", "step5.h5"):
        (folder / name).unlink()
    tables = [word for ending in ("csv", "md") for word in ("--table", str(folder.parent / f"t.{ending}"))]
    assert run([*arguments, "--format", "json", *tables]) == 0
    assert pd.read_csv(folder.parent / "t.csv")["path"].tolist() == ["ckpt_9.h5", "ckpt_10.keras"]
    assert "ckpt" in (folder.parent / "t.md").read_text()
    assert '"path": "ckpt_9.h5", "run": "", "epoch": 9' in capsys.readouterr().out
    assert run([*arguments, "--strict", "--quiet"]) == 1  # every record has a warning
    said = "rnneval: warning no-interval: ckpt_9.h5, ckpt_10.keras: a text without intervals\n"
    assert capsys.readouterr() == ("", said)
    assert "--expect-sha256 is for one checkpoint" in refused(*arguments, "--expect-sha256", "0" * 64)
    assert "--memory is for processes" in refused("evaluate", shelf / "flat.keras", shelf.text, "--memory", "2GB")


def test_the_folder_is_taken_by_compare_report_and_plot(sweep, folder, tmp_path, capsys, refused):
    first, _ = sweep()
    out = str(tmp_path / "out")
    assert run(["compare", out, "--format", "json"]) == 0
    ranked = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in ranked["rows"]] == ["ckpt_10.keras", "ckpt_9.h5"]
    assert run(["report", out, "--format", "json"]) == 0
    page = json.loads(capsys.readouterr().out)
    best = next(row.record for row in first.rows if row.name == "ckpt_10.keras")
    assert page["records"] == ["sweep.parquet", Path(best).name]
    assert [part["anchor"] for part in page["sections"]][:2] == ["checkpoints", "numbers"]
    assert run(["plot", out, "--out", str(tmp_path / "curve.svg")]) == 0
    assert "ckpt_10.keras is best, at epoch 10" in capsys.readouterr().out
    assert "no sweep.parquet in it" in refused("compare", folder)
