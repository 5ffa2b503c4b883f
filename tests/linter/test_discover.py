"""Which files are read, and what pyproject.toml chooses."""

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import BinaryIO

import pytest

from rnneval.errors import UsageError
from rnneval.linter import lint
from rnneval.linter.discover import Settings, discover, matches, read_settings
from rnneval.linter.finding import chosen
from rnneval.records.paths import open_regular
from tests.linter.written import snippets

QUESTION = snippets("wrong")[0].source


def tree(folder: Path, *files: str, **texts: str) -> None:
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(QUESTION, encoding="utf-8")
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")


def below(folder: Path, settings: Settings | None = None) -> list[str]:
    found = discover([folder], settings or Settings(root=folder))
    return [os.path.relpath(path, folder).replace(os.sep, "/") for path in found]


def test_folders_are_searched_and_caches_left_out(tmp_path: Path) -> None:
    tree(tmp_path, "b.py", "a/c.ipynb", "a/d.txt", ".venv/x.py", "a/__pycache__/y.py", "node_modules/z.py", "e.pyi")
    assert below(tmp_path) == ["a/c.ipynb", "b.py", "e.pyi"]


def test_gitignore_is_honoured(tmp_path: Path) -> None:
    tree(
        tmp_path, "a.py", "build/b.py", "keep/c.py", "keep/gen_d.py", "data/x/e.py", "data/f.py", "deep/er/g.py", "h.py"
    )
    (tmp_path / ".gitignore").write_text("# made\nbuild/\ngen_*\n!keep/gen_d.py\n/data/**/e.py\n\nh.py\n")
    (tmp_path / "deep").mkdir(exist_ok=True)
    (tmp_path / "deep/.gitignore").write_text("er\n")
    assert below(tmp_path) == ["a.py", "data/f.py", "keep/c.py", "keep/gen_d.py"]


def test_gitignore_above_counts_within_a_repository(tmp_path: Path) -> None:
    tree(tmp_path, "src/a.py", "src/b.py")
    (tmp_path / ".gitignore").write_text("src/b.py\n")
    assert below(tmp_path / "src") == ["a.py", "b.py"]
    (tmp_path / ".git").mkdir()
    assert below(tmp_path / "src") == ["a.py"]


def test_what_is_named_is_read_even_if_ignored(tmp_path: Path) -> None:
    tree(tmp_path, "a.py", "script")
    (tmp_path / ".gitignore").write_text("*\n")
    assert discover([tmp_path / "a.py", tmp_path / "script", tmp_path / "a.py"], Settings()) == [
        str(tmp_path / "a.py"),
        str(tmp_path / "script"),
    ]


def test_links_that_go_round_end(tmp_path: Path) -> None:
    tree(tmp_path, "a.py")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert below(tmp_path) == ["a.py"]


def test_missing_paths_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder") as refused:
        discover([tmp_path / "no.py"], Settings())
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("pattern", "path", "covered"),
    [
        ("*.py", "a/b.py", True),
        ("/a.py", "b/a.py", False),
        ("a/", "a/b/c.py", True),
        ("a/*.py", "a/b/c.py", False),
        ("a/**/c.py", "a/c.py", True),
        ("**/c.py", "x/y/c.py", True),
        ("tests/**", "tests/a/b.py", True),
        ("[ab].py", "b.py", True),
        ("[!ab].py", "b.py", False),
        ("[z-a].py", "b.py", False),
        ("a?.py", "ab.py", True),
        (r"\*.py", "a.py", False),
        ("*", "a/b.py", True),
        ("a.py", "a.pyc", False),
    ],
)
def test_patterns(pattern: str, path: str, covered: bool) -> None:
    assert matches(pattern, path) is covered


@pytest.mark.parametrize(
    "pattern", ["*a" * 30, "*a" * 5000, "[" * 10000, "[a" * 5000 + "]", "**/" * 5000, "\\[" * 5000]
)
def test_no_pattern_takes_long(pattern: str) -> None:
    """Thirty times `*a` never ended with an expression that backtracks."""
    path = "/".join(["a" * 200] * 20) + "/b.py"
    start = time.process_time()
    matches(pattern, path)
    assert time.process_time() - start < 2


