"""`rnneval lint` as a person types it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rnneval.cli.main import run
from tests.lint.written import snippets

QUESTION = snippets("wrong")[0].source
WARNED = next(snippet.source for snippet in snippets("wrong") if "RNN010" in snippet.source)
RIGHT = snippets("right")[0].source


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in (("wrong.py", QUESTION), ("warned.py", WARNED), ("right.py", RIGHT), ("old.py", "print 'a'\n")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "model.keras").write_bytes(b"PK")
    return tmp_path


def lint(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rnneval", "lint", *arguments], capture_output=True, text=True, input=stdin, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["right.py"], 0),
        (["wrong.py"], 1),
        (["warned.py"], 0),
        (["--strict", "warned.py"], 1),
        (["--ignore", "RNN001", "wrong.py"], 0),
        ([], 1),
        (["no.py"], 2),
        (["model.keras"], 2),
        (["--select", "RNN999", "wrong.py"], 2),
        (["--format", "xml", "wrong.py"], 2),
    ],
)
def test_exit_codes(folder: Path, arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lint", *arguments]) == code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    if code == 2:
        assert captured.out == ""
        assert captured.err.count("\n") == 1


def test_a_clean_file_is_said_to_be_clean(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lint", "right.py"]) == 0
    assert capsys.readouterr() == ("", "nothing found in 1 file\n")


def test_text(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["lint", "."])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1].split(" ")[0] for line in lines] == ["RNN000", "RNN010", "RNN001"]
    assert lines[2].startswith("wrong.py:16:17: RNN001 `self.gru_2` starts from the state that `self.gru` (line 13)")


def test_standard_input() -> None:
    done = lint("-", stdin=QUESTION)
    assert done.returncode == 1
    assert done.stdout.startswith("-:16:17: RNN001 ")
    named = lint("-", "--stdin-filename", "src/model.py", stdin=QUESTION)
    assert named.stdout.startswith("src/model.py:16:17: RNN001 ")
    notebook = json.dumps({"cells": [{"cell_type": "code", "source": QUESTION}]})
    cell = lint("-", "--stdin-filename", "a.ipynb", stdin=notebook)
    assert cell.stdout.startswith("a.ipynb:cell 1:16:17: RNN001 ")


def test_an_endless_standard_input_ends(tmp_path: Path) -> None:
    """Before: all of it was read into memory first."""
    code = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30,) * 2); from rnneval.cli.main import run\n"
    with Path("/dev/zero").open("rb") as endless:
        done = subprocess.run(
            [sys.executable, "-c", f"{code}raise SystemExit(run(['lint', '-', '--strict']))"],
            stdin=endless, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("-:1:1: RNN000 ")
    assert "more than 1,048,576 bytes of source: split the file" in done.stdout


def test_the_file_is_never_run(folder: Path) -> None:
    (folder / "bomb.py").write_text("import tensorflow as tf\nopen('ran', 'w')\n" + QUESTION, encoding="utf-8")
    assert lint(str(folder / "bomb.py")).returncode == 1
    assert not (folder / "ran").exists()


def test_json_and_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["lint", "wrong.py", "--format", "json", "--out", "found.json"])
    printed = capsys.readouterr().out
    assert json.loads(printed)[0]["rule"] == "shared-state"
    assert (folder / "found.json").read_text(encoding="utf-8") == printed
    run(["lint", "wrong.py", "--format", "json", "--out", "found.json", "--quiet"])
    assert capsys.readouterr().out == ""
