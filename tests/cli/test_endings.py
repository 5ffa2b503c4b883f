"""The ending of a file says its format, or is refused."""

import csv
import io
import json
from pathlib import Path

import pytest

from rnneval.cli.main import run
from tests.gates.synthetic import ar_losses, make_run

SHARED = "state = 1\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(ar_losses(128), checkpoint="a").save("a.json")
    make_run(ar_losses(128) + 0.1, checkpoint="b|c").save("b|c.json")
    for name in ("m.keras", "t.txt", "b.py"):
        Path(name).write_text(SHARED)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("evaluate m.keras t.txt --out r.yaml", ".json, .csv or .md"),
        ("sweep . t.txt --out results --table r.txt", ".json, .csv or .md"),
        ("compare a.json b|c.json --out r.parquet", ".json, .csv or .md"),
        ("gate a.json --baseline b|c.json --out r.csv", ".json, .xml or .md"),
        ("report a.json --out r.pdf", ".html or .htm"),
        ("lint b.py --out r.csv", ".json, .sarif or .txt"),
        ("plot a.json --figure loss_over_text --out r.csv", ".png, .svg or .pdf"),
    ],
)
def test_an_unknown_ending_is_refused_with_those_that_are_known(folder, refused, line, allowed):
    said = refused(*line.split())
    assert allowed in said
    assert not list(folder.glob("r.*"))


def test_a_comparison_as_csv_has_the_numbers_of_its_json(folder, capsys):
    assert run(["compare", "a.json", "b|c.json", "-q", "--out", "c.json", "--out", "c.CSV", "--out", "c.md"]) == 0
    rows = json.loads(Path("c.json").read_text())["rows"]
    read = list(csv.DictReader(io.StringIO(Path("c.CSV").read_text())))
    assert [row["run"] for row in read] == [row["name"] for row in rows] == ["a.json", "b|c.json"]
    for found, wanted in zip(read, rows, strict=True):
        assert float(found["value"]) == wanted["value"]
        assert float(found["difference"]) == wanted["difference"]
        assert int(found["parameters"]) == wanted["parameters"]
    assert read[0]["metric"] == "perplexity"
