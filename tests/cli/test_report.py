"""`rnneval report` as a person runs it."""

import json

import pytest

from rnneval.cli.main import run
from tests.render.report.making import good_run, worse_run, wrong_wiring


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good_run().save("run.json")
    worse_run().save("worse.json")
    wrong_wiring().save("wiring.json")
    return tmp_path


def test_it_writes_the_page_and_says_the_verdict(folder, capsys):
    assert run(["report", "wiring.json", "run.json", "--out", "report.html"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    verdict, told = out.splitlines()
    assert verdict.startswith("The state is wired wrong in the checked model: ")
    assert told.startswith("report.html: 2 records, ")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert verdict in page
    assert len(page) < 1_000_000


@pytest.mark.parametrize("title", ["page.html", "run.json", "a title"])
def test_a_title_is_no_path(folder, title):
    assert run(["report", "run.json", "--title", title, "--out", "page.html"]) == 0
    assert f"<title>{title} – rnneval report</title>" in (folder / "page.html").read_text(encoding="utf-8")


def test_json_gives_the_values_and_needs_no_page(folder, capsys):
    assert run(["report", "run.json", "--format", "json"]) == 0
    page = json.loads(capsys.readouterr().out)
    assert page["schema"] == "rnneval.report/1"
    assert page["claims"][0]["kind"] == "pass"
    assert [section["anchor"] for section in page["sections"]] == ["numbers", "baselines", "inside", "made"]


def test_a_folder_stands_for_its_records_and_names_what_it_passes_over(folder, capsys):
    (folder / "vocab.json").write_text('["a", "b"]')
    (folder / "notes.txt").write_text("x")
    assert run(["report", ".", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["records"] == ["run.json", "wiring.json", "worse.json"]
    assert err == "rnneval: vocab.json: skipped: it does not say that it is a record of rnneval\n"


def test_a_broken_record_in_a_folder_is_not_passed_over(folder, refused):
    (folder / "run.json").write_text((folder / "run.json").read_text()[:300])
    assert refused("report", ".", "--out", "r.html").startswith("run.json: not a whole JSON file")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run.json"], "--out FILE.html says where the page goes"),
        (["nowhere.json", "--out", "r.html"], "nowhere.json: cannot be read"),
        (["empty", "--out", "r.html"], "empty: no record in this folder"),
        (["fake.parquet", "--out", "r.html"], "fake.parquet: a damaged or truncated Parquet file"),
    ],
)
def test_what_cannot_be_is_one_line(folder, refused, arguments, said):
    (folder / "empty").mkdir()
    (folder / "text.json").write_text("not JSON")
    (folder / "fake.parquet").write_text("not Parquet")
    assert refused("report", *arguments).startswith(said)
    assert not (folder / "r.html").exists()
