"""Commands that write a file: a full disk, a folder that is read only, a link, kill -9, two processes."""

import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rnneval.cli.main import run
from rnneval.demo.files import prepare
from rnneval.errors import UsageError
from rnneval.evaluate import reading
from rnneval.records import paths, read_table, tables, write
from tests.gates.synthetic import ar_losses, make_run

READ = {
    "gate": "gate run.json --baseline run2.json --out there/out.json",
    "report": "report run.json --out there/out.html",
    "PNG": "plot run.json --out there/out.png",
    "lint": "lint source.py --format sarif --out there/out.sarif",
}
MEASURED = {
    "record": "evaluate {shelf}/flat.keras {shelf}/text.txt --no-check --quiet --out there/r.json",
    "losses": "evaluate {shelf}/flat.keras {shelf}/text.txt --no-check --quiet --losses there/t.parquet",
    "trace": "trace {shelf}/flat.keras {shelf}/text.txt --quiet --out there/t.parquet",
    "sweep": "sweep checkpoints {shelf}/text.txt --quiet --jobs 1 --out there",
}
WRITERS = {**READ, **MEASURED}
KILLED = """
import os, signal, sys
from rnneval.cli.main import run
from rnneval.records import paths
paths._settle = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
run(sys.argv[1:])
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("run.json", "run2.json")):
        write(make_run(ar_losses(4000, seed=number)), name)
    Path("source.py").write_text("x = 1\n")
    Path("there").mkdir()
    Path("checkpoints").mkdir()
    return tmp_path


@pytest.fixture
def words(folder, request):
    """A function that returns the words of a line of `WRITERS`; models are on the shelf."""

    def of(line: str) -> list[str]:
        if "{shelf}" not in line and "sweep" not in line:
            return line.split()
        shelf = request.getfixturevalue("shelf")
        Path("checkpoints/epoch1.keras").write_bytes((shelf / "flat.keras").read_bytes())
        return [*(word.format(shelf=shelf.folder) for word in line.split()), "--vocab", str(shelf / "vocab.json")]

    return of


def target(line: str) -> Path:
    """Return the file that a command of `WRITERS` writes."""
    return Path("there/sweep.parquet" if line.startswith("sweep") else line.rsplit(maxsplit=1)[-1])


@pytest.mark.sampled(2)
@pytest.mark.parametrize("line", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_leaves_the_old_file_and_is_one_line(line, words, refused, monkeypatch):
    """A limit on the size of files stands for the disk, from the moment at which the file of the result is made."""
    place = target(line)
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
    assert not list(Path("there").glob("*.part"))


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", READ)
def test_a_link_stays_a_link_and_a_folder_that_is_read_only_is_one_line(name, words, capsys):
    Path("target").write_text("old")
    target(READ[name]).symlink_to("../target")
    assert run(words(READ[name])) in (0, 3)
    assert target(READ[name]).is_symlink()
    assert Path("target").read_bytes() not in (b"", b"old")
    capsys.readouterr()
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "ro", "tmpfs", "there"]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a disk")
    try:
        assert run(words(READ[name])) == 2
    finally:
        subprocess.run(["/bin/umount", "there"], check=True)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "cannot be written" in said


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", ["losses", "trace", "sweep"])
def test_a_command_that_is_killed_before_its_result_takes_its_place(name, words):
    place = target(MEASURED[name])
    place.write_text("old")
    killed = subprocess.run([sys.executable, "-c", KILLED, *words(MEASURED[name])], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-500:]
    assert place.read_text() == "old"
    assert len(list(Path("there").rglob("*.part"))) == 1
    if name == "losses":  # what was left is in nobody's way
        assert run(words(MEASURED[name])) == 0
        assert read_table(place).num_rows == 239


def test_two_processes_that_write_one_table_of_losses(words):
    """The table of one of them is there, whole, whichever was last."""
    arguments = [words(f"{MEASURED['losses']} --part {part}") for part in (":50%", "50%:")]
    processes = [subprocess.Popen([sys.executable, "-m", "rnneval", *each]) for each in arguments]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    table = read_table("there/t.parquet")
    assert table.num_rows == 119
    assert [path.name for path in Path("there").iterdir()] == ["t.parquet"]


def test_more_losses_than_can_be_read_are_refused_before_the_text_is(words, refused, monkeypatch):
    monkeypatch.setattr(tables, "MOST_BYTES", 48 * 239)
    monkeypatch.setattr(reading, "read_text", lambda *_, **__: pytest.fail("the model was given the text"))
    said = refused(*words(MEASURED["losses"]))
    assert "t.parquet: 240 rows of 48 bytes, at most 11,472 bytes in memory are allowed: take fewer rows" in said
    assert list(Path("there").iterdir()) == []


def test_a_demo_leaves_a_folder_with_other_files_alone(tmp_path):
    (tmp_path / "models.py").write_text("my own models")
    with pytest.raises(UsageError, match="holds other files"):
        prepare(tmp_path, "a text")
    assert [path.name for path in tmp_path.iterdir()] == ["models.py"]
