"""The table of a sweep: checked against its checksums when it is read again, with names as people write them."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from msgspec import structs

from rnneval.errors import RecordError
from rnneval.evaluate.sweep import Sweep
from rnneval.evaluate.sweep_table import (
    FILE,
    SweepRow,
    best_first,
    place_of,
    read_table,
    write_table,
)
from rnneval.records import table_written
from rnneval.records.run import Warning as RunWarning
from rnneval.records.run import WiringSummary
from rnneval.records.wiring import Finding
from rnneval.render.document import TableBlock
from rnneval.render.sweep_document import sweep_document
from tests.gates.synthetic import ar_losses, make_run


def test_another_table_is_refused(tmp_path):
    schema = pa.schema([("nats", pa.float64())], metadata={"rnneval.schema": "rnneval.losses/1"})
    with table_written(tmp_path / FILE, schema) as writer:
        writer.write_table(pa.table([np.ones(3)], schema=schema))
    with pytest.raises(RecordError, match=r"not a table of rnneval sweep \(schema rnneval\.sweep/1\): run the sweep"):
        read_table(tmp_path)


def test_a_run_that_is_not_valid_has_no_number_in_the_table_and_comes_last(tmp_path):
    losses = ar_losses(128)
    finding = Finding(rule="crossed-state", severity="error", message="…", help="…")
    wrong = structs.replace(
        make_run(losses - 0.5),
        valid=False,
        wiring=WiringSummary(verdict="fail", reason="crossed-state", findings=(finding,)),
        warnings=(RunWarning(code="wrong-wiring", message="the model fails the wiring check"),),
    )
    unsure = structs.replace(make_run(losses), warnings=(RunWarning(code="wiring", message="inconclusive: …"),))
    runs = {"a.keras": wrong, "b.keras": make_run(losses + 0.1), "c.keras": unsure}
    rows = tuple(
        SweepRow(name=name, sha256="0" * 64, run=run, record=f"records/{name}", rule=" ".join(run.broken_rules) or None)
        for name, run in runs.items()
    )
    write_table(rows, tmp_path, {})
    frame = pd.read_parquet(tmp_path / FILE)
    assert frame["perplexity"].isna().tolist() == frame["total_nats"].isna().tolist() == [True, False, False]
    assert frame.loc[frame["cross_entropy"].idxmin(), "path"] == "c.keras"
    assert [row["path"] for row in best_first(read_table(tmp_path))] == ["c.keras", "b.keras", "a.keras"]
    sweep = Sweep(rows=rows, out=tmp_path, finished_before=0)
    assert "best is 'c.keras'" in repr(sweep)
    table = next(block for block in sweep_document(sweep) if isinstance(block, TableBlock))
    last = {row[0].text: row[-1].text for row in table.rows}
    assert last == {"b.keras": "", "c.keras": "best, wiring", "a.keras": "not-valid: crossed-state"}
    assert list(last)[-1] == "a.keras"
    assert "none is valid" in repr(Sweep(rows=rows[:1], out=tmp_path, finished_before=0))


@pytest.mark.parametrize(
    ("name", "run", "epoch", "step"),
    [
        ("ckpt_7", "", 7, None),
        ("cp-0007.ckpt", "", 7, None),
        ("model.05-1.23.h5", "", 5, None),
        ("val_loss-1.23-epoch-9.keras", "", 9, None),
        ("lr0.001/epoch_3/model.keras", "lr0.001", 3, None),
        ("lstm/global_step1200.keras", "lstm", None, 1200),
        ("epoch2-step450.weights.h5", "", 2, 450),
        ("best.keras", "", None, None),
        ("9" * 30 + ".keras", "", None, None),
    ],
)
def test_places(name, run, epoch, step):
    assert place_of(name) == (run, epoch, step)
