"""The tutorial, done by copy and paste: files are saved, commands run in their order, and what is shown is what comes.

By default the files are saved, and the linter reads them; `-m grid` runs everything, the training cut to a few steps.
"""

import contextlib
import importlib.util
import io
import re
import runpy
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from rnneval.cli.main import run

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
FENCED = re.compile(
    r"(?:(?P<how>Save this as|Add this to the end of)\s+`(?P<file>\w+\.py)`(?:(?!```).)*?)?"
    r"^```(?P<kind>\w+)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
FEWER = {"STEPS, BATCH, SEGMENT = 400, 32, 64": "STEPS, BATCH, SEGMENT = 2, 4, 16", "rnn_units=128": "rnn_units=6"}

QUICK = re.compile("rnneval lint |python -m ")
UNTRAINED = re.compile("rnneval (lint|check) |python -m ")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of the page."""

    kind: str
    file: str
    added: bool
    """Whether it goes to the end of the file."""
    body: str


def blocks():
    for found in FENCED.finditer(PAGE):
        how, file = found["how"] or "", found["file"] or ""
        yield Block(kind=found["kind"], file=file, added=how.startswith("Add"), body=found["body"])


def save(block, folder, changes):
    """Save a file as the line before it says, or add to it."""
    body = block.body
    for old, new in changes.items():
        body = body.replace(old, new)
    path = folder / block.file
    path.write_text((path.read_text(encoding="utf-8") + "\n\n" if block.added else "") + body, encoding="utf-8")


def shown(expected, printed):
    """Whether the printed text is the shown one: line breaks apart, and with anything in place of …."""
    like = [re.escape(" ".join(part.split())) for part in expected.split("…")]
    return re.fullmatch(".*".join(like), " ".join(printed.split()), re.DOTALL) is not None


def in_process(line):
    """Run one line of the page here: rnneval itself, a script, or a module."""
    words = shlex.split(line.removesuffix(" || true"))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.MonkeyPatch.context() as patch:
        code = run(words[1:]) if words[0] == "rnneval" else python(words[1:], patch)
    return code, printed.getvalue()


def python(words, patch):
    """Run `python SCRIPT …` or `python -m MODULE …` here."""
    patch.syspath_prepend(".")
    for name in ("models", "rnneval.demo.text"):  # a file that was added to is another module
        sys.modules.pop(name, None)
    if words[0] == "-m":  # by its file: pytest's own loader, which rewrites asserts, has no code to give
        words = [str(importlib.util.find_spec(words[1]).origin), *words[2:]]
    patch.setattr(sys, "argv", words)
    runpy.run_path(words[0], run_name="__main__")
    return 0


def test_every_file_and_command_is_there():
    kinds = [block.kind for block in blocks()]
    assert kinds.count("python") == 3
    assert [block.file for block in blocks() if block.kind == "python"] == ["models.py", "train.py", "models.py"]
    lines = [line for block in blocks() if block.kind == "sh" for line in block.body.replace("\\\n", "").splitlines()]
    assert {shlex.split(line)[1] for line in lines if line.startswith("rnneval")} == {
        "lint", "check", "evaluate", "trace", "gradients", "gate", "report",
    }  # fmt: skip


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.grid)], ids=["linted", "whole"])
def test_by_copy_and_paste_with_less_training(tmp_path, monkeypatch, whole):
    monkeypatch.chdir(tmp_path)
    printed, ran, codes = "", "", {}
    for block in blocks():
        if block.kind == "python":
            save(block, tmp_path, FEWER)
        elif block.kind == "sh":
            printed, ran = "", ""
            for line in block.body.replace("\\\n", "").splitlines():
                if whole or QUICK.match(line):
                    codes[line], text = in_process(line)
                    printed, ran = printed + text, line
        elif UNTRAINED.match(ran):  # what the training decides is not shown
            assert shown(block.body, printed), printed
    assert [line for line, code in codes.items() if code not in expected(line)] == []
    assert len(codes) >= 2
    assert not whole or "<h1" in (tmp_path / "report.html").read_text(encoding="utf-8")


def expected(line):
    """Which exit codes a line may have: with two steps of training, the gate may say anything."""
    if "lint" in line or "Stack --builder-arg vocab_size=65" in line.replace("RightStack", ""):
        return {1}
    return {1} if line.endswith("|| true") else {0, 1, 3} if " gate " in line else {0}
