"""`rnneval gate` as a person or a CI job runs it."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

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
        ("", "not a whole JSON file"),
        ("{", "not a whole JSON file"),
        ("[]", "one JSON object"),
        ('{"schema": "rnneval.run/0"}', "another version"),
        ('{"schema": "rnneval.run/2"}', "another version"),
        ('{"schema": "lm-eval"}', "is this a record of rnneval?"),
        ('{"schema": "rnneval.run/1"}', "not a valid rnneval.run/1 record"),
        ("\x00\x01", "not a whole JSON file"),
    ],
)
@pytest.mark.parametrize("side", ["candidate", "baseline"])
def test_what_is_no_record_is_refused(records, capsys, content, said, side):
    (records / "broken.json").write_text(content)
    pair = ("broken.json", "base.json") if side == "candidate" else ("good.json", "broken.json")
    err = refused(["gate", pair[0], "--baseline", pair[1]], capsys)
    assert "broken.json" in err
    assert said in err


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "null"])
def test_a_literal_that_is_not_finite_is_refused(records, capsys, number):
    plain = json.loads((records / "good.json").read_text())
    plain["total_nats"] = "@"
    (records / "edited.json").write_text(json.dumps(plain).replace('"@"', number))
    assert "edited.json" in refused(["gate", "edited.json", "--baseline", "base.json"], capsys)


def test_a_truncated_record_is_refused(records, capsys):
    whole = (records / "good.json").read_bytes()
    for part in (len(whole) // 3, len(whole) - 2):
        (records / "cut.json").write_bytes(whole[:part])
        assert "not a whole JSON file" in refused(["gate", "cut.json", "--baseline", "base.json"], capsys)


def test_a_record_edited_by_hand_is_refused(records, capsys):
    plain = json.loads((records / "bad.json").read_text())
    plain["total_nats"] /= 2
    (records / "edited.json").write_text(json.dumps(plain))
    assert "make it again with rnneval evaluate" in refused(["gate", "edited.json", "--baseline", "base.json"], capsys)


@pytest.mark.parametrize(
    "arguments",
    [
        ["gate"],
        ["gate", "good.json"],
        ["gate", "good.json", "--baseline"],
        ["gate", "good.json", "--baseline", "base.json", "--allow", "perplexity"],
        ["gate", "good.json", "--baseline", "base.json", "--allow", "perplexity=+1%", "--allow", "perplexity=+2%"],
        ["gate", "good.json", "--baseline", "base.json", "--require", "perplexity"],
        ["gate", "good.json", "--baseline", "base.json", "--format", "sarif"],
        ["gate", "good.json", "--baseline", "base.json", "--out", "no/such/folder/gate.json"],
        ["gate", "good.json", "--baseline", "base.json", "--out", "."],
        ["gate", "good.json", "good.json", "--baseline", "base.json"],
        ["gate", "nowhere.json", "--baseline", "base.json"],
        ["gate", ".", "--baseline", "base.json"],
    ],
)
def test_wrong_use_is_one_line(records, capsys, arguments):
    if arguments != ["gate"]:
        refused(arguments, capsys)
    else:
        assert run(arguments) in (0, 2)


def test_limits_alone_need_no_baseline(records, capsys):
    assert run(["gate", "good.json", "--require", "perplexity<=1000"]) == 0
    assert run(["gate", "good.json", "--require", "states.gru.h.saturated<=0.05"]) == 1
    assert run(["gate", "good.json", "--require", "nowhere<=1"]) == 1
    assert "nowhere is absent" in capsys.readouterr().out


def test_limits_hold_for_a_verdict_record_too(records):
    assert run(["gate", "good.json", "--baseline", "base.json", "--out", "gate.json", "-q"]) == 0
    assert run(["gate", "gate.json", "--require", "verdict==pass"]) == 0
    assert run(["gate", "gate.json", "--require", "comparisons.0.p_worse>=0.99"]) == 0


def test_all_outputs_of_one_run(records, capsys):
    outs = [part for name in ("gate.json", "gate.xml", "gate.md") for part in ("--out", name)]
    assert run(["gate", "bad.json", "--baseline", "base.json", *outs]) == 1
    assert "worse than allowed" in capsys.readouterr().out
    assert read("gate.json").verdict == "fail"
    assert "<testsuites>" in (records / "gate.xml").read_text()
    assert (records / "gate.md").read_text().startswith("## ❌ rnneval gate: fail")


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


def test_a_named_pipe_as_the_summary_is_left_out(records, monkeypatch, capsys):
    """Before: the command waited for a reader without end."""
    os.mkfifo(records / "pipe")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(records / "pipe"))
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it waits for a reader"))
    signal.alarm(20)
    try:
        assert run(["gate", "bad.json", "--baseline", "base.json", "--format", "github"]) == 1
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    printed = capsys.readouterr()
    assert printed.out.startswith("::error")
    assert printed.err.count("\n") == 1
    assert "pipe: not written: it is a named pipe" in printed.err


def test_quiet_prints_nothing(records, capsys):
    assert run(["gate", "bad.json", "--baseline", "base.json", "--quiet"]) == 1
    assert capsys.readouterr() == ("", "")


def test_update_puts_the_record_in_the_baselines_place(records, capsys):
    assert run(["gate", "bad.json", "--baseline", "base.json", "--update"]) == 0
    assert read_run("base.json") == slim(read_run("bad.json"))
    assert "worse than allowed" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["nan", "invalid", "diverged"])
def test_what_nothing_compares_with_never_becomes_a_baseline(records, capsys, name):
    before = (records / "base.json").read_bytes()
    assert f"{name}.json " in refused(["gate", f"{name}.json", "--baseline", "base.json", "--update"], capsys)
    assert (records / "base.json").read_bytes() == before


def test_a_limit_that_does_not_hold_keeps_the_baseline(records):
    before = (records / "base.json").read_bytes()
    arguments = ["gate", "good.json", "--baseline", "base.json", "--require", "perplexity<=1"]
    assert run([*arguments, "--update"]) == 1
    assert (records / "base.json").read_bytes() == before


def test_all_baselines_or_none(records, capsys):
    before = (records / "base.json").read_bytes()
    refused(["gate", "good.json", "bad.json", "--baseline", "base.json", "base.json/folder.json", "--update"], capsys)
    assert (records / "base.json").read_bytes() == before
    refused(["gate", "good.json", "bad.json", "--baseline", "base.json", "--update"], capsys)
    assert run(["gate", "good.json", "bad.json", "--baseline", "base.json", "two.json", "--update"]) == 0
    assert read_run("two.json") == slim(read_run("bad.json"))


def test_an_update_that_cannot_be_written_leaves_the_old_file_and_no_other(records, capsys, monkeypatch):
    before, names = (records / "base.json").read_bytes(), sorted(path.name for path in records.iterdir())

    def full(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    refused(["gate", "good.json", "--baseline", "base.json", "--update"], capsys)
    assert (records / "base.json").read_bytes() == before
    assert sorted(path.name for path in records.iterdir()) == names


def test_update_makes_the_folder_of_a_first_baseline(records, capsys):
    assert run(["gate", "good.json", "--baseline", "baselines/models/char.json", "--update"]) == 0
    assert read_run("baselines/models/char.json") == slim(read_run("good.json"))
    assert run(["gate", "good.json", "--baseline", "baselines/models/char.json"]) == 0
    capsys.readouterr()
    refused(["gate", "good.json", "--baseline", "base.json/char.json", "--update"], capsys)


def test_a_diverged_candidate_is_named_in_every_format(records, capsys):
    assert run(["gate", "diverged.json", "--baseline", "base.json", "--format", "json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)["comparisons"]
    assert found["verdict"] == "fail"
    assert found["difference"] == pytest.approx(904.4, abs=0.01)
    assert found.get("candidate_value") is None
    assert "diverged.json diverged: " in found["reason"]
    for form in ("table", "junit", "github", "markdown"):
        assert run(["gate", "diverged.json", "--baseline", "base.json", "--format", form]) == 1
        assert "diverged: 905.9 nats a token" in capsys.readouterr().out


def test_from_start_to_verdict_without_anything_heavy(records):
    script = (
        "import sys; from rnneval.cli.main import run; "
        "code = run(['gate', 'bad.json', '--baseline', 'base.json']); "
        "heavy = {'tensorflow', 'keras', 'pandas', 'scipy.stats', 'matplotlib', 'pyarrow'}; "
        "print(sorted(heavy & set(sys.modules)), code)"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=_path())
    assert found.stdout.splitlines()[-1] == "[] 1"


@pytest.mark.slow
def test_from_start_to_verdict_in_less_than_a_second(records):
    """Half a second before SciPy was a dependency, whose special functions take up to 0.3 s to import."""

    def seconds():
        began = time.perf_counter()
        command = [sys.executable, "-m", "rnneval", "gate", "good.json", "--baseline", "base.json"]
        subprocess.run(command, capture_output=True, check=True, env=_path())
        return time.perf_counter() - began

    assert min(seconds() for _ in range(5)) < 0.8


def _path():
    import os

    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
