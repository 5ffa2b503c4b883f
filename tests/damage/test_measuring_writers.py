"""Files that evaluate, trace, gradients and sweep write: a full disk, kill -9, two processes, more than can be read."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rnneval.cli.main import run
from rnneval.evaluate import reading
from rnneval.records import paths, read, read_table, tables

EVALUATE = "evaluate {shelf}/flat.keras {shelf}/text.txt --no-check --quiet"
WRITERS = {
    "record": f"{EVALUATE} --out {{out}}/r.json",
    "losses": f"{EVALUATE} --losses {{out}}/t.parquet",
    "trace": "trace {shelf}/flat.keras {shelf}/text.txt --quiet --out {out}/t.parquet",
    "trace's record": "trace {shelf}/flat.keras {shelf}/text.txt --quiet --record {out}/r.json",
    "gradients": "gradients {shelf}/flat.keras {shelf}/text.txt --quiet --out {out}/r.json",
    "sweep": "sweep {checkpoints} {shelf}/text.txt --quiet --jobs 1 --out {out}",
}
KILLED = """
import os, signal, sys
from rnneval.cli.main import run
from rnneval.records import paths
paths._settle = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
run(sys.argv[1:])
"""


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def words(shelf, tmp_path, out):
    """A function that returns the words of a line of `WRITERS`: the model takes the vocabulary of the shelf."""
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    (checkpoints / "epoch1.keras").write_bytes((shelf / "flat.keras").read_bytes())
    places = {"shelf": shelf.folder, "checkpoints": checkpoints, "out": out}
    return lambda line: [*(word.format(**places) for word in line.split()), "--vocab", str(shelf / "vocab.json")]


def target(line, out):
    """Return the file that a command of `WRITERS` writes."""
    name = Path(line.split()[-1]).name
    return out / ("sweep.parquet" if line.startswith("sweep") else name)


def read_whole(path):
    return read_table(path).num_rows if path.suffix == ".parquet" else read(path)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("line", WRITERS.values(), ids=WRITERS)
def test_a_disk_that_is_full_when_the_result_is_written(line, words, out, refused, monkeypatch):
    """A limit on the size of files stands for the disk, from the moment at which the file of the result is made."""
    place = target(line, out)
    place.write_text("old")
    before, create = resource.getrlimit(resource.RLIMIT_FSIZE), paths._create_beside

    def create_and_fill(path):
        made = create(path)
        if path.suffix == place.suffix:
            resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
        return made

    monkeypatch.setattr(paths, "_create_beside", create_and_fill)
    try:
        said = refused(*words(line))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert f"{place}: cannot be written: " in said
    assert "File too large; what was there is unchanged" in said
    assert place.read_text() == "old"
    assert [path.name for path in out.iterdir() if path.name.endswith(".part")] == []


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", ["losses", "trace", "gradients", "sweep"])
def test_a_command_that_is_killed_before_its_result_takes_its_place(name, words, out):
    place = target(WRITERS[name], out)
    place.write_text("old")
    killed = subprocess.run([sys.executable, "-c", KILLED, *words(WRITERS[name])], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-500:]
    assert place.read_text() == "old"


def test_two_processes_that_write_one_table_of_losses(words, out):
    """The table of one of them is there, whole, whichever was last."""
    arguments = [words(f"{WRITERS['losses']} --part {part}") for part in (":50%", "50%:")]
    processes = [subprocess.Popen([sys.executable, "-m", "rnneval", *each]) for each in arguments]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    table = read_table(out / "t.parquet")
    assert table.num_rows == 119
    assert table["byte_start"].to_pylist() == list(range(1, 120))
    assert [path.name for path in out.iterdir()] == ["t.parquet"]


def test_more_losses_than_can_be_read_are_refused_before_the_text_is(words, out, refused, monkeypatch):
    monkeypatch.setattr(tables, "MOST_BYTES", 48 * 239)
    monkeypatch.setattr(reading, "read_text", lambda *_, **__: pytest.fail("the model was given the text"))
    said = refused(*words(WRITERS["losses"]))
    assert f"{out}/t.parquet: 240 rows of 48 bytes, at most 11,472 bytes in memory are allowed: take fewer rows" in said
    assert list(out.iterdir()) == []


def test_figures_are_shown_although_their_record_cannot_be_written(words, out, capsys, monkeypatch):
    """Before: an evaluation of an hour was lost with the record."""

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(paths, "_settle", full)
    line = words(WRITERS["record"].replace("--quiet", "--format json"))
    assert run(line) == 2
    printed = capsys.readouterr()
    assert json.loads(printed.out)["tokens"]["scored"] == 239
    assert [line.split(" ")[1] for line in printed.err.splitlines()][-1] == "error:"
    assert "r.json: cannot be written: No space left on device" in printed.err
