"""Which files are read."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from rnneval.lint.files import discover
from tests.lint.written import snippets

QUESTION = snippets("wrong")[0].source


def tree(folder: Path, *files: str) -> None:
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(QUESTION, encoding="utf-8")


def below(folder: Path) -> list[str]:
    return [os.path.relpath(path, folder).replace(os.sep, "/") for path in discover([folder])]


@pytest.mark.parametrize("path", ["/usr/bin:/bin", ""])
def test_outside_of_git_hidden_folders_and_environments_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Also without git, where PATH is empty."""
    tree(tmp_path, "b.py", "a/c.ipynb", "a/d.txt", ".tox/x.py", "a/__pycache__/y.py", "node_modules/z.py", "e.pyi")
    tree(tmp_path, "venv/f.py", "env/lib/g.py", "env/pyvenv.cfg", "a-b/h.py", "a.py")
    os.mkfifo(tmp_path / "pipe.py")
    monkeypatch.setenv("PATH", path)
    assert below(tmp_path) == ["a/c.ipynb", "a-b/h.py", "a.py", "b.py", "e.pyi"]


@pytest.mark.skipif(shutil.which("git") is None, reason="git says what it ignores")
def test_in_a_work_tree_git_says_what_is_ignored_and_runs_nothing(tmp_path: Path) -> None:
    """A file that is kept is read although a pattern covers it, an untracked one unless it is ignored."""
    (tmp_path / ".gitignore").write_text("build/\ngen_*\n!gen_d.py\nkept.py\nmonitor\n")
    tree(tmp_path, "a b.py", "build/b.py", "src/gen_c.py", "src/gen_d.py", "kept.py", ".hidden/f.py")
    git = [str(shutil.which("git")), "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "-f", "kept.py", "src/gen_d.py"], check=True)
    (tmp_path / "monitor").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (tmp_path / "monitor").chmod(0o755)
    subprocess.run([*git, "config", "core.fsmonitor", str(tmp_path / "monitor")], check=True)
    assert below(tmp_path) == [".hidden/f.py", "a b.py", "kept.py", "src/gen_d.py"]
    assert below(tmp_path / "src") == ["gen_d.py"]
    assert not (tmp_path / "ran").exists()
