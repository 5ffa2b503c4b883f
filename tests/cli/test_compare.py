"""`rnneval compare` as a person runs it."""

import numpy as np
import pytest

from rnneval.cli.main import run
from tests.gates.synthetic import ar_losses, make_run

LOSSES = ar_losses(128)
TEXT = "".join(f"{i:03} to be or not to be ".ljust(256, ".") for i in range(128))


@pytest.fixture
def records(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    noise = 0.01 * np.random.default_rng(0).normal(size=128)
    made = {
        "base": make_run(LOSSES, content=TEXT, checkpoint="base"),
        "new": make_run(LOSSES - 0.05 + noise, content=TEXT, checkpoint="new"),
        "other": make_run(LOSSES, content="other", checkpoint="other"),
        "wrong": make_run(LOSSES - 1, content=TEXT, valid=False, checkpoint="wrong"),
    }
    for name, record in made.items():
        record.save(f"{name}.json")
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path


def test_the_table(records, capsys):
    assert run(["compare", "base.json", "new.json", "other.json", "wrong.json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    order = [line.split()[0] for line in out.splitlines()[1:5]]
    assert order == ["new.json", "base.json", "other.json", "wrong.json"]
    assert "other.json: not comparable: text.sha256" in out
    assert "wrong.json: not valid" in out


def test_blocks_are_shown_in_the_text(records, capsys):
    assert run(["compare", "base.json", "new.json", "--text", "text.txt", "--blocks", "3"]) == 0
    out = capsys.readouterr().out
    assert out.count(" to be or not to be") == 3
    (records / "text.txt").write_text(TEXT[1:])
    assert run(["compare", "base.json", "new.json", "--text", "text.txt"]) == 2
    assert "another hash" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "base.json"],
        ["compare", "base.json", "nowhere.json"],
        ["compare", "base.json", "new.json", "--metric", "perplexty"],
        ["compare", "base.json", "new.json", "--text", "nowhere.txt"],
    ],
)
def test_wrong_use_is_one_line(records, capsys, arguments):
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("rnneval: error: ")
    assert err.count("\n") == 1
