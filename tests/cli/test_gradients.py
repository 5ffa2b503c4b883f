"""`rnneval gradients` as a person calls it."""

import json

import jsonschema

from rnneval import records
from rnneval.cli.main import run
from rnneval.records import json_schema


def test_a_table_and_a_record_that_its_schema_allows(shelf, tmp_path, capsys):
    out = tmp_path / "gradients.json"
    arguments = ["gradients", shelf / "flat.h5", shelf.text, "--vocab", shelf / "vocab.json", "--out", out]
    arguments += ["--no-check"]
    code = run([*map(str, arguments), "--segments", "3", "--anchors", "4", "--lags", "20", "--truncation", "10"])
    captured = capsys.readouterr()
    found = records.read(out)
    assert code == 0
    assert captured.err.count("rnneval: warning ") == len([*found.findings, *found.warnings])
    jsonschema.validate(json.loads(out.read_text()), json_schema("rnneval.gradients/1"))
    (layer,) = found.checkpoint.layers
    assert {f"{layer.name}.{name}" for name in ("kernel", "recurrent_kernel", "bias")} <= set(found.variables)
    assert len(found.through_time[f"{layer.name}.h"].median) == found.lags + 1 == 21
    assert "99 % gone" in captured.out
