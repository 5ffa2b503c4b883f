"""Standard output of a command: broken pipes, full disks, other encodings, and closed descriptors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rnneval.records import write
from tests.gates.synthetic import ar_losses, make_run

BASE = make_run(ar_losses(128))
WORSE = make_run(ar_losses(128) + 0.5)


@pytest.fixture
def records(tmp_path):
    write(BASE, tmp_path / "base.json")
    write(WORSE, tmp_path / "worse.json")
    return tmp_path


def rnneval(folder, *arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), **options.pop("environment", {})}
    command = [sys.executable, "-m", "rnneval", *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, **options)


FAILING = ("gate", "worse.json", "--baseline", "base.json")


@pytest.mark.parametrize("more", [[], ["--format", "json"], ["--out", "/dev/stdout"]], ids=["rich", "click", "--out"])
def test_a_gate_that_fails_does_not_pass_because_nobody_reads_its_table(records, more):
    """`set -o pipefail; rnneval gate … | head -0`."""
    process = rnneval(records, *FAILING, *more, stdout=subprocess.PIPE)
    process.stdout.close()
    assert (process.wait(timeout=60), process.stderr.read()) == (1, b"")
    process.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("more", [[], ["--format", "json"]], ids=["rich", "click"])
def test_a_full_disk_behind_standard_output_is_one_line(records, more):
    with Path("/dev/full").open("w") as full:
        process = rnneval(records, *FAILING, *more, stdout=full)
        said = process.communicate(timeout=60)[1]
    assert said == b"rnneval: error: standard output cannot be written: No space left on device\n"
    assert process.returncode == 2


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_json_is_json_in_every_encoding(records, encoding):
    wanted = {"PYTHONIOENCODING": encoding}
    name = "größe € \udcff.json"
    (records / name).write_bytes((records / "base.json").read_bytes())
    command = [*FAILING[:3], name, "--format", "json"]
    process = rnneval(records, *command, environment=wanted, stdout=subprocess.PIPE)
    printed, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (1, b"")
    printed = printed.decode("utf-8" if encoding == "ascii" else encoding)
    assert json.loads(printed)["comparisons"][0]["baseline"] == name


def test_no_standard_output_and_no_standard_error_at_all(records):
    line = f"{sys.executable} -m rnneval {' '.join(FAILING)} "
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    for closed, code in ((">&-", 1), ("2>&-", 1), (">&- 2>&-", 1)):
        done = subprocess.run(
            ["/bin/sh", "-c", line + closed], cwd=records, env=environment, capture_output=True, check=False
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (code, b""), closed


@pytest.mark.parametrize("command", [["evaluate", "no.keras", "no.txt"], ["check", "no.keras"], ["open", "no.keras"]])
def test_where_nothing_can_be_written_is_known_before_the_work(refused, tmp_path, monkeypatch, command):
    """The checkpoint is not even looked for."""
    assert "its folder is not there" in refused(*command, "--out", tmp_path / "no" / "out.json")
    assert "it is a folder" in refused(*command, "--out", tmp_path)
    (tmp_path / "kept.json").write_text("old")
    monkeypatch.setattr(os, "access", lambda _, how: how != os.W_OK)
    assert "cannot be written: Permission denied" in refused(*command, "--out", tmp_path / "new.json")
    assert "cannot be written: Permission denied" in refused(*command, "--out", tmp_path / "kept.json")
    assert (tmp_path / "kept.json").read_text() == "old"
