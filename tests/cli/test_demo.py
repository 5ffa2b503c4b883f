"""`rnneval demo` as a person runs it; .ci/run has the wheel do the quick one."""

import json

import pytest

from rnneval import records
from rnneval.cli.main import run
from rnneval.demo.files import BUILDERS


def record(folder, name):
    return records.read(folder / name)


def test_a_folder_that_cannot_be_made(refused, tmp_path):
    (tmp_path / "file").touch()
    said = refused("demo", "--out", tmp_path / "file" / "below")
    assert "cannot be made: Not a directory: give another --out FOLDER" in said


@pytest.mark.slow
def test_the_whole_demo_learns(tmp_path, capsys):
    assert run(["demo", "--out", str(tmp_path), "--quiet", "--format", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["learnt"]) == 5
    wired = {name: record(tmp_path, f"{name}.wiring.json").verdict for name in BUILDERS}
    assert wired == {"one-layer": "pass", "wrong-stack": "fail", "right-stack": "pass"}
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert all(f"{name}.weights.h5" in page for name in BUILDERS)
    right, wrong = (record(tmp_path, f"{name}.run.json") for name in ("right-stack", "wrong-stack"))
    # Untrained: ln 103 = 4.6 nats; by the frequency of letters alone: 3.2.
    assert right.total_nats / right.tokens.scored < 2.0
    assert wrong.token_by_token.total_nats > 1.2 * wrong.total_nats
    assert record(tmp_path, "gate.json").comparisons[0].high < 0  # the second layer helps
