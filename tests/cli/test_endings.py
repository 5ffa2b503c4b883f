"""The ending of a file says its format, or is refused."""

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from rnneval.cli.main import run
from rnneval.evaluate import sweep
from rnneval.evaluate.sweep_table import SweepRow, write_table
from tests.gates.synthetic import SIGNATURE, ar_losses, make_run

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
        ("evaluate m.keras t.txt --out r.json --out r.xlsx", ".json, .csv or .md"),
        ("evaluate m.keras t.txt --losses l.csv", ".parquet"),
        ("open m.keras --out r.csv", ".json"),
        ("gradients m.keras t.txt --out r.csv", ".json"),
        ("trace m.keras t.txt --out r.csv", ".parquet"),
        ("trace m.keras t.txt --record r.csv", ".json"),
        ("sweep . t.txt --out results --table r.txt", ".json, .csv or .md"),
        ("compare a.json b|c.json --out r.parquet", ".json, .csv or .md"),
        ("gate a.json --baseline b|c.json --out r.csv", ".json, .xml or .md"),
        ("report a.json --out r.pdf", ".html or .htm"),
        ("lint b.py --out r.csv", ".json, .sarif or .txt"),
        ("explain perplexity --out r.rst", ".md, .txt or .json"),
        ("plot a.json --figure loss_over_text --out r.csv", ".png, .svg or .pdf"),
    ],
)
def test_an_unknown_ending_is_refused_with_those_that_are_known(folder, refused, line, allowed):
    said = refused(*line.split())
    assert allowed in said
    assert not list(folder.glob("r.*"))


def test_a_folder_of_a_sweep_has_no_ending_of_a_table(folder, refused):
    assert "--table results.csv" in refused("sweep", ".", "t.txt", "--out", "results.csv")
    assert not Path("results.csv").exists()


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


def test_markdown_is_one_table_whatever_the_names(folder):
    assert run(["compare", "a.json", "b|c.json", "-q", "--blocks", "0", "--out", "c.md"]) == 0
    tokens = MarkdownIt("commonmark").enable("table").parse(Path("c.md").read_text())
    assert sum(token.type == "table_open" for token in tokens) == 1
    cells = [token.content for token in tokens if token.type == "inline"]
    assert cells[:2] == ["run", "perplexity"]
    assert r"b\|c.json" in cells or "b|c.json" in cells
    assert sum(token.type == "tr_open" for token in tokens) == 3


def test_the_table_of_a_sweep(folder, monkeypatch, capsys):
    runs = [make_run(ar_losses(128) + shift, checkpoint=f"c{shift}") for shift in (0.0, 0.1)]
    rows = [
        SweepRow(name=f"ckpt_{i}", sha256="0" * 64, run=run, record=f"records/{i}.json") for i, run in enumerate(runs)
    ]
    rows.append(SweepRow(name="ckpt_2", sha256="1" * 64, error="broken", rule="checkpoint"))
    Path("out").mkdir()
    write_table(rows, "out", {})
    result = sweep.Sweep(rows=tuple(rows), out=Path("out"), others=(), kept=0)
    monkeypatch.setattr(sweep, "sweep", lambda *_, **__: result)
    tables = ["--table", "s.csv", "--table", "s.md", "--table", "s.json"]
    assert run(["sweep", ".", "t.txt", "--out", "out", *tables]) == 1  # a checkpoint failed
    assert "bits_per_char (usual)" in capsys.readouterr().out
    read = pd.read_csv("s.csv")
    pd.testing.assert_frame_equal(read[["path", "perplexity"]], result.to_frame()[["path", "perplexity"]])
    assert read["status"].tolist() == ["ok", "ok", "failed"]
    assert [row["path"] for row in json.loads(Path("s.json").read_text())] == ["ckpt_0", "ckpt_1", "ckpt_2"]
    assert "| ckpt\\_1 |" in Path("s.md").read_text()
    assert repr(result) == (
        f"<Sweep of 3 checkpoints in 'out': best is 'ckpt_0' with bits_per_char "
        f"{runs[0].scores['bits_per_char'].value:.5g}, {SIGNATURE}>"
    )


@pytest.mark.parametrize(
    ("form", "ending", "kind"),
    [
        ("sarif", "json", "sarif"),
        ("text", "sarif", "sarif"),
        ("github", "txt", "text"),
    ],
)
def test_findings_are_written_as_the_ending_says(folder, form, ending, kind):
    assert run(["lint", "b.py", "--format", form, "--out", f"f.{ending}"]) == 0
    text = Path(f"f.{ending}").read_text()
    if kind == "text":
        with pytest.raises(ValueError, match="Expecting value"):
            json.loads(text)
    else:
        assert ("runs" in json.loads(text)) == (kind == "sarif")