@pytest.mark.skipif(shutil.which("git") is None, reason="git says what it ignores")
def test_patterns_are_those_of_git(tmp_path: Path) -> None:
    drawn = random.Random(1)  # noqa: S311 - drawn patterns, no secrets
    subprocess.run([str(shutil.which("git")), "init", "-q", str(tmp_path)], check=True)
    for _ in range(60):
        pattern = "/".join(
            drawn.choice(["**", "a", "*b", "?", "[ab]*", "[!a]b", "a*c*", "[^b]"])
            for _ in range(drawn.choice([1, 2, 3, 4]))
        )
        pattern = drawn.choice(["", "/"]) + pattern
        names = ["".join(drawn.choice("abc*") for _ in range(drawn.randint(1, 3))) for _ in range(60)]
        paths = sorted({"/".join(drawn.sample(names, drawn.randint(1, 4))) for _ in range(40)})
        (tmp_path / ".gitignore").write_text(pattern + "\n")
        asked = [str(shutil.which("git")), "-C", str(tmp_path), "check-ignore", "--no-index", "--stdin", "-z"]
        said = subprocess.run(asked, input="\0".join(paths), capture_output=True, text=True, check=False).stdout
        assert [path for path in paths if matches(pattern, path)] == said.split("\0")[:-1], pattern


def test_what_is_no_file_does_not_stop_the_search(tmp_path: Path) -> None:
    tree(tmp_path, "a.py")
    os.mkfifo(tmp_path / ".gitignore")
    os.mkfifo(tmp_path / "pipe.py")
    assert below(tmp_path) == ["a.py"]
    with pytest.raises(UsageError, match="no regular file"):
        discover([tmp_path / "pipe.py"], Settings())


def test_an_enormous_gitignore_is_one_line(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("a\n" * (1 << 17))
    with pytest.raises(UsageError, match="gitignore: it has 262,144 bytes, at most 131,072"):
        below(tmp_path)


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


def test_the_nearest_pyproject_with_a_table_counts(tmp_path: Path) -> None:
    tree(tmp_path, "in/a.py")
    (tmp_path / "pyproject.toml").write_text('[tool.rnneval.lint]\nignore = ["RNN001"]\n')
    (tmp_path / "in/pyproject.toml").write_text("[project]\nname = 'a'\n")
    assert read_settings(tmp_path / "in").ignore == {"RNN001"}
    assert read_settings(tmp_path / "in").root == tmp_path


@pytest.mark.parametrize(
    "text",
    [
        "[tool.rnneval.lint\n",
        '[tool.rnneval.lint]\nselekt = ["RNN001"]\n',
        "[tool.rnneval.lint]\nselect = 'RNN001'\n",
        '[tool.rnneval.lint]\nignore = ["RNN999"]\n',
        '[tool.rnneval.lint]\nignore = ["no-such-rule"]\n',
        "[tool.rnneval.lint]\nper-file-ignores = 3\n",
        '[tool.rnneval.lint]\nper-file-ignores = {"a" = "RNN001"}\n',
    ],
)
def test_wrong_settings_are_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(UsageError) as refused:
        read_settings(tmp_path)
    assert "pyproject.toml" in str(refused.value)


def test_rules_by_beginning_name_and_commas() -> None:
    tens = {f"RNN0{number}" for number in range(10, 16)}
    assert chosen(("RNN01,shared-state", "rnn002"), "x") == {*tens, "RNN001", "RNN002"}
    assert chosen(("invalid-source",), "x") == {"RNN000"}
    assert chosen(("",), "x") == frozenset()


def test_unreadable_files_are_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "a.py", "b.py")

    def refuse(path: str) -> BinaryIO:
        if Path(path).name == "a.py":
            raise PermissionError(13, "Permission denied")
        return open_regular(path)

    monkeypatch.setattr("rnneval.linter.check.open_regular", refuse)
    assert [finding.code for finding in lint(tmp_path)] == ["RNN000", "RNN001"]


def test_processes_change_nothing(tmp_path: Path) -> None:
    tree(tmp_path, *(f"m{number}.py" for number in range(60)))
    assert lint(tmp_path, jobs=2) == lint(tmp_path)


def test_a_process_that_dies_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for."""
    tree(tmp_path, *(f"m{number}.py" for number in range(60)))
    monkeypatch.setattr("rnneval.linter.check._lint_file", lambda _: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(UsageError, match="a process that was linting files died"):
        lint(tmp_path, jobs=2)
