"""`rnneval gradients` as a person calls it."""

import json

import jsonschema
import msgspec
import pytest

from rnneval import records
from rnneval.cli.main import run
from rnneval.cli.output import OutputOptions
from rnneval.errors import RecordError
from rnneval.records import json_schema
from rnneval.render.document import Paragraph
from tests.render.figures import made


def test_a_table_and_a_record_that_its_schema_allows(shelf, tmp_path, capsys):
    out = tmp_path / "gradients.json"
    arguments = ["gradients", shelf / "flat.h5", shelf.text, "--vocab", shelf / "vocab.json", "--out", out]
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


def test_a_loss_that_is_not_finite_has_a_table_and_no_json(capsys):
    record = msgspec.structs.replace(made.gradients({"gru.h": 0.9}), loss=float("nan"))
    OutputOptions(form="table", quiet=False, out=()).deliver(record, lambda _: [Paragraph(text="a table")])
    assert capsys.readouterr().out == "a table\n"
    OutputOptions(form="table", quiet=True, out=()).deliver(record, lambda _: [])
    with pytest.raises(RecordError, match="not finite"):
        OutputOptions(form="json", quiet=False, out=()).deliver(record, lambda _: [])


def test_what_is_refused(shelf, refused):
    given = ("gradients", shelf / "flat.h5", shelf.text, "--vocab", shelf / "vocab.json")
    assert "--lags 0" in refused(*given, "--lags", "0")
    assert "there is no such rule" in refused(*given, "--threshold", "vanishing=3")
