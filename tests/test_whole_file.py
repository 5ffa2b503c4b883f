"""Files are written whole or not at all: whatever fails, whoever else writes, wherever the path leads."""

import os
import stat
import threading
from pathlib import Path

import pytest

from rnneval.records import Gate, encode, read, whole_file, write

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


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
