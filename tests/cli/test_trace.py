"""`rnneval trace` as a person calls it."""

import json

import pandas as pd

from rnneval import records
from rnneval.cli.main import run


def test_a_table_a_record_and_a_parquet_file(shelf, tmp_path, capsys):
    record, table = tmp_path / "run.json", tmp_path / "trace.parquet"
    arguments = ["trace", shelf / "flat.h5", shelf.text, "--vocab", shelf / "vocab.json", "--no-check", "--lyapunov"]
    arguments += ["--stride", "5"]
    code = run([*map(str, arguments), "--out", str(table), "--record", str(record), "--context", "--truncation", "2"])
    captured = capsys.readouterr()
    found = records.read_run(record)
    assert (code, captured.err.count("rnneval: warning ")) == (0, len(found.warnings))
    (layer,) = found.checkpoint.layers
    assert set(found.states) == {f"{layer.name}.h"}
    assert set(found.gates) == {f"{layer.name}.update", f"{layer.name}.reset"}
    assert found.context.lengths == (1, 2, 5, 10, 20, 50, 100, 200)
    assert f"{layer.name}.update" in captured.out
    assert "context (tokens)" in captured.out
    assert "The time constant says" in captured.out
    positions = pd.read_parquet(table)["position"].dropna().unique()
    assert sorted(positions) == list(range(0, 239, 5))


def test_json_is_the_run_record_and_findings_are_warnings(shelf, capsys):
    arguments = ["trace", shelf / "flat.h5", shelf.text, "--vocab", shelf / "vocab.json", "--format", "json"]
    assert run([*map(str, arguments), "--no-check", "--threshold", "saturated-layer=0"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["schema"] == "rnneval.run/1"
    assert "saturated-layer" in {warning["code"] for warning in record["warnings"]}
