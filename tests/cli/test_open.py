"""`rnneval open`: what was recognised, and everything that was assumed."""

import hashlib
import json

import jsonschema

from rnneval import records
from rnneval.cli.main import run


def test_the_table(shelf, capsys):
    assert (
        run(["open", str(shelf / "my.weights.h5"), *map(str, shelf.builder), "--vocab", str(shelf / "vocab.json")]) == 0
    )
    captured = capsys.readouterr()
    shown = " ".join(captured.out.split())
    assert captured.err == ""
    parameters = 10 * 5 + 3 * 6 * (5 + 6 + 2) + 7 * 10
    assert f"gru (GRU 6), {parameters} parameters, weights-h5, states argument" in shown
    assert "states argument: call takes states and return_state" in shown
    assert "inputs are integer ids" in shown
    assert "outputs are logits" in shown
    assert "10 tokens" in shown
    assert hashlib.sha256((shelf / "my.weights.h5").read_bytes()).hexdigest() in shown


def test_json_is_a_record(shelf, tmp_path, capsys):
    assert run(["open", str(shelf / "flat.keras"), "--format", "json", "--out", str(tmp_path / "o.json")]) == 0
    printed = capsys.readouterr().out
    jsonschema.validate(json.loads(printed), records.json_schema("rnneval.opened/1"))
    found = records.decode(printed)
    assert records.read(tmp_path / "o.json") == found
    assert (found.width, found.checkpoint.contract, found.vocabulary.size) == (10, 4, 10)
    assert any(said.startswith("stateless graph: ") for said in found.assumptions)
