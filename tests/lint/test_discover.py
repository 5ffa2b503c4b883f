"""Which files are read, and what pyproject.toml chooses."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from rnneval.errors import UsageError
from rnneval.lint import lint
from rnneval.lint.files import LintSettings, chosen, discover, read_settings
from tests.lint.written import snippets

QUESTION = snippets("wrong")[0].source


def tree(folder: Path, *files: str, **texts: str) -> None:
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(QUESTION, encoding="utf-8")
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")


def below(folder: Path, settings: LintSettings | None = None) -> list[str]:
    found = discover([folder], settings or LintSettings(root=folder))
    return [os.path.relpath(path, folder).replace(os.sep, "/") for path in found]


def test_outside_of_git_hidden_folders_and_environments_are_left_out(tmp_path: Path) -> None:
    tree(tmp_path, "b.py", "a/c.ipynb", "a/d.txt", ".tox/x.py", "a/__pycache__/y.py", "node_modules/z.py", "e.pyi")
    tree(tmp_path, "venv/f.py", "env/lib/g.py", "env/pyvenv.cfg", "a-b/h.py", "a.py")
    assert below(tmp_path) == ["a/c.ipynb", "a-b/h.py", "a.py", "b.py", "e.pyi"]


@pytest.mark.skipif(shutil.which("git") is None, reason="git says what it ignores")
def test_in_a_work_tree_git_says_what_is_ignored(tmp_path: Path) -> None:
    """A file that is kept is read although a pattern covers it, an untracked one unless it is ignored."""
    (tmp_path / ".gitignore").write_text("build/\ngen_*\n!gen_d.py\nkept.py\n")
    tree(tmp_path, "a b.py", "build/b.py", "src/gen_c.py", "src/gen_d.py", "src/deep/e.py", "kept.py", ".hidden/f.py")
    (tmp_path / "src/.gitignore").write_text("deep\n")
    git = [str(shutil.which("git")), "-C", str(tmp_path)]
    assert below(tmp_path) == ["a b.py", "build/b.py", "kept.py", "src/deep/e.py", "src/gen_c.py", "src/gen_d.py"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "-f", "kept.py", "src/gen_d.py"], check=True)
    assert below(tmp_path) == [".hidden/f.py", "a b.py", "kept.py", "src/gen_d.py"]
    assert below(tmp_path / "src") == ["gen_d.py"]
    (tmp_path / "kept.py").unlink()
    assert below(tmp_path) == [".hidden/f.py", "a b.py", "src/gen_d.py"]


@pytest.mark.skipif(shutil.which("git") is None, reason="git lists the files")
def test_a_program_that_a_repository_names_is_not_run(tmp_path: Path) -> None:
    git = [str(shutil.which("git")), "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    tree(tmp_path, "a.py")
    monitor = tmp_path / "monitor"
    monitor.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    monitor.chmod(0o755)
    subprocess.run([*git, "config", "core.fsmonitor", str(monitor)], check=True)
    assert below(tmp_path) == ["a.py"]
    assert not (tmp_path / "ran").exists()
    subprocess.run([*git, "ls-files", "--others"], check=True, capture_output=True)
    assert (tmp_path / "ran").exists()  # else the test shows nothing


def test_without_git_folders_are_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "a.py")
    monkeypatch.setenv("PATH", "")
    assert below(tmp_path) == ["a.py"]


def test_what_is_named_is_read_even_if_ignored(tmp_path: Path) -> None:
    tree(tmp_path, "a.py", "script")
    (tmp_path / ".gitignore").write_text("*\n")
    assert discover([tmp_path / "a.py", tmp_path / "script", tmp_path / "a.py"], LintSettings()) == [
        str(tmp_path / "a.py"),
        str(tmp_path / "script"),
    ]


def test_missing_paths_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder") as refused:
        discover([tmp_path / "no.py"], LintSettings())
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("pattern", "path", "covered"),
    [
        ("*.py", "a/b.py", True),
        ("/a.py", "b/a.py", False),
        ("a/", "a/b/c.py", True),
        ("a/*.py", "b/a/c.py", False),
        ("a/**/c.py", "a/c.py", True),
        ("**/c.py", "x/y/c.py", True),
        ("tests/**", "tests/a/b.py", True),
        ("tests/**", "tests.py", False),
        ("[ab].py", "b.py", True),
        ("src/third", "src/third_party/x.py", False),
    ],
)
def test_patterns(pattern: str, path: str, covered: bool, tmp_path: Path) -> None:
    assert LintSettings(root=tmp_path).covers(pattern, str(tmp_path / path)) is covered


@pytest.mark.parametrize("pattern", ["*a" * 5000])
def test_no_pattern_takes_long(pattern: str, tmp_path: Path) -> None:
    """Thirty times `*a` never ended with an expression that backtracks."""
    start = time.process_time()
    LintSettings(root=tmp_path).covers(pattern, str(tmp_path / "/".join(["a" * 200] * 15) / "b.py"))
    assert time.process_time() - start < 2


def test_what_is_no_file_does_not_stop_the_search(tmp_path: Path) -> None:
    tree(tmp_path, "a.py")
    os.mkfifo(tmp_path / "pipe.py")
    assert below(tmp_path) == ["a.py"]
    with pytest.raises(UsageError, match="no regular file"):
        discover([tmp_path / "pipe.py"], LintSettings())


def test_pyproject_chooses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "a.py", "tests/b.py", "old/c.py")
    (tmp_path / "pyproject.toml").write_text(
        '[tool.rnneval.lint]\nselect = ["RNN001", "stale-state"]\nexclude = ["old"]\n'
        '[tool.rnneval.lint.per-file-ignores]\n"tests/**" = ["shared-state"]\n'
    )
    monkeypatch.chdir(tmp_path / "tests")
    assert [Path(finding.path).name for finding in lint(tmp_path)] == ["a.py"]
    assert lint([tmp_path / "a.py"], ignore=["RNN001"]) == ()
    assert lint([tmp_path / "a.py"], select=["RNN002"]) == ()


@pytest.mark.parametrize(
    "text",
    [
        "[tool.rnneval.lint\n",
        '[tool.rnneval.lint]\nselekt = ["RNN001"]\n',
        '[tool.rnneval.lint]\nignore = ["RNN999"]\n',
        '[tool.rnneval.lint]\nper-file-ignores = {"a" = "RNN001"}\n',
    ],
)
def test_wrong_settings_are_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(UsageError) as refused:
        read_settings(tmp_path)
    assert "pyproject.toml" in str(refused.value)


def test_rules_by_beginning_name_and_commas() -> None:
    tens = {f"RNN0{number}" for number in range(10, 13)}
    assert chosen(("RNN01,shared-state", "rnn002"), "x") == {*tens, "RNN001", "RNN002"}
    assert chosen(("invalid-source",), "x") == {"RNN000"}
    assert chosen(("",), "x") == frozenset()
