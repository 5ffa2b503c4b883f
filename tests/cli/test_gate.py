"""`rnneval gate` as a person or a CI job runs it."""

import json
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from rnneval.cli.main import run
from rnneval.gates.sides import slim
from rnneval.records import read, read_run
from tests.gates.synthetic import ar_losses, make_run

LOSSES = ar_losses(128)
NOISE = 0.01 * np.random.default_rng(0).normal(size=128)


@pytest.fixture
def records(tmp_path, monkeypatch):
    """Records in the current folder, by what they are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    made = {
        "base": make_run(LOSSES, checkpoint="base"),
        "good": make_run(LOSSES + NOISE, checkpoint="good"),
        "bad": make_run(LOSSES + 0.1 + NOISE, checkpoint="bad"),
        "unsure": make_run(LOSSES + 0.00995 + NOISE, checkpoint="unsure"),
        "diverged": make_run(LOSSES + 904.4 + NOISE, checkpoint="diverged"),
        "other": make_run(LOSSES, content="other", checkpoint="other"),
        "invalid": make_run(LOSSES, valid=False, checkpoint="invalid"),
        "nan": make_run([*LOSSES[:-1], np.nan], checkpoint="nan"),
        "drifting": make_run(LOSSES - 1 + 0.1 * np.sin(np.arange(128) / 9), checkpoint="drifting"),
    }
    for name, record in made.items():
        record.save(f"{name}.json")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "code", "strict"),
    [
        ("good", 0, 0),
        ("base", 0, 0),
        ("bad", 1, 1),
        ("nan", 1, 1),
        ("diverged", 1, 1),
        ("unsure", 3, 1),
        ("other", 3, 3),
        ("invalid", 1, 1),
        ("drifting", 0, 1),
    ],
)
def test_exit_codes(records, capsys, name, code, strict):
    assert run(["gate", f"{name}.json", "--baseline", "base.json"]) == code
    assert run(["gate", f"{name}.json", "--baseline", "base.json", "--strict"]) == strict
    assert capsys.readouterr().err == ""


def refused(arguments, capsys):
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("rnneval: error: ")
    assert err.count("\n") == 1
    return err


def test_a_missing_baseline_prints_the_line_that_makes_one(records, capsys):
    err = refused(["gate", "good.json", "--baseline", "new.json"], capsys)
    line = "rnneval gate good.json --baseline new.json --update"
    assert line in err
    files = [f"gate{ending}" for ending in (".json", ".xml", ".md")]
    outputs = [part for file in files for part in ("--out", file)]
    assert refused(["gate", "good.json", "--baseline", "new.json", *outputs], capsys) == err
    assert read("gate.json").verdict == "not comparable"  # what CI collects says the same
    assert all(line in Path(file).read_text() for file in files)
    assert run(line.split()[1:]) == 0
    assert run(["gate", "good.json", "--baseline", "new.json"]) == 0


def test_everything_after_baseline_is_a_baseline(records, capsys):
    assert run(["gate", "good.json", "unsure.json", "--baseline", "base.json", "bad.json", "--format", "json"]) == 3
    comparison = json.loads(capsys.readouterr().out)["comparisons"][0]
    assert comparison["baseline"] == "2 runs: base.json, bad.json"
    assert comparison["about"] == "this recipe"
    assert "put the records first" in refused(["gate", "--baseline", "base.json", "good.json"], capsys)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not a whole JSON file"),
        ('{"schema": "rnneval.run/2"}', "another version"),
        ('{"schema": "lm-eval"}', "is this a record of rnneval?"),
    ],
)
def test_what_is_no_record_is_refused(records, capsys, content, said):
    (records / "broken.json").write_text(content)
    err = refused(["gate", "good.json", "--baseline", "broken.json"], capsys)
    assert "broken.json" in err
    assert said in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["gate", "good.json"],
        ["gate", "good.json", "--baseline"],
        ["gate", "good.json", "--baseline", "base.json", "--allow", "perplexity"],
        ["gate", "good.json", "--baseline", "base.json", "--format", "sarif"],
        ["gate", "good.json", "--baseline", "base.json", "--out", "no/such/folder/gate.json"],
        ["gate", "nowhere.json", "--baseline", "base.json"],
    ],
)
def test_wrong_use_is_one_line(records, capsys, arguments):
    refused(arguments, capsys)


def test_all_outputs_of_one_run(records, capsys):
    outs = [part for name in ("gate.json", "gate.xml", "gate.md") for part in ("--out", name)]
    assert run(["gate", "bad.json", "--baseline", "base.json", *outs]) == 1
    assert "beyond the margin" in capsys.readouterr().out
    assert read("gate.json").verdict == "fail"
    assert "<testsuites>" in (records / "gate.xml").read_text()
    assert (records / "gate.md").read_text().startswith("## ❌ rnneval gate: fail: bad.json against base.json\n\n|")


@pytest.mark.parametrize(
    ("form", "begins"), [("json", "{"), ("junit", "<?xml"), ("github", "::error"), ("markdown", "## ")]
)
def test_formats_on_standard_output(records, capsys, form, begins):
    assert run(["gate", "bad.json", "--baseline", "base.json", "--format", form]) == 1
    assert capsys.readouterr().out.startswith(begins)


def test_github_also_writes_the_summary_of_the_job(records, monkeypatch):
    summary = records / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    run(["gate", "bad.json", "--baseline", "base.json", "--format", "github"])
    assert summary.read_text().startswith("before\n## ❌ rnneval gate: fail")


def test_update_puts_the_record_in_the_baselines_place(records, capsys):
    assert run(["gate", "bad.json", "--baseline", "base.json", "--update"]) == 0
    assert read_run("base.json") == slim(read_run("bad.json"))
    assert "beyond the margin" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["nan", "invalid", "diverged"])
def test_what_nothing_compares_with_never_becomes_a_baseline(records, capsys, name):
    before = (records / "base.json").read_bytes()
    assert f"{name}.json " in refused(["gate", f"{name}.json", "--baseline", "base.json", "--update"], capsys)
    assert (records / "base.json").read_bytes() == before


def test_a_run_that_was_not_checked_becomes_a_baseline_with_a_warning(records, capsys):
    plain = read_run("good.json")
    carries = replace(plain, checkpoint=replace(plain.checkpoint, contract=1), wiring=None)
    carries.save("unchecked.json")
    update = ["gate", "unchecked.json", "--baseline", "new.json", "--update"]
    assert run(update) == 0
    assert "unchecked.json: the wiring was not checked" in capsys.readouterr().err
    assert run([*update, "--require", "wiring.verdict==pass"]) == 1  # as the warning says


def test_all_baselines_or_none(records, capsys):
    before = (records / "base.json").read_bytes()
    refused(["gate", "good.json", "bad.json", "--baseline", "base.json", "base.json/folder.json", "--update"], capsys)
    assert (records / "base.json").read_bytes() == before
    refused(["gate", "good.json", "bad.json", "--baseline", "base.json", "--update"], capsys)
    assert run(["gate", "good.json", "bad.json", "--baseline", "base.json", "two.json", "--update"]) == 0
    assert read_run("two.json") == slim(read_run("bad.json"))
