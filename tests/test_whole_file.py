"""Files are written whole or not at all: whatever fails, whoever else writes, wherever the path leads."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rnneval.errors import RecordError
from rnneval.records import Gate, encode, read, whole_file, write, write_texts

GATE = Gate(verdict="pass", reason="all pass", comparisons=(), warnings=("drift",))


def test_the_new_file_takes_the_place_of_the_old_one(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")
    with whole_file(target) as temporary:
        assert temporary.parent == tmp_path
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_the_old_file_stays_whatever_ends_the_block(tmp_path, error):
    target = tmp_path / "file"
    target.write_text("old")

    def interrupted():
        with whole_file(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["file"]


FULL_DISK = """
import resource, sys
from rnneval.errors import RecordError
from rnneval.records import write
from rnneval.records import Gate
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # no file may grow beyond 4 kB: EFBIG, as a full disk ENOSPC
try:
    write(Gate(verdict="fail", reason="x" * 100_000, comparisons=(), warnings=()), sys.argv[1])
except RecordError as error:
    print(error)
"""


def test_the_old_file_stays_when_the_disk_is_full(tmp_path):
    target = tmp_path / "gate.json"
    write(GATE, target)
    done = subprocess.run(
        [sys.executable, "-B", "-c", FULL_DISK, str(target)], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{target}: cannot be written: File too large; what was there is unchanged\n"
    assert read(target) == GATE
    assert names(tmp_path) == ["gate.json"]


def test_the_data_is_synced_before_it_takes_its_place(tmp_path, monkeypatch):
    seen = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (seen.append("sync"), sync(descriptor)))
    monkeypatch.setattr(Path, "replace", lambda path, to: (seen.append("replace"), replace(path, to)))
    write(GATE, tmp_path / "gate.json")
    assert seen == ["sync", "replace", "sync"]  # the last one of the folder, so that the new name lasts


def test_a_missing_folder_or_a_folder_in_the_way_is_known_before_the_work(tmp_path):
    for place, problem in ((tmp_path / "no" / "file", "No such file or directory"), (tmp_path, "it is a folder")):
        with pytest.raises(RecordError, match=f"cannot be written: {problem}"), whole_file(place):
            pytest.fail("the block must not start")


def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "one.json").write_text("old")
    for name in ("one.json", "not there yet.json"):
        link = tmp_path / f"link to {name}"
        link.symlink_to(Path("runs") / name)
        write(GATE, link)
        assert link.is_symlink()
        assert read(tmp_path / "runs" / name) == GATE
    assert (names(tmp_path / "runs")) == ["not there yet.json", "one.json"]


def test_a_pipe_gets_the_content_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()), daemon=True)
    reader.start()
    write(GATE, pipe)
    reader.join(timeout=5)
    assert found == [encode(GATE)]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert names(tmp_path) == ["pipe"]


@pytest.fixture
def no_replace(monkeypatch):
    """Were a device replaced, the test must not do it: it may run as root."""
    monkeypatch.setattr(Path, "replace", lambda _, to: pytest.fail(f"{to} is about to be replaced"))


def test_dev_null_is_not_replaced_by_a_file(no_replace):
    write(GATE, "/dev/null")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.parametrize(("mask", "mode"), [(0o027, 0o640)])
def test_permissions_are_those_of_an_ordinary_file(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write(GATE, tmp_path / "gate.json")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "gate.json").stat().st_mode) == mode


def test_the_old_files_permissions_and_owner_stay(tmp_path, monkeypatch):
    target = tmp_path / "gate.json"
    target.write_text("old")
    target.chmod(0o640)
    owners = []
    monkeypatch.setattr(os, "fchown", lambda _, user, group: owners.append((user, group)))
    write(GATE, target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert owners == [(os.getuid(), os.getgid())]


def test_a_file_that_may_not_be_written_is_not_replaced(tmp_path, monkeypatch):
    """A rename would not ask: it needs the folder's permission alone."""
    target = tmp_path / "gate.json"
    target.write_text("old")
    monkeypatch.setattr(os, "access", lambda path, how: (Path(path), how) != (target, os.W_OK))
    with pytest.raises(RecordError, match=r"gate\.json: cannot be written: Permission denied"):
        write(GATE, target)
    assert target.read_text() == "old"


def test_what_a_killed_writer_left_is_removed_by_the_next_one(tmp_path):
    target = tmp_path / "gate.json"
    old, young, other = (tmp_path / f".{name}.part" for name in ("gate.json.1", "gate.json.2", "other.json.3"))
    for left in (old, young, other):
        left.write_text("half")
    for left in (old, other):
        os.utime(left, (0, 0))
    with whole_file(target) as held:  # a writer that is at work, however slowly
        held.write_text("slow")
        os.utime(held, (0, 0))
        write(GATE, target)
        assert names(tmp_path) == sorted([young.name, other.name, held.name, "gate.json"])
    assert target.read_text() == "slow"


STANDARD_OUTPUT = """
import sys
from rnneval.records import write_text
print("before")
write_text("{}\\n", sys.argv[1])
print("after")
"""


@pytest.mark.parametrize("name", ["/dev/stdout"])
def test_standard_output_that_is_a_file_is_written_to_and_not_replaced(tmp_path, name):
    with (tmp_path / "log").open("w") as log:
        log.write("earlier\n")
        log.flush()
        subprocess.run([sys.executable, "-B", "-c", STANDARD_OUTPUT, name], stdout=log, check=True)
    assert (tmp_path / "log").read_text() == "earlier\nbefore\n{}\nafter\n"


def test_several_files_are_complete_before_the_first_takes_its_place(tmp_path):
    (tmp_path / "one").write_text("old")
    with pytest.raises(RecordError, match="it is a folder"):
        write_texts({str(tmp_path / "one"): "new", str(tmp_path): "no place"})
    assert (tmp_path / "one").read_text() == "old"
    assert names(tmp_path) == ["one"]


def test_a_reader_beside_many_writers_sees_whole_records_only(tmp_path):
    target = tmp_path / "gate.json"
    versions = [Gate(verdict="fail", reason=mark * 50_000, comparisons=(), warnings=()) for mark in "ab"]
    write(versions[0], target)
    writers = [threading.Thread(target=lambda v=v: [write(v, target) for _ in range(20)]) for v in versions]
    for writer in writers:
        writer.start()
    seen = 0
    while any(writer.is_alive() for writer in writers) or seen == 0:
        assert read(target) in versions
        seen += 1
    assert names(tmp_path) == ["gate.json"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
